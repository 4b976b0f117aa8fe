"""The fourth stage: the scans over the session."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence

from pipeline.database.connection import writing
from pipeline.errors import ScanError
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.indicators import ComputeIndicators
from pipeline.watchlist.hits import day_view, hits_by_scan, store_watchlist, watchlist_rows
from pipeline.watchlist.scans import configured_scans

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

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {session: self._scan(session) for session in sessions}

    def _scan(self, session: dt.date) -> Outcome:
        declared = configured_scans()
        with writing() as connection:
            view = day_view(connection, session)
        try:
            rows = watchlist_rows(view, declared)
        except ScanError as error:
            return error
        with writing() as connection:
            store_watchlist(connection, session, rows)
            self.finish(connection, session)
        hits = hits_by_scan(rows, declared)
        found = ", ".join(f"{count} by {scan}" for scan, count in hits.items())
        logger.info("%s: %d symbols on the watchlist (%s)", session, rows.num_rows, found)
        return {"hits": hits, "rules": {scan.name: scan.version for scan in declared}}
