"""Which sessions a back-fill has to do, and how far it is."""

from __future__ import annotations

import datetime as dt
import json

from pipeline import calendar
from pipeline.cli import reset
from pipeline.database.connection import database_path, reading
from pipeline.host import owner
from pipeline.market.staleness import scanned_sessions, stale_sessions
from pipeline.runs.journal import journal_path
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.ranges import sessions_of_range


def missing_sessions(first: dt.date, last: dt.date) -> list[dt.date]:
    """The sessions from `first` to `last`, both included, that are not done. Raises what `sessions_of_range` does."""
    wanted = sessions_of_range(first, last)
    done = set(DailyPipeline.bulk_complete(wanted))
    return [session for session in wanted if session not in done]


def prepare_stale(first: dt.date | None, last: dt.date | None) -> list[dt.date]:
    """The stale sessions of the range, reset from their indicators on so that a run does them again.

    A session that an earlier call has reset, and whose run was killed, is not reset a second time.
    """
    if not database_path().exists():
        return []
    with reading() as connection:
        stale = stale_sessions(connection)
        scanned = set(scanned_sessions(connection))
    chosen = [day for day in stale if (first or dt.date.min) <= day <= (last or calendar.latest_session())]
    outdated = [day for day in chosen if day in scanned]
    if outdated:
        reset.carry_out(reset.plan(outdated, "ComputeIndicators"))
    return chosen


class Progress:
    """Stages that a luigi process has done, read from its journal as that grows."""

    def __init__(self) -> None:
        self.done: set[tuple[str, str]] = set()
        self.failed: set[tuple[str, str]] = set()
        self.running = ""
        self._offset = 0

    def read(self, pid: int) -> None:
        """Take in what the journal of the process has got since the last call."""
        try:
            with journal_path(owner.of(pid)).open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except (FileNotFoundError, ProcessLookupError):  # not begun, or moved into the database at the end
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, entry: dict[str, object]) -> None:
        pairs = {(str(entry["task"]), str(date)) for date in entry["dates"]}  # type: ignore[attr-defined]
        if entry["status"] is None:
            self.running = str(entry["task"])
        elif entry["status"] == "done":
            self.done |= pairs
            self.failed -= pairs
        elif entry["status"] != "put back":
            self.failed |= pairs
