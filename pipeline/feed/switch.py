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
from pipeline.feed.amendments import AMEND, AMEND_DIGEST, Amendments, Call
from pipeline.feed.hashes import REPLACED, STAGED, Hashes
from pipeline.feed.server import key
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
        last_update = key(LAST_UPDATE)
        pipe.watch(last_update)
        if pipe.get(last_update) != before:
            raise redis.WatchError
        pipe.multi()
        _rename(pipe, hashes, changes)
        _amend(pipe, writing)
        _announce(pipe, state, changes, hashes.lifetime)
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


def _amend(pipe: Pipeline, writing: Iterable[Call]) -> None:
    """The script is loaded within the transaction, so that no server has forgotten it when it is called."""
    pipe.execute_command("SCRIPT LOAD", AMEND)
    pipe.echo("made")
    for names, arguments in writing:
        pipe.evalsha(AMEND_DIGEST, len(names), *names, *arguments)


def _announce(pipe: Pipeline, state: State, changes: Changes, lifetime: int) -> None:
    stages, updates = key(STAGES), key(UPDATES)
    pipe.delete(stages)
    pipe.hset(stages, "SyncRedis", state.sync_id)
    pipe.expire(stages, lifetime)
    pipe.set(key(LAST_UPDATE), state.as_json(), ex=lifetime)
    facts = {"day": str(state.day), "mode": state.mode, **state.version(), **changes.as_json()}
    pipe.xadd(updates, facts, maxlen=settings().list_length)  # type: ignore[arg-type]
    pipe.expire(updates, lifetime)


def _check(client: Redis, answers: list[Any], state: State, calls: int) -> None:
    """What may not fail are the renames to the places that are read, the amendments, and the words about the version.

    A hash of which more or less was new than had been found out has become another one meanwhile.
    """
    amended = answers.index("made") + 1
    lost = [said for answer in answers[amended : amended + calls] if isinstance(answer, list) for said in answer]
    failed = [answer for answer in answers[answers.index("renamed") :] if isinstance(answer, Exception)]
    if lost or failed:
        redis_state.distrust(client)
        reason = next((f" ({said})" for said in (*failed, *lost) if str(said)), "")
        raise RedisUnhealthyError(
            f"Redis has lost {len(lost) + len(failed)} of {state.synced} symbols while it was fed{reason}; a server "
            f"that evicts keys needs more memory. The next run repairs it: "
            f"luigi --module pipeline RedisWatchlistSync --date {state.day}"
        )
