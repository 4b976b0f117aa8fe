"""Whether Redis holds what was written: enough symbols, the right content, the right day, and room to spare."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.config import redis as settings
from pipeline.errors import RedisUnhealthyError
from pipeline.feed import signals
from pipeline.feed import state as redis_state
from pipeline.feed.content import Feed
from pipeline.feed.hashes import Hashes, fields_of
from pipeline.feed.levels import levels
from pipeline.feed.server import ENDLESS, lifetimes
from pipeline.feed.state import State
from pipeline.text import shown

if TYPE_CHECKING:
    from redis import Redis

#: Problems that one message names.
NAMED = 5

#: The stage behind which the triggers of an update are there.
PREPARED = "PrepareSignals"


def check(client: Redis, feed: Feed, session: dt.date) -> dict[str, Any]:
    """What was looked at, when all is well. `feed` is what the replica says now, `session` the one it has to end with.

    Raises RedisUnhealthyError. When the feed itself is wrong, its last update is forgotten, so that the next run
    writes everything.
    """
    wrong = problems(client, feed, session)
    if wrong:
        redis_state.distrust(client)
    used = int(client.info("memory")["used_memory"]) / 1e6
    limit = settings().max_memory_mb
    if 0 < limit < used:
        wrong.append(f"{used:,.0f} MB of memory are in use, and [redis] max_memory_mb = {limit}")
    _raise(wrong, feed.day)
    return {"symbols": len(feed.entries), "samples": len(_samples(feed)), "memory_mb": round(used, 1)}


def problems(client: Redis, feed: Feed, session: dt.date) -> list[str]:
    """What is wrong with the feed, and with its triggers when they are there; nothing in Redis is changed."""
    state = redis_state.read(client)
    found = list(_feed_problems(client, feed, state, session))
    if state is not None and redis_state.has_seen(client, PREPARED, state):
        found += _trigger_problems(client, state)
    return found


def check_triggers(client: Redis, update: State) -> None:
    """Raises RedisUnhealthyError, and forgets the update, when its session's triggers are not what they should be."""
    wrong = list(_trigger_problems(client, update))
    if wrong:
        redis_state.distrust(client)
    _raise(wrong, update.day)


def _raise(wrong: list[str], day: dt.date) -> None:
    if wrong:
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise RedisUnhealthyError(
            f"the feed of {day} in Redis is not healthy: {'; '.join(wrong[:NAMED])}{more}. "
            f"The next run repairs it: luigi --module pipeline RedisWatchlistSync --date {day}"
        )


def _feed_problems(client: Redis, feed: Feed, state: State | None, session: dt.date) -> Iterator[str]:
    if state is None:
        yield "it has no watchlist_last_update"
        return
    if state.day != feed.day:
        yield f"it was last updated for {state.day}"
    if state.session != session:
        yield f"it ends with session {state.session}, and should with {session}"
    hashes = Hashes(client, state.version())
    yield from _count_problems(hashes.present(), feed, state)
    yield from _content_problems(client, hashes, feed, state)


def _count_problems(present: set[str], feed: Feed, state: State) -> Iterator[str]:
    count, others = len(present), sorted(present.symmetric_difference(state.symbols))
    if others:
        named = ", ".join(map(shown, others[:NAMED]))
        verb = "is" if len(others) == 1 else "are"
        yield f"it has {count} symbols, and {state.synced} were written: {named} {verb} missing or too many"
    least = min(settings().min_keys, feed.on_list)
    if count < least:
        yield f"it has {count} symbols, fewer than {least} ([redis] min_keys, or the length of the watchlist)"


def _content_problems(client: Redis, hashes: Hashes, feed: Feed, state: State) -> Iterator[str]:
    samples = _samples(feed)
    for symbol, found in hashes.read(samples).items():
        if found is None:
            yield f"{hashes.name(symbol)} is no hash"
        elif found != fields_of(feed.entries[symbol], state.version()):
            yield f"{symbol} differs from the replica" if found else f"{symbol} is missing"
    for name, lifetime in lifetimes(client, map(hashes.name, samples)):
        if lifetime == ENDLESS:
            yield f"{name.rpartition(':')[2]} would stay for ever"


def _trigger_problems(client: Redis, update: State) -> Iterator[str]:
    wanted = dict(signals.triggers(update.session, levels(update.session), update))
    found = {name: text for name, text in signals.read(client).items() if signals.session_of(name) == update.session}
    for name in sorted(wanted.keys() | found.keys()):
        if name not in wanted:
            yield f"{shown(name)} is a trigger that its session does not have"
        elif name not in found:
            yield f"{name} is missing"
        elif signals.levels_in(found[name]) != signals.comparable(wanted[name]):
            yield f"{name} differs from the replica"
    for name, lifetime in lifetimes(client, sorted(found)):
        if lifetime == ENDLESS:
            yield f"{name} would stay for ever"


def _samples(feed: Feed) -> list[str]:
    """Symbols to look at: other ones each day, the same ones each time for a day."""
    symbols = sorted(feed.entries)
    return random.Random(str(feed.day)).sample(symbols, min(settings().health_samples, len(symbols)))
