"""The report page of each session."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pipeline.database.connection import reading
from pipeline.files import write_text
from pipeline.report.page import index_path, render, render_index, report_path
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.notify import NotifySuccess


class GenerateReport(SessionTask):
    """`reports/D.html` of each session, and `reports/index.html` of all of them, from the tables."""

    table = "reports"
    follows = (NotifySuccess,)
    priority = 30

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        with reading() as connection:
            for number, session in enumerate(sessions, 1):
                write_text(report_path(session), render(connection, session))
                self.say(f"{number} of {len(sessions)} pages made", 100 * number // len(sessions))
            write_text(index_path(), render_index(connection))
        self.finish_all(sessions)
        return {session: {"page": str(report_path(session))} for session in sessions}
