"""The whole day: what people run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import luigi

from pipeline.calendar import is_session
from pipeline.parameters import SessionParameter
from pipeline.tasks.base import SessionTask
from pipeline.tasks.stages import STAGES


class DailyPipeline(luigi.WrapperTask):
    """Every stage of one session. It is done when all of them are, and keeps no record of its own.

    A stage whose marker, row or product (replica, page) is gone is done again, and no other one. A day without a
    session is complete and does nothing.
    """

    date = SessionParameter()
    batchable = False
    priority = 19

    def requires(self) -> list[SessionTask]:
        return [stage(date=self.date) for stage in STAGES]

    @classmethod
    def bulk_complete(cls, dates: Iterable[dt.date]) -> list[dt.date]:
        """Those of the dates that are done, or have no session, by one query."""
        days = list(dates)
        done = set(days).intersection(*(stage.recorded(days) for stage in STAGES))
        return [day for day in days if day in done or not is_session(day)]
