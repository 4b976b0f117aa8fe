"""Bars out to the Spark job, and its values in: Parquet on both ways, in the transaction of the caller."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import indicators
from pipeline.database.sql import literal
from pipeline.database.temporary import Temporary

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: A symbol with fewer bars than this share of the look-back's sessions gets its bars from before it, too.
DENSE = 0.95


def export_bars(connection: DuckDBPyConnection, sessions: Sequence[dt.date], folder: pathlib.Path) -> None:
    """Write the bars that the job needs, bucketed by symbol and sorted by symbol and date.

    The column `wanted` marks the bars whose indicators are to be computed. Symbols with gaps get their whole history,
    since the bars in the look-back alone are too few for recursive averages to forget how they began.
    """
    with Temporary(connection) as tables:
        _choose_rows(tables, sessions)
        _choose_bars(tables, sessions)
        for bucket in range(indicators().buckets):
            tables.execute(
                f"""
                COPY (FROM exported WHERE hash(symbol) % $buckets = $bucket ORDER BY symbol, date)
                TO {literal(folder / f"bucket-{bucket:04d}.parquet")} (FORMAT parquet, COMPRESSION zstd)
                """,
                {"buckets": indicators().buckets, "bucket": bucket},
            )


def _choose_rows(tables: Temporary, sessions: Sequence[dt.date]) -> None:
    """Make `stale` (symbols) and `wanted_rows` (symbol, date): what is to be computed."""
    tables.make("stale", "SELECT DISTINCT symbol FROM stale_indicators")
    tables.make(
        "wanted_rows",
        """
        SELECT symbol, date FROM price_coverage
        WHERE state = 'stored' AND date IN (SELECT unnest($sessions::DATE[]))
        UNION
        SELECT c.symbol, c.date
        FROM price_coverage c
        JOIN stale USING (symbol)
        JOIN finished_stages f ON f.stage = 'ComputeIndicators' AND f.session = c.date
        WHERE c.state = 'stored'
        """,
        {"sessions": list(sessions)},
    )


def _choose_bars(tables: Temporary, sessions: Sequence[dt.date]) -> None:
    """Make `whole_symbols`, those that need their whole history, and `exported`: the bars for the job."""
    window = calendar.session_before(sessions[0], indicators().lookback - 1)
    enough = int(DENSE * indicators().lookback)
    tables.make(
        "whole_symbols",
        """
        SELECT symbol FROM stale
        UNION
        SELECT symbol
        FROM (SELECT DISTINCT symbol FROM wanted_rows)
        JOIN price_ranges r USING (symbol)
        LEFT JOIN (
            SELECT symbol, count(*) AS bars FROM stock_data WHERE date BETWEEN $window AND $first GROUP BY symbol
        ) USING (symbol)
        WHERE r.first_asked < $window AND coalesce(bars, 0) < $enough
        """,
        {"window": window, "first": sessions[0], "enough": enough},
    )
    tables.make(
        "exported",
        """
        SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.volume, w.symbol IS NOT NULL AS wanted
        FROM stock_data b LEFT JOIN wanted_rows w USING (symbol, date)
        WHERE b.symbol IN (SELECT symbol FROM wanted_rows) AND b.date <= (SELECT max(date) FROM wanted_rows)
          AND (b.date >= $window OR b.symbol IN (FROM whole_symbols))
        """,
        {"window": window},
    )


def load_indicators(
    connection: DuckDBPyConnection, sessions: Sequence[dt.date], folder: pathlib.Path
) -> dict[dt.date, int]:
    """Replace the rows of the sessions, and of the symbols that were stale, by the job's; rows by session."""
    with Temporary(connection) as tables:
        _choose_rows(tables, sessions)
        tables.make("computed", f"FROM read_parquet({literal(folder / '*.parquet')})")
        _replace_rows(tables, sessions)
        return dict(tables.execute("SELECT date, count(*) FROM computed GROUP BY date"))


def _replace_rows(tables: Temporary, sessions: Sequence[dt.date]) -> None:
    tables.execute(
        """
        DELETE FROM technical_indicators
        WHERE date IN (SELECT unnest($sessions::DATE[]))
        """,
        {"sessions": list(sessions)},
    )
    tables.execute(
        """
        DELETE FROM technical_indicators t USING wanted_rows w
        WHERE t.symbol = w.symbol AND t.date = w.date
        """
    )
    tables.execute("INSERT INTO technical_indicators BY NAME SELECT * FROM computed ORDER BY date, symbol")
    tables.execute("DELETE FROM stale_indicators WHERE symbol IN (FROM stale)")
    tables.execute(
        """
        UPDATE nasdaq_symbols n SET avg_volume_30 = t.avg_volume_30
        FROM (FROM technical_indicators WHERE date = $newest) t
        WHERE n.symbol = t.symbol AND $newest = (SELECT max(date) FROM technical_indicators)
        """,
        {"newest": sessions[-1]},
    )
