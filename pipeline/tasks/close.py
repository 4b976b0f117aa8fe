"""The last stage: the session's marks are settled, and its end is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pipeline.database.connection import writing
from pipeline.database.replica import replica_path
from pipeline.market.staleness import settle_session
from pipeline.report.places import report_path
from pipeline.runs import messages
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.cleanup import CleanUpFiles
from pipeline.tasks.report import GenerateReport


class CloseSession(SessionTask):
    """Take the marks off sessions that are made anew, and send the final notification."""

    table = "sessions"
    heading = "closed"
    follows = (GenerateReport, CleanUpFiles)
    priority = 20

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        last = sessions[-1]
        done = f"{last} is done" if len(sessions) == 1 else f"{len(sessions)} sessions up to {last} are done"
        text = f"{done}; replica {replica_path()}, report {report_path(last)}"
        with writing() as connection:
            for session in sessions:
                settle_session(connection, session)
                self.finish(connection, session)
            kept = messages.keep(connection, text)
        messages.notify(text, kept)
        return dict.fromkeys(sessions, {})
