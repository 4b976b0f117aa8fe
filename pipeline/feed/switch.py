"""The one moment at which the feed becomes another version of itself.

Hashes that were made whole (`hashes.py`) take the places of those that readers have, by renames, and what is new of
the others (`amendments.py`) is written into them, in one transaction with `watchlist_last_update` and an entry of the
stream `watchlist_updates`. A rename costs the same for a hash of any size, and what was replaced is deleted
afterwards: the server is busy for some milliseconds. Killed before it, the feed is the version before; killed after
it, the version behind.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from pipeline.config import redis as settings
from pipeline.errors import RedisOvertakenError, RedisUnhealthyError
from pipeline.feed import state as redis_state
from pipeline.feed.amendments import Amendments
from pipeline.feed.hashes import REPLACED, STAGED, Hashes
from pipeline.feed.server import key
from pipeline.feed.state import LAST_UPDATE, STAGES, State
from pipeline.feed.wire import ANYTHING, Step, command, transacted

if TYPE_CHECKING:
    from redis import Redis

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

    may_fail, *parts = _transaction(hashes, state, changes, amendments)
    pipe = client.pipeline(transaction=True)
    try:
        last_update = key(LAST_UPDATE)
        pipe.watch(last_update)
        if pipe.get(last_update) != before:
            raise redis.WatchError
        answers = transacted(pipe.connection, [ask for part in (may_fail, *parts) for ask, _ in part])
    except redis.WatchError:
        client.ping()  # a connection that breaks is reported as another's write, too
        raise RedisOvertakenError(
            f"another run has fed Redis while this one did; run again: luigi --module pipeline RedisWatchlistSync "
            f"--date {state.day}"
        ) from None
    finally:
        pipe.reset()
    _check(client, state, [said for _, said in itertools.chain(*parts)], answers[len(may_fail) :])
    hashes.forget([*changes.removed, *changes.changed], REPLACED)


def _transaction(hashes: Hashes, state: State, changes: Changes, amendments: Amendments) -> Iterator[list[Step]]:
    """First what may fail without harm: a hash that has expired by now is not there to be renamed.

    Where bars cannot be dropped from a hash, what is added to it says so, too.
    """
    name = hashes.name
    away = (_rename(name(symbol), name(symbol, REPLACED)) for symbol in (*changes.removed, *changes.changed))
    yield [*away, *amendments.dropping()]
    yield [_rename(name(symbol, STAGED), name(symbol)) for symbol in (*changes.new, *changes.changed)]
    yield list(amendments.writing())
    yield list(_announcement(state, changes, str(hashes.lifetime)))


def _rename(name: str, other: str) -> Step:
    return command("RENAME", name, other), "+OK"


def _announcement(state: State, changes: Changes, lifetime: str) -> Iterator[Step]:
    """What the feed says of its version."""
    stages, updates = key(STAGES), key(UPDATES)
    facts = {"day": str(state.day), "mode": state.mode, **state.version(), **changes.as_json()}
    yield command("DEL", stages), ANYTHING
    yield command("HSET", stages, "SyncRedis", state.sync_id), ":1"
    yield command("EXPIRE", stages, lifetime), ":1"
    yield command("SET", key(LAST_UPDATE), state.as_json(), "EX", lifetime), "+OK"
    length = str(settings().list_length)
    yield command("XADD", updates, "MAXLEN", "~", length, "*", *itertools.chain(*facts.items())), ANYTHING
    yield command("EXPIRE", updates, lifetime), ":1"


def _check(client: Redis, state: State, wanted: Iterable[str], answers: Iterable[str]) -> None:
    """What may not fail are the renames to the places that are read, the amendments, and the words about the version.

    A hash of which more or less was new than had been found out has become another one meanwhile.
    """
    lost = [
        found for said, found in zip(wanted, answers, strict=True)
        if found != said and (said != ANYTHING or found.startswith("-"))
    ]  # fmt: skip
    if lost:
        redis_state.distrust(client)
        reason = next((f" ({found[1:]})" for found in lost if found.startswith("-")), "")
        raise RedisUnhealthyError(
            f"Redis has lost {len(lost)} of {state.synced} symbols while it was fed{reason}; a server that evicts keys "
            f"needs more memory. The next run repairs it: luigi --module pipeline RedisWatchlistSync --date {state.day}"
        )
