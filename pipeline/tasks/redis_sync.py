"""The Redis feed: sync, health check, signals and clean-up, closed by a notification.

Redis is a cache that can be lost. A stage of a date is done when its row is in the database *and* Redis says that the
stage has seen its last update; so a Redis that was emptied, or filled from elsewhere, is fed again by the next run,
and one that cannot be asked counts as empty. It holds one day: a later day makes all earlier ones done.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence

import luigi
from luigi.task import MixinNaiveBulkComplete

from pipeline import calendar
from pipeline.database.connection import writing
from pipeline.runs.messages import notify
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.daily import DailyPipeline


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
        from pipeline.feed import steps

        full_since = self.asked_at if self.force_full else None
        overtaken, seen = steps.is_overtaken_or_seen(self.task_family, session, full_since)
        if overtaken or (seen and self.row(session).exists()):
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
        from pipeline.feed import steps

        return {day: steps.sync_day(day, self.force_full) for day in sessions}


class CheckRedisHealth(RedisStage):
    """Redis answers, has room, and holds what was written. Raises RedisUnhealthyError."""

    follows = (SyncRedis,)
    priority = 14

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.feed import steps

        return {day: steps.check_day(day, self.task_family) for day in sessions}


class PrepareSignals(RedisStage):
    """The triggers for live detection, and how many symbols are ready for it.

    Raises RedisUnhealthyError when the triggers in Redis are not those that were written.
    """

    follows = (CheckRedisHealth,)
    priority = 13

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.feed import steps

        return {day: steps.prepare_signals(day, self.task_family) for day in sessions}


class CleanUpRedis(RedisStage):
    """Old triggers and temporary keys of ours go."""

    follows = (CheckRedisHealth,)
    priority = 13

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.feed import steps

        return {day: steps.clean_up(day, self.task_family) for day in sessions}


class RedisWatchlistSync(RedisStage):
    """Everything that Redis gets for a date, closed by the success notification."""

    follows = (PrepareSignals, CleanUpRedis)
    priority = 12

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.feed import steps

        return {day: {"channels": notify(steps.close_day(day, self.task_family))} for day in sessions}


class ManualFullSync(RedisStage):
    """The full resync at any time, from whatever the replica has up to the date; it asks for no run of the pipeline."""

    force_full = True
    priority = 15

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.feed import steps

        return {day: steps.write_whole(day, self.task_family) for day in sessions}


#: The stages of a date behind `DailyPipeline`, in their order.
FEED_STAGES: tuple[type[RedisStage], ...] = (
    SyncRedis,
    CheckRedisHealth,
    PrepareSignals,
    CleanUpRedis,
    RedisWatchlistSync,
)
