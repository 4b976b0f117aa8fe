"""Bars out to the Spark job, and its values in: Parquet on both ways, in the transaction of the caller."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import indicators
from pipeline.database.sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: A symbol with fewer bars than this share of the look-back's sessions gets its bars from before it, too.
DENSE = 0.95


def export_bars(connection: DuckDBPyConnection, sessions: Sequence[dt.date], folder: pathlib.Path) -> None:
    """Write the bars that the job needs, bucketed by symbol and sorted by symbol and date.

    The column `wanted` marks the bars whose indicators are to be computed. Symbols with gaps get their whole history,
    since the bars in the look-back alone are too few for recursive averages to forget how they began.
    """
    window = calendar.session_before(sessions[0], indicators().lookback - 1)
    enough = int(DENSE * indicators().lookback)
    _choose_rows(connection, sessions)
    connection.execute(
        """
        CREATE TEMP TABLE whole_symbols AS
        SELECT symbol FROM stale
        UNION
        SELECT symbol FROM (SELECT DISTINCT symbol FROM wanted_rows) JOIN price_ranges r USING (symbol)
        LEFT JOIN (SELECT symbol, count(*) AS bars FROM stock_data WHERE date BETWEEN $window AND $first GROUP BY symbol)
          USING (symbol)
        WHERE r.first_asked < $window AND coalesce(bars, 0) < $enough
        """,
        {"window": window, "first": sessions[0], "enough": enough},
    )
    connection.execute(
        """
        CREATE TEMP TABLE exported AS
        SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.volume, w.symbol IS NOT NULL AS wanted
        FROM stock_data b LEFT JOIN wanted_rows w USING (symbol, date)
        WHERE b.symbol IN (SELECT symbol FROM wanted_rows) AND b.date <= (SELECT max(date) FROM wanted_rows)
          AND (b.date >= $window OR b.symbol IN (FROM whole_symbols))
        """,
        {"window": window},
    )
    for bucket in range(indicators().buckets):
        connection.execute(
            f"""
            COPY (FROM exported WHERE hash(symbol) % $buckets = $bucket ORDER BY symbol, date)
            TO {literal(folder / f"bucket-{bucket:04d}.parquet")} (FORMAT parquet, COMPRESSION zstd)
            """,
            {"buckets": indicators().buckets, "bucket": bucket},
        )


def _choose_rows(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> None:
    """The temporary tables `stale` (symbols) and `wanted_rows` (symbol, date): what is to be computed."""
    connection.execute("CREATE TEMP TABLE stale AS SELECT DISTINCT symbol FROM stale_indicators")
    connection.execute(
        """
        CREATE TEMP TABLE wanted_rows AS
        SELECT symbol, date FROM price_coverage
        WHERE state = 'stored' AND date IN (SELECT unnest($sessions::DATE[]))
        UNION
        SELECT c.symbol, c.date FROM price_coverage c JOIN stale USING (symbol)
        JOIN table_updates u ON u.update_id = 'ComputeIndicators:' || c.date
        WHERE c.state = 'stored'
        """,
        {"sessions": list(sessions)},
    )


def load_indicators(
    connection: DuckDBPyConnection, sessions: Sequence[dt.date], folder: pathlib.Path
) -> dict[dt.date, int]:
    """Replace the rows of the sessions, and of the symbols that were stale, by the job's; rows by session."""
    _choose_rows(connection, sessions)
    connection.execute(f"CREATE TEMP TABLE computed AS FROM read_parquet({literal(folder / '*.parquet')})")
    connection.execute("DELETE FROM technical_indicators WHERE date IN (SELECT unnest(?::DATE[]))", [list(sessions)])
    connection.execute(
        "DELETE FROM technical_indicators t USING wanted_rows w WHERE t.symbol = w.symbol AND t.date = w.date"
    )
    connection.execute("INSERT INTO technical_indicators BY NAME SELECT * FROM computed ORDER BY date, symbol")
    connection.execute("DELETE FROM stale_indicators WHERE symbol IN (FROM stale)")
    connection.execute(
        """
        UPDATE nasdaq_symbols n SET avg_volume_30 = t.avg_volume_30
        FROM (FROM technical_indicators WHERE date = $newest) t
        WHERE n.symbol = t.symbol AND $newest = (SELECT max(date) FROM technical_indicators)
        """,
        {"newest": sessions[-1]},
    )
    return dict(connection.execute("SELECT date, count(*) FROM computed GROUP BY date").fetchall())
