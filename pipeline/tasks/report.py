"""The report page of each session."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Sequence

from pipeline import calendar
from pipeline.config import retention
from pipeline.database.connection import reading
from pipeline.files import age, write_text
from pipeline.report.page import index_path, pages_made, render, render_index, report_path
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.notify import NotifySuccess


class GenerateReport(SessionTask):
    """`reports/D.html` of each session, and `reports/index.html` of all of them, from the tables."""

    table = "reports"
    heading = "report"
    follows = (NotifySuccess,)
    priority = 30

    @classmethod
    def with_product(cls, sessions: set[dt.date]) -> set[dt.date]:
        """Those that have a page, or whose page has been cleaned up for its age, as the marker's age tells."""
        pages = pages_made() if len(sessions) > 1 else {day for day in sessions if report_path(day).exists()}
        return {day for day in sessions if day in pages or cls._is_outdated(day)}

    @classmethod
    def _is_outdated(cls, session: dt.date) -> bool:
        marker = pathlib.Path(cls.marker(session).path)
        return marker.exists() and age(marker, calendar.now()) > dt.timedelta(days=retention().report_days)

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        with reading() as connection:
            for number, session in enumerate(sessions, 1):
                write_text(report_path(session), render(connection, session))
                self.say(f"{number} of {len(sessions)} pages made", 100 * number // len(sessions))
            write_text(index_path(), render_index(connection))
        self.finish_all(sessions)
        return {session: {"page": str(report_path(session))} for session in sessions}
