"""Bars of past sessions as they were known when the next session opened, so no rule is judged by later corrections.

A hit of an evening can be traded at the next open. What a source, or its confirmation, put right before that was known;
what came later, the next evening or a year after, was not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: A close that was put right by more than this share leaves its row out: its indicators of then are not kept.
SAME_CLOSE = 0.002
#: The columns of `day_view` that a bar of then changes, and those that say which bar it is.
KNOWN_BAR = frozenset(
    ("symbol", "date", "open", "high", "low", "close", "volume", "is_final", "volume_ratio", "avg_volume_30")
)


def go_back_to_opens(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> int:
    """Give the rows of `day_view` the volumes, and prices, of that moment; the number of rows that had to be left out.

    Versions from before a split are brought on its basis. A bar that was collected after the open, as in a back-fill,
    has no earlier version and stays as it is.
    """
    if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'bar_versions'").fetchall():
        return 0  # a replica that an older version has made
    connection.execute(
        _KNOWN, {"days": list(sessions), "opens": [calendar.opens_at(calendar.session_after(day)) for day in sessions]}
    )
    left = connection.execute(
        f"""
        DELETE FROM day_view v USING known_bars k
        WHERE k.symbol = v.symbol AND k.date = v.date AND abs(k.close / v.close - 1) > {SAME_CLOSE}
        """
    ).fetchall()
    connection.execute(
        """
        UPDATE day_view v SET volume = k.volume, volume_ratio = k.volume / nullif(v.avg_volume_30, 0),
                              open = k.open, high = k.high, low = k.low, close = k.close, is_final = k.is_final
        FROM known_bars k WHERE k.symbol = v.symbol AND k.date = v.date
        """
    )
    return int(left[0][0])


_KNOWN = """
    CREATE OR REPLACE TEMP TABLE known_bars AS
    WITH opens AS (
        SELECT unnest($days::DATE[]) AS date, unnest($opens::TIMESTAMPTZ[]) AS opens_at
    ), known AS (
        SELECT v.*, o.opens_at FROM bar_versions v JOIN opens o USING (date)
        WHERE v.stored_at <= o.opens_at AND v.replaced_at > o.opens_at
    ), scaled AS (
        SELECT k.symbol, k.date, coalesce(product(b.factor), 1) AS factor
        FROM known k LEFT JOIN basis_changes b ON b.symbol = k.symbol AND b.changed_at > k.opens_at GROUP BY ALL
    )
    SELECT k.symbol, k.date, k.open * s.factor AS open, k.high * s.factor AS high, k.low * s.factor AS low,
           k.close * s.factor AS close, round(k.volume / s.factor)::BIGINT AS volume,
           coalesce(k.is_final, true) AS is_final
    FROM known k JOIN scaled s USING (symbol, date)
"""
