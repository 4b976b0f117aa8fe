"""How the universe of a session moved: what rose and fell, stands above its averages, and was never higher in a year.

A year of bars is much for each page of a back-fill. What the years before its sessions have in common is looked through
once, so that a page adds some sessions to it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.calendar import session_before
from pipeline.database.connection import records

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Sessions before this one that highs and lows are new against.
YEAR = 252


def prepare(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> None:
    """The temporary tables of the years before the sessions, in dollars.

    `common_year` (symbol, high, low, bars) sums up the bars that all of these years have, none where they do not meet;
    `year_bars` (symbol, date, high, low) are the others.
    """
    span = {"begin": session_before(min(sessions), YEAR), "end": max(sessions)}
    common = {"first": session_before(max(sessions), YEAR), "last": min(sessions)}
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE common_year AS
        SELECT symbol, max(high) AS high, min(low) AS low, count(*) AS bars
        FROM stock_data WHERE date >= $first AND date < $last
        GROUP BY symbol
        """,
        common,
    )
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE year_bars AS
        SELECT symbol, date, high, low
        FROM stock_data WHERE date >= $begin AND date < $end AND NOT (date >= $first AND date < $last)
        """,
        span | common,
    )


def breadth(connection: DuckDBPyConnection, session: dt.date) -> dict[str, Any]:
    """How the session's universe moved, each share of the symbols that have the value; needs `day_view`."""
    (row,) = records(
        connection,
        """
        WITH year AS (
            SELECT symbol, max(high) AS high, min(low) AS low FROM (
                FROM common_year
                UNION ALL
                SELECT symbol, high, low, 1 FROM year_bars WHERE date >= $begin AND date < $session
            ) GROUP BY symbol HAVING sum(bars) > 200
        )
        SELECT count(*) AS symbols, count(*) FILTER (close > prev_close) AS rose,
               count(*) FILTER (close < prev_close) AS fell, count(*) FILTER (close = prev_close) AS unchanged,
               median(close / nullif(prev_close, 0) - 1) AS median_change,
               avg((close > sma_20)::INTEGER) AS above_sma_20, avg((close > sma_50)::INTEGER) AS above_sma_50,
               avg((rsi_14 < 30)::INTEGER) AS oversold, avg((rsi_14 > 70)::INTEGER) AS overbought,
               count(*) FILTER (v.high > year.high) AS new_highs, count(*) FILTER (v.low < year.low) AS new_lows,
               sum(volume) AS volume
        FROM day_view v LEFT JOIN year USING (symbol) WHERE v.date = $session
        """,
        begin=session_before(session, YEAR), session=session,
    )  # fmt: skip
    return row
