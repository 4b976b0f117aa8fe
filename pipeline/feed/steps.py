"""What the stages of the feed do for a day: bring Redis in line, look at it, prepare the signals, clean up."""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
from typing import Any

from pipeline.database.connection import writing
from pipeline.errors import RedisUnhealthyError
from pipeline.events.outbox import SIGNALS, add_once
from pipeline.feed import health, signals
from pipeline.feed import state as redis_state
from pipeline.feed import sync as redis_sync
from pipeline.feed.content import check_session, read_feed, wanted_session
from pipeline.feed.server import check_address, connect
from pipeline.feed.state import State

Facts = dict[str, Any]

logger = logging.getLogger("pipeline")


def is_overtaken_or_seen(stage: str, day: dt.date, full_since: dt.datetime | None) -> tuple[bool, bool]:
    """Whether Redis holds a later day than `day`, and whether the stage has seen the update of `day` that it holds.

    With `full_since` only a full sync from then on counts. Raises ConfigurationError for an address that cannot be one.
    """
    check_address()
    state, has_seen = redis_state.look(stage)
    if state is None:
        return False, False
    fresh = full_since is None or (state.mode == redis_sync.FULL and state.at >= full_since)
    return full_since is None and state.day > day, state.day == day and has_seen and fresh


def sync_day(day: dt.date, force_full: bool) -> Facts:
    """Write what has changed, or everything. Raises FeedOutdatedError when the replica lacks the session."""
    feed = read_feed(day)
    check_session(feed)
    with connect() as client:
        state = redis_sync.sync(client, feed, force_full)
    logger.info("%s", summary(state))
    return facts_of(state)


def write_whole(day: dt.date, stage: str) -> Facts:
    """Everything anew, from whatever the replica has up to the day, and a look at what was written."""
    feed = read_feed(day)
    with connect() as client:
        state = redis_sync.sync(client, feed, force_full=True)
        health.check(client, feed, feed.session)
        redis_state.tick(client, stage, state)
    logger.info("%s", summary(state))
    return facts_of(state)


def check_day(day: dt.date, stage: str) -> Facts:
    """Raises RedisUnhealthyError when Redis does not hold what was written."""
    feed = read_feed(day)
    with connect() as client:
        facts = health.check(client, feed, wanted_session(day))
        redis_state.tick(client, stage, last_update(redis_state.read(client), day))
    return facts


def prepare_signals(day: dt.date, stage: str) -> Facts:
    """Raises RedisUnhealthyError when the triggers in Redis are not those that were written."""
    with connect() as client:
        state = last_update(redis_state.read(client), day)
        facts = signals.prepare(client, state, functools.partial(tell_signals, state))
        health.check_triggers(client, state)
        redis_state.tick(client, stage, state)
    logger.info("%s: %d of %d symbols are ready for live detection", day, facts["ready"], facts["total"])
    return dict(facts)


def clean_up(day: dt.date, stage: str) -> Facts:
    with connect() as client:
        facts = signals.clean_up(client, day)
        redis_state.tick(client, stage, last_update(redis_state.read(client), day))
    return dict(facts)


def close_day(day: dt.date, stage: str) -> str:
    """The line on the day's update, for people."""
    with connect() as client:
        state = last_update(redis_state.read(client), day)
        redis_state.tick(client, stage, state)
    return summary(state)


def tell_signals(state: State, changes: list[signals.Change]) -> None:
    """Events for what becomes of triggers.

    Before they are written to Redis: a run that is killed between finds the same changes again, and the events of an
    update have names that follow from it.
    """
    if not changes:
        return
    with writing() as connection:
        for name, event, text in changes:
            trigger = json.loads(text)
            symbol, session = name.split(":")[-2], str(signals.session_of(name))
            body = {"event": event, "symbol": symbol, "session": session, "trigger": trigger}
            add_once(connection, SIGNALS, symbol, f"{name} {event} {state.sync_id}", body)


def last_update(state: State | None, day: dt.date) -> State:
    """The update that a stage of `day` belongs to. Raises RedisUnhealthyError when it is gone or another one."""
    if state is None or state.day != day:
        found = "nothing" if state is None else f"the feed of {state.day}"
        raise RedisUnhealthyError(
            f"Redis was fed for {day} and now holds {found}: it was emptied, or another run has written to it. "
            f"The next run repairs it: luigi --module pipeline RedisWatchlistSync --date {day}"
        )
    return state


def summary(state: State) -> str:
    """One line on an update, for people."""
    listed = f"{state.synced} of {state.total} symbols" if state.total else "an empty watchlist"
    return (
        f"{state.day}: Redis holds {listed} up to session {state.session} "
        f"({state.mode.replace('_', ' ')} sync: {state.new} new, {state.updated} updated, {state.removed} removed)"
    )


def facts_of(state: State) -> Facts:
    """What the marker file says of an update."""
    kept = ("sync_id", "session", "mode", "synced", "total", "new", "updated", "removed")
    return {name: getattr(state, name) for name in kept}
