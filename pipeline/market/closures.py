"""Days that turned out to be none of the exchange's sessions, after something had been stored of them.

An operator puts such a day into `[market] closed`. Its bars are deleted as any others are: what was believed is kept,
and told. What else a run had noted of it (states of the symbols, events, sessions to ask for again) is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.database.schema import MARKERS
from pipeline.market.history import delete_days

if TYPE_CHECKING:
    import datetime as dt

    from duckdb import DuckDBPyConnection

#: Table and column of the date of all that a session leaves but its listing, its bars and its list.
ROWS = (
    ("corporate_actions", "date"),
    ("rejected_bars", "date"),
    ("price_disagreements", "date"),
    ("price_coverage", "date"),
    ("gaps", "date"),
    ("recollections", "date"),
    ("session_universe", "date"),
    ("technical_indicators", "date"),
    ("stale_sessions", "date"),
)
#: Why its bars, and its list, are no more.
REASON = "the exchange was closed on that day"


def forget_closed(connection: DuckDBPyConnection) -> list[dt.date]:
    """Remove what is stored of the days of `[market] closed`, but their lists, and their markers; those days."""
    days = sorted(calendar.closed_days())
    if not days:
        return days
    delete_days(connection, days, REASON)
    for table, column in ROWS:
        connection.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(?::DATE[]))", [days])
    connection.execute(
        f"DELETE FROM {MARKERS} WHERE list_contains(?, right(update_id, 10))", [[str(day) for day in days]]
    )
    return days
