"""Bring Redis to what it should hold: whole, or only what has changed."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import redis as settings
from pipeline.errors import ConfigurationError
from pipeline.feed import state as redis_state
from pipeline.feed.content import Feed
from pipeline.feed.hashes import AMENDED, Hashes
from pipeline.feed.state import State

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

    May be killed at any moment: every hash is old or new, and the next call finishes.
    """
    check_lifetime()
    last = redis_state.read(client)
    mode = choose_mode(last, feed.day, force_full)
    hashes = Hashes(client)
    present = hashes.present()
    outcomes: dict[str, int] = {}
    if last is not None and mode != FULL:
        known = [entry for symbol, entry in feed.entries.items() if symbol in present]
        outcomes = hashes.amend(known, str(last.day))
    whole = [entry for symbol, entry in feed.entries.items() if not outcomes.get(symbol)]
    hashes.write(whole)
    gone = present - feed.entries.keys()
    new = len(feed.entries.keys() - present)
    amended = sum(outcome == AMENDED for outcome in outcomes.values())
    state = State(
        sync_id=uuid.uuid4().hex, at=calendar.now(), day=feed.day, session=feed.session, mode=mode,
        synced=len(feed.entries), total=feed.on_list, new=new, updated=len(whole) + amended - new,
        removed=len(gone), symbols=sorted(feed.entries),
    )  # fmt: skip
    redis_state.publish(client, state, map(hashes.name, gone))
    return state


def check_lifetime() -> None:
    """Raises ConfigurationError when symbols would disappear that are still on the watchlist."""
    section = settings()
    kept, watched = section.ttl_days, section.watch_days
    if kept <= watched:
        raise ConfigurationError(
            f"[redis] ttl_days = {kept} would let symbols disappear that are on the watchlist for "
            f"[redis] watch_days = {watched}; it has to be more"
        )
