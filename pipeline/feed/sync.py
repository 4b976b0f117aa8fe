"""Bring Redis to what it should hold: whole, or only what has changed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import redis as settings
from pipeline.errors import ConfigurationError
from pipeline.feed.amendments import AMENDED, Amendments
from pipeline.feed.content import Feed
from pipeline.feed.hashes import Hashes
from pipeline.feed.server import check_server, clear, key
from pipeline.feed.state import LAST_UPDATE, STAGES, State
from pipeline.feed.switch import UPDATES, Changes, switch

if TYPE_CHECKING:
    from redis import Redis

FULL, NEW_SYMBOLS, INCREMENTAL = "full", "new_symbols", "incremental"

#: Days after which an update is too old to be built upon.
OUTDATED = dt.timedelta(days=7)


def choose_mode(last: State | None, day: dt.date, force_full: bool) -> str:
    """Whole when forced, on a day without a session, after a week, or when there is nothing to build upon."""
    if force_full or last is None or not calendar.is_session(day) or not dt.timedelta(0) <= day - last.day < OUTDATED:
        return FULL
    return NEW_SYMBOLS if last.day == day else INCREMENTAL


def sync(client: Redis, feed: Feed, force_full: bool = False) -> State:
    """Write the feed; what was done, which is also what Redis now says of itself.

    May be killed at any moment: the feed is the version before or the one behind. Raises RedisOvertakenError when
    another run feeds the same keys.
    """
    check_lifetime()
    check_server(client)
    clear(client, {key(LAST_UPDATE): "string", key(STAGES): "hash", key(UPDATES): "stream"})
    text: str | None = client.get(key(LAST_UPDATE))  # type: ignore[assignment]
    last = State.from_json(text) if text else None
    state = State(
        sync_id=uuid.uuid4().hex, at=calendar.now(), day=feed.day, session=feed.session,
        mode=choose_mode(last, feed.day, force_full), synced=len(feed.entries), total=feed.on_list, new=0, updated=0,
        removed=0, symbols=sorted(feed.entries),
    )  # fmt: skip
    hashes = Hashes(client, state.version())
    amendments = Amendments(hashes, last or state)
    present = hashes.sweep()
    if state.mode != FULL:
        amendments.compare(client, [entry for symbol, entry in feed.entries.items() if symbol in present])
    changes = make_whole(hashes, feed, present, amendments.outcomes)
    state = dataclasses.replace(
        state,
        new=len(changes.new),
        updated=len(changes.changed) + len(changes.amended),
        removed=len(changes.removed),
    )
    switch(client, hashes, text, state, changes, amendments)
    return state


def make_whole(hashes: Hashes, feed: Feed, present: set[str], outcomes: dict[str, int]) -> Changes:
    """Make the hashes that cannot stay where they are; what becomes of all of them."""
    whole = {symbol: entry for symbol, entry in feed.entries.items() if not outcomes.get(symbol)}
    hashes.stage(whole.values())
    return Changes(
        new=feed.entries.keys() - present,
        removed=present - feed.entries.keys(),
        changed=whole.keys() & present,
        amended=[symbol for symbol, outcome in outcomes.items() if outcome == AMENDED],
    )


def check_lifetime() -> None:
    """Raises ConfigurationError when symbols would disappear that are still on the watchlist."""
    section = settings()
    kept, watched = section.ttl_days, section.watch_days
    if kept <= watched:
        raise ConfigurationError(
            f"[redis] ttl_days = {kept} would let symbols disappear that are on the watchlist for "
            f"[redis] watch_days = {watched}; it has to be more"
        )
