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
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.config import redis as settings
from pipeline.errors import RedisOvertakenError, RedisUnhealthyError
from pipeline.feed import state as redis_state
from pipeline.feed.amendments import Amendments
from pipeline.feed.hashes import REPLACED, STAGED, Hashes
from pipeline.feed.server import key
from pipeline.feed.state import LAST_UPDATE, STAGES, State
from pipeline.feed.wire import ANYTHING, WHATEVER, Step, command, transacted

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

    announcement = _announcement(state, changes, str(hashes.lifetime))
    pipe = client.pipeline(transaction=True)
    try:
        last_update = key(LAST_UPDATE)
        pipe.watch(last_update)
        if pipe.get(last_update) != before:
            raise redis.WatchError
        steps = itertools.chain(_renames(hashes, changes), amendments.steps, announcement)
        lost = transacted(pipe.connection, steps)
    except redis.WatchError:
        client.ping()  # a connection that breaks is reported as another's write, too
        raise RedisOvertakenError(
            f"another run has fed Redis while this one did; run again: luigi --module pipeline RedisWatchlistSync "
            f"--date {state.day}"
        ) from None
    finally:
        pipe.reset()
    if lost:
        redis_state.distrust(client)
        raise RedisUnhealthyError(_loss(state, lost))
    hashes.forget([*changes.removed, *changes.changed], REPLACED)


def _renames(hashes: Hashes, changes: Changes) -> Iterator[Step]:
    """Renames; those away may fail, as a hash that has expired by now is not there to be renamed."""
    for symbol in (*changes.removed, *changes.changed):
        yield command("RENAME", hashes.name(symbol), hashes.name(symbol, REPLACED)), WHATEVER
    for symbol in (*changes.new, *changes.changed):
        yield command("RENAME", hashes.name(symbol, STAGED), hashes.name(symbol)), "+OK"


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


def _loss(state: State, answers: Sequence[str]) -> str:
    """What is said of answers that the server should not have given.

    What may not fail are the renames to the places that are read, the amendments, and the words about the version. A
    hash of which more or less was new than had been found out has become another one meanwhile.
    """
    reason = next((f" ({answer[1:]})" for answer in answers if answer.startswith("-")), "")
    return (
        f"Redis has lost {len(answers)} of {state.synced} symbols while it was fed{reason}; a server that evicts keys "
        f"needs more memory. The next run repairs it: luigi --module pipeline RedisWatchlistSync --date {state.day}"
    )
