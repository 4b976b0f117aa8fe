"""The whole day: what people run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from pipeline.calendar import is_session
from pipeline.database.connection import database_path, writing
from pipeline.database.markers import MarkerTarget, RowTarget
from pipeline.database.replica import replica_path
from pipeline.market.staleness import settle_session
from pipeline.report.page import report_path
from pipeline.runs.notifications import notify
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.cleanup import CleanUpFiles
from pipeline.tasks.report import GenerateReport


class DailyPipeline(SessionTask):
    """Everything of one session, closed by the final notification.

    A day without a session is complete and does nothing.
    """

    table = "sessions"
    follows = (GenerateReport, CleanUpFiles)
    priority = 20

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        with writing() as connection:
            for session in sessions:
                settle_session(connection, session)
                self.finish(connection, session)
        last = sessions[-1]
        done = f"{last} is done" if len(sessions) == 1 else f"{len(sessions)} sessions up to {last} are done"
        notify(f"{done}; replica {replica_path()}, report {report_path(last)}")
        return dict.fromkeys(sessions, {})

    @classmethod
    def bulk_complete(cls, dates: Iterable[dt.date]) -> list[dt.date]:
        """Those of the dates that are done, or have no session, by one query."""
        rows = RowTarget.update_ids(database_path())
        return [
            day
            for day in dates
            if not is_session(day) or (f"DailyPipeline:{day}" in rows and MarkerTarget("DailyPipeline", day).exists())
        ]
