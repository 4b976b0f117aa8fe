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
from pipeline.watchlist.amendments import keep_versions, store_watchlist
from pipeline.watchlist.hits import day_view, hits_by_scan, watchlist_rows
from pipeline.watchlist.scans import configured_scans

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")


class ScanWatchlist(SessionTask):
    """The watchlist of one session: `daily_watchlist`, replaced as a whole. No hit at all is a valid result.

    Runs for one session at a time, so that a session which failed in a combined run is noticed here, alone.

    Raises ScanError for a scan of the configuration that cannot be run.
    """

    table = "daily_watchlist"
    heading = "watchlist"
    rows = (("daily_watchlist", "scan_date"),)
    follows = (ComputeIndicators,)
    priority = 60
    batchable = False

    @classmethod
    def forget(cls, connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> None:
        """The rows are kept as versions, which the next scan is compared with."""
        keep_versions(connection, list(sessions))

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        amended = self._amend_before(sessions[-1])
        outcomes = {session: self._scan(session) for session in sessions}
        return {s: o if isinstance(o, PipelineError) else {**o, **amended} for s, o in outcomes.items()}

    def _amend_before(self, session: dt.date) -> dict[str, dict[str, int]]:
        """Scan the sessions just before once more whose bars have changed since, as provisional ones do over night.

        Before the session's own scan, so that a run which is killed between does it again.
        """
        with reading() as connection:
            stale = recent_stale(connection, session)
        counts = {day: self._scan(day) for day in stale}
        return {
            "amended": {str(day): o["amended"] for day, o in counts.items() if isinstance(o, dict) and o["amended"]}
        }

    def _scan(self, session: dt.date) -> Outcome:
        declared = configured_scans()
        with writing() as connection:
            view = day_view(connection, session)
        try:
            rows = watchlist_rows(view, declared)
        except ScanError as error:
            return error
        with writing() as connection:
            amended = store_watchlist(connection, session, rows, view)
            self.finish(connection, session)
            settle_session(connection, session)
        hits = hits_by_scan(rows, declared)
        found = ", ".join(f"{count} by {scan}" for scan, count in hits.items())
        changed = f"; amended: {amended} came or went" if amended else ""
        logger.info("%s: %d symbols on the watchlist (%s)%s", session, rows.num_rows, found, changed)
        return {"hits": hits, "rules": {scan.name: scan.version for scan in declared}, "amended": amended}
