"""The universe: which companies were listed on a session, and whose bars are wanted.

A session uses its own snapshot of the listing; without one the nearest later one, and without that the newest
earlier one that is at most `[quality] max_listing_age` sessions old. The choice is kept in `session_universe`.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import market, quality

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def snapshot_dates(connection: DuckDBPyConnection) -> set[dt.date]:
    """The sessions whose own listing is stored."""
    return {date for (date,) in connection.execute("SELECT DISTINCT date FROM symbol_snapshots").fetchall()}


def snapshot_for(connection: DuckDBPyConnection, session: dt.date) -> dt.date | None:
    """The date of the snapshot that serves `session`, None when there is none."""
    oldest = calendar.session_before(session, quality().max_listing_age)
    row = connection.execute(
        """
        SELECT date FROM (SELECT DISTINCT date FROM symbol_snapshots WHERE date >= $oldest)
        ORDER BY date < $session, abs(date - $session) LIMIT 1
        """,
        {"oldest": oldest, "session": session},
    ).fetchone()
    return row[0] if row else None


def expected_symbols(connection: DuckDBPyConnection, session: dt.date) -> list[str]:
    """The symbols whose bars the session needs, largest company first."""
    rows = connection.execute(
        """
        SELECT symbol FROM session_listings
        WHERE session = ? AND market_cap > ?
        ORDER BY market_cap DESC, symbol
        """,
        [session, market().min_market_cap],
    ).fetchall()
    return [symbol for (symbol,) in rows]
