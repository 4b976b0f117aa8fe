"""The Redis feed: sync, health check, signals and clean-up, closed by a notification.

Redis is a cache that can be lost. A stage of a date is done when its row is in the database *and* Redis says that the
stage has seen its last update; so a Redis that was emptied, or filled from elsewhere, is fed again by the next run,
and one that cannot be asked counts as empty. It holds one day: a later day makes all earlier ones done.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import logging
from collections.abc import Sequence

import luigi
from luigi.task import MixinNaiveBulkComplete

from pipeline import calendar
from pipeline.database.connection import writing
from pipeline.errors import RedisUnhealthyError
from pipeline.events.outbox import SIGNALS, add_once
from pipeline.feed import health as redis_health
from pipeline.feed import signals
from pipeline.feed import state as redis_state
from pipeline.feed import sync as redis_sync
from pipeline.feed.content import check_session, read_feed, wanted_session
from pipeline.feed.server import check_address, connect
from pipeline.feed.state import State
from pipeline.runs.messages import notify
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.daily import DailyPipeline

logger = logging.getLogger("pipeline")


class RedisStage(MixinNaiveBulkComplete, SessionTask):
    """A stage that writes to Redis. Unlike the others it has work to do on days without a session too.

    Raises the subclasses of RedisFeedError.
    """

    force_full = luigi.BoolParameter(default=False, description="write every symbol anew, also when the date is done")

    table = "redis"
    belongs_to = "RedisWatchlistSync"
    resources = {"redis": 1, "duckdb": 1}
    batchable = False

    @functools.cached_property
    def asked_at(self) -> dt.datetime:
        """When Luigi first asked for the task: a forced sync is done when it is newer than that."""
        return calendar.now()

    def requires(self) -> list[luigi.Task]:
        return [
            stage(date=self.date, force_full=self.force_full)
            if issubclass(stage, RedisStage)
            else stage(date=self.date)
            for stage in self.follows
        ]

    def is_done(self, session: dt.date) -> bool:
        """True when the stage was done for what is in Redis now.

        Raises SessionNotSettledError or SessionOutOfRangeError for a day that no run can serve, and ConfigurationError
        for an address of Redis that cannot be one.
        """
        check_address()
        asked_at = self.asked_at
        state, has_seen = redis_state.look(self.task_family)
        if state is not None and not self.force_full and state.day > session:
            return True
        fresh = not self.force_full or (state is not None and state.mode == redis_sync.FULL and state.at >= asked_at)
        if state is not None and state.day == session and has_seen and fresh and self.row(session).exists():
            return True
        calendar.check_session(session)
        return False

    def process_ready(self) -> dict[dt.date, Outcome]:
        due = [session for session in self.sessions if not self.is_done(session)]
        outcomes = self.process(due)
        with writing() as connection:
            for session in outcomes:
                self.finish(connection, session)
        overtaken: Outcome = {"overtaken": True}  # in a back-fill a later day has reached Redis meanwhile
        return dict.fromkeys(self.sessions, overtaken) | outcomes


class SyncRedis(RedisStage):
    """The watchlist of the last days and its bars, from the replica to Redis: what has changed, or everything.

    Everything it is on a day without a session, and with --force-full.
    """

    follows = (DailyPipeline,)
    priority = 15

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {day: self._sync(day) for day in sessions}

    def _sync(self, day: dt.date) -> Outcome:
        feed = read_feed(day)
        check_session(feed)
        with connect() as client:
            state = redis_sync.sync(client, feed, self.force_full)
        logger.info("%s", summary(state))
        return facts_of(state)


class CheckRedisHealth(RedisStage):
    """Redis answers, has room, and holds what was written. Raises RedisUnhealthyError."""

    follows = (SyncRedis,)
    priority = 14

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {day: self._check(day) for day in sessions}

    def _check(self, day: dt.date) -> Outcome:
        feed = read_feed(day)
        with connect() as client:
            facts = redis_health.check(client, feed, wanted_session(day))
            redis_state.tick(client, self.task_family, last_update(redis_state.read(client), day))
        return facts


class PrepareSignals(RedisStage):
    """The triggers for live detection, and how many symbols are ready for it.

    Raises RedisUnhealthyError when the triggers in Redis are not those that were written.
    """

    follows = (CheckRedisHealth,)
    priority = 13

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {day: self._prepare(day) for day in sessions}

    def _prepare(self, day: dt.date) -> Outcome:
        with connect() as client:
            state = last_update(redis_state.read(client), day)
            facts = signals.prepare(client, state, functools.partial(tell_signals, state))
            redis_health.check_triggers(client, state)
            redis_state.tick(client, self.task_family, state)
        logger.info("%s: %d of %d symbols are ready for live detection", day, facts["ready"], facts["total"])
        return dict(facts)


class CleanUpRedis(RedisStage):
    """Old triggers and temporary keys of ours go."""

    follows = (CheckRedisHealth,)
    priority = 13

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {day: self._clean_up(day) for day in sessions}

    def _clean_up(self, day: dt.date) -> Outcome:
        with connect() as client:
            facts = signals.clean_up(client, day)
            redis_state.tick(client, self.task_family, last_update(redis_state.read(client), day))
        return dict(facts)


class RedisWatchlistSync(RedisStage):
    """Everything that Redis gets for a date, closed by the success notification."""

    follows = (PrepareSignals, CleanUpRedis)
    priority = 12

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {day: self._close(day) for day in sessions}

    def _close(self, day: dt.date) -> Outcome:
        with connect() as client:
            state = last_update(redis_state.read(client), day)
            redis_state.tick(client, self.task_family, state)
        return {"channels": notify(summary(state))}


class ManualFullSync(RedisStage):
    """The full resync at any time, from whatever the replica has up to the date; it asks for no run of the pipeline."""

    force_full = True
    priority = 15

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {day: self._sync(day) for day in sessions}

    def _sync(self, day: dt.date) -> Outcome:
        feed = read_feed(day)
        with connect() as client:
            state = redis_sync.sync(client, feed, force_full=True)
            redis_health.check(client, feed, feed.session)
            redis_state.tick(client, self.task_family, state)
        logger.info("%s", summary(state))
        return facts_of(state)


#: The stages of a date behind `DailyPipeline`, in their order.
FEED_STAGES: tuple[type[RedisStage], ...] = (
    SyncRedis,
    CheckRedisHealth,
    PrepareSignals,
    CleanUpRedis,
    RedisWatchlistSync,
)


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


def facts_of(state: State) -> Outcome:
    """What the marker file says of an update."""
    kept = ("sync_id", "session", "mode", "synced", "total", "new", "updated", "removed")
    return {name: getattr(state, name) for name in kept}
