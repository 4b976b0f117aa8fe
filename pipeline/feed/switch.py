"""The one moment at which the feed becomes another version of itself.

Hashes that were made whole (`hashes.py`) take the places of those that readers have, by renames, and what is new of
the others (`amendments.py`) is written into them, in one transaction with `watchlist_last_update` and an entry of the
stream `watchlist_updates`. A rename costs the same for a hash of any size, and what was replaced is deleted
afterwards: the server is busy for some milliseconds. Killed before it, the feed is the version before; killed after
it, the version behind.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from pipeline.config import redis as settings
from pipeline.errors import RedisOvertakenError, RedisUnhealthyError
from pipeline.feed import state as redis_state
from pipeline.feed.amendments import WRITE, Amendments
from pipeline.feed.hashes import REPLACED, STAGED, Hashes
from pipeline.feed.server import ScriptCall, key, seconds
from pipeline.feed.state import LAST_UPDATE, STAGES, State

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

UPDATES = "watchlist_updates"


@dataclasses.dataclass(frozen=True)
class Changes:
    """The symbols of an update: new on the list, no more on it, made whole though they were there, given newer bars."""

    new: Collection[str]
    removed: Collection[str]
    changed: Collection[str]
    amended: Collection[str]

    def as_json(self) -> dict[str, str]:
        return {name: json.dumps(sorted(symbols)) for name, symbols in vars(self).items()}


def switch(
    client: Redis, hashes: Hashes, before: str | None, state: State, changes: Changes, amendments: Amendments
) -> None:
    """Make `state` the version that is read. `before` is the text of the update that it was built upon.

    Raises RedisOvertakenError when that is not the last update any more, RedisUnhealthyError when hashes that were made
    or compared have disappeared.
    """
    import redis

    writing = list(amendments.writing())
    pipe = client.pipeline(transaction=True)
    try:
        pipe.watch(key(LAST_UPDATE))
        if pipe.get(key(LAST_UPDATE)) != before:
            raise redis.WatchError
        script = pipe.script_load(WRITE)
        pipe.multi()
        _rename(pipe, hashes, changes)
        _amend(pipe, script, writing)
        _announce(pipe, state, changes)
        answers = pipe.execute(raise_on_error=False)
    except redis.WatchError:
        client.ping()  # a connection that breaks is reported as another's write, too
        raise RedisOvertakenError(
            f"another run has fed Redis while this one did; run again: luigi --module pipeline RedisWatchlistSync "
            f"--date {state.day}"
        ) from None
    finally:
        pipe.reset()
    _check(client, answers, state, len(writing))
    hashes.forget([*changes.removed, *changes.changed], REPLACED)


def _rename(pipe: Pipeline, hashes: Hashes, changes: Changes) -> None:
    """First what may fail without harm: a hash that has expired by now is not there to be renamed."""
    for symbol in (*changes.removed, *changes.changed):
        pipe.rename(hashes.name(symbol), hashes.name(symbol, REPLACED))
    pipe.echo("renamed")
    for symbol in (*changes.new, *changes.changed):
        pipe.rename(hashes.name(symbol, STAGED), hashes.name(symbol))


def _amend(pipe: Pipeline, script: str, writing: Iterable[ScriptCall]) -> None:
    pipe.echo("made")
    for names, arguments in writing:
        pipe.evalsha(script, len(names), *names, *arguments)


def _announce(pipe: Pipeline, state: State, changes: Changes) -> None:
    lifetime = seconds(settings().ttl_days)
    pipe.delete(key(STAGES))
    pipe.hset(key(STAGES), "SyncRedis", state.sync_id)
    pipe.expire(key(STAGES), lifetime)
    pipe.set(key(LAST_UPDATE), state.as_json(), ex=lifetime)
    facts = {"day": str(state.day), "mode": state.mode, **state.version(), **changes.as_json()}
    pipe.xadd(key(UPDATES), facts, maxlen=settings().list_length)  # type: ignore[arg-type]
    pipe.expire(key(UPDATES), lifetime)


def _check(client: Redis, answers: list[Any], state: State, writing: int) -> None:
    """What may not fail are the renames to the places that are read, the scripts, and the words about the version."""
    made = answers.index("made") + 1
    failed = [answer for answer in answers[answers.index("renamed") :] if isinstance(answer, Exception)]
    lost = len(failed) + sum(answer for answer in answers[made : made + writing] if isinstance(answer, int))
    if lost:
        redis_state.distrust(client)
        reason = f" ({failed[0]})" if failed else ""
        raise RedisUnhealthyError(
            f"Redis has lost {lost} of {state.synced} symbols while it was fed{reason}; a server that "
            f"evicts keys needs more memory. The next run repairs it: "
            f"luigi --module pipeline RedisWatchlistSync --date {state.day}"
        )
