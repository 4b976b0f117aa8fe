"""The fourth stage: the scans over the session."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.database.connection import reading, writing
from pipeline.errors import PipelineError, ScanError
from pipeline.market.staleness import recent_stale, settle_session
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.indicators import ComputeIndicators

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from pipeline.watchlist.scans import CheckedScan

logger = logging.getLogger("pipeline")

#: Sessions whose views are in memory at once: some 3 MB each of 2,300 symbols.
AT_ONCE = 40


class ScanWatchlist(SessionTask):
    """The watchlist of one session: `daily_watchlist`, replaced as a whole. No hit at all is a valid result.

    Raises ScanError for a scan of the configuration that cannot be run.
    """

    table = "daily_watchlist"
    heading = "watchlist"
    rows = (("daily_watchlist", "scan_date"),)
    follows = (ComputeIndicators,)
    priority = 60

    @classmethod
    def forget(cls, connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> None:
        """The rows are kept as versions, which the next scan is compared with."""
        from pipeline.watchlist.amendments import keep_versions

        keep_versions(connection, list(sessions))

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        amended = self._amend_before(sessions)
        outcomes = self._scan(sessions)
        return {s: o if isinstance(o, PipelineError) else {**o, **amended} for s, o in outcomes.items()}

    def _amend_before(self, sessions: Sequence[dt.date]) -> dict[str, dict[str, int]]:
        """Scan the sessions just before once more whose bars have changed since, as provisional ones do over night.

        Before the sessions' own scans, so that a run which is killed between does it again.
        """
        with reading() as connection:
            stale = recent_stale(connection, sessions)
        counts = self._scan(stale)
        return {
            "amended": {str(day): o["amended"] for day, o in counts.items() if isinstance(o, dict) and o["amended"]}
        }

    def _scan(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.watchlist.scans import configured_scans

        declared = configured_scans()
        outcomes: dict[dt.date, Outcome] = {}
        for first in range(0, len(sessions), AT_ONCE):
            outcomes |= self._scan_together(sessions[first : first + AT_ONCE], declared)
            self.say(f"{len(outcomes)} of {len(sessions)} sessions scanned", 100 * len(outcomes) // len(sessions))
        return outcomes

    def _scan_together(self, sessions: Sequence[dt.date], declared: Sequence[CheckedScan]) -> dict[dt.date, Outcome]:
        from pipeline.watchlist.hits import day_view, watchlist_rows

        with writing() as connection:
            view = day_view(connection, *sessions)
        try:
            rows = watchlist_rows(view, declared)
        except ScanError as error:
            if len(sessions) == 1:
                return {sessions[0]: error}
            return {day: outcome for each in sessions for day, outcome in self._scan_together([each], declared).items()}
        with writing() as connection:
            return {session: self._store(connection, session, rows, view, declared) for session in sessions}

    def _store(
        self,
        connection: DuckDBPyConnection,
        session: dt.date,
        rows: pa.Table,
        view: pa.Table,
        declared: Sequence[CheckedScan],
    ) -> Outcome:
        """The session's part of the rows and the view, and its marker."""
        from pipeline.watchlist.amendments import store_watchlist
        from pipeline.watchlist.hits import hits_by_scan

        rows = of_day(rows, "scan_date", session)
        amended = store_watchlist(connection, session, rows, of_day(view, "date", session), declared)
        self.finish(connection, session)
        settle_session(connection, session)
        hits = hits_by_scan(rows, declared)
        found = ", ".join(f"{count} by {scan}" for scan, count in hits.items())
        changed = f"; amended: {amended} came or went" if amended else ""
        logger.info("%s: %d symbols on the watchlist (%s)%s", session, rows.num_rows, found, changed)
        return {"hits": hits, "rules": {scan.name: scan.version for scan in declared}, "amended": amended}


def of_day(table: pa.Table, column: str, day: dt.date) -> pa.Table:
    """The rows of one day."""
    import pyarrow.compute as pc

    return table.filter(pc.equal(table[column], day))
