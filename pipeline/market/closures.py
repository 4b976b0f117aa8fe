"""Days that turned out to be none of the exchange's sessions, after something had been stored of them.

An operator puts such a day into `[market] closed`. What a run had noted of it then (bars that a source made up, the
states of the symbols, sessions to ask for again) is forgotten, and what was computed with such bars is computed anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.database.schema import MARKERS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Table and column of the date of all that a session leaves but its listing.
ROWS = (
    ("stock_data", "date"),
    ("rejected_bars", "date"),
    ("price_disagreements", "date"),
    ("price_coverage", "date"),
    ("gaps", "date"),
    ("recollections", "date"),
    ("session_universe", "date"),
    ("technical_indicators", "date"),
    ("daily_watchlist", "scan_date"),
    ("stale_sessions", "date"),
)


def forget_closed(connection: DuckDBPyConnection) -> None:
    """Remove the rows of the days of `[market] closed`, and their markers."""
    days = sorted(calendar.closed_days())
    if not days:
        return
    connection.execute(
        """
        INSERT INTO stale_indicators BY NAME
        SELECT symbol, now() AS since, 'bar of a day without a session' AS reason
        FROM stock_data WHERE date IN (SELECT unnest(?::DATE[])) GROUP BY symbol
        """,
        [days],
    )
    for table, column in ROWS:
        connection.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(?::DATE[]))", [days])
    connection.execute(
        f"DELETE FROM {MARKERS} WHERE list_contains(?, right(update_id, 10))", [[str(day) for day in days]]
    )
