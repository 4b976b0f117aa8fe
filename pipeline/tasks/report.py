"""The report page of each session."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Sequence
from typing import Any

from pipeline import calendar
from pipeline.config import retention
from pipeline.database.connection import reading
from pipeline.host.files import age, write_text
from pipeline.report.places import index_path, pages, report_path
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.notify import NotifySuccess
from pipeline.tasks.progress import Bar


class GenerateReport(SessionTask):
    """`reports/D.html` of each session, and `reports/index.html` of all of them, from the tables.

    The pages of the sessions beside them are made again, for they say what came and went since the session before, and
    which page follows.
    """

    table = "reports"
    heading = "report"
    follows = (NotifySuccess,)
    priority = 30

    @classmethod
    def with_product(cls, sessions: set[dt.date]) -> set[dt.date]:
        """Those that have a page, or whose page has been cleaned up for its age, as the marker's age tells."""
        made = set(pages()) if len(sessions) > 1 else {day for day in sessions if report_path(day).exists()}
        return {day for day in sessions if day in made or cls._is_outdated(day)}

    @classmethod
    def _is_outdated(cls, session: dt.date) -> bool:
        marker = pathlib.Path(cls.marker(session).path)
        return marker.exists() and age(marker, calendar.now()) > dt.timedelta(days=retention().report_days)

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.report.index_page import render_index
        from pipeline.report.page import neighbours, render_all

        wanted = [*sessions, *neighbours(sessions)]
        told: dict[dt.date, dict[str, Any]] = {}
        with Bar("pages", self.say) as bar, reading() as connection:
            for number, (session, html, facts) in enumerate(render_all(connection, wanted, others=sessions), 1):
                write_text(report_path(session), html)
                told[session] = {
                    "page": str(report_path(session)),
                    "median_change": facts["breadth"]["median_change"],
                    "is_provisional": facts["finality"]["is_provisional"],
                }
                bar.advance(number, len(wanted), f"{number} of {len(wanted)} made")
            write_text(index_path(), render_index(connection, told))
        self.finish_all(sessions)
        return {session: told[session] for session in sessions}
