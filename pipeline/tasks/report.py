"""The report page of each session."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pipeline.database import reading, writing
from pipeline.files import write_text
from pipeline.report import render, report_path
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.notify import NotifySuccess


class GenerateReport(SessionTask):
    """`reports/D.html` of each session, from the tables."""

    table = "reports"
    follows = (NotifySuccess,)
    priority = 30

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        with reading() as connection:
            pages = {session: render(connection, session) for session in sessions}
        for session, page in pages.items():
            write_text(report_path(session), page)
        with writing() as connection:
            for session in sessions:
                self.finish(connection, session)
        return {session: {"page": str(report_path(session))} for session in sessions}
