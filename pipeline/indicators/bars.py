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
    """Make `stale` (symbol, from_date) and `wanted_rows` (symbol, date): what is to be computed.

    A changed bar reaches no session before its own: an evening that puts yesterday's volumes right costs two sessions.
    """
    tables.make(
        "stale",
        """
        SELECT symbol, min(coalesce(from_date, DATE '1900-01-01')) AS from_date FROM stale_indicators GROUP BY symbol
        """,
    )
    tables.make(
        "wanted_rows",
        """
        SELECT symbol, date FROM price_coverage
        WHERE state = 'stored' AND date IN (SELECT unnest($sessions::DATE[]))
        UNION
        SELECT c.symbol, c.date
        FROM price_coverage c
        JOIN stale s ON s.symbol = c.symbol AND c.date >= s.from_date
        JOIN finished_stages f ON f.stage = 'ComputeIndicators' AND f.session = c.date
        WHERE c.state = 'stored'
        """,
        {"sessions": list(sessions)},
    )


def _choose_bars(tables: Temporary, sessions: Sequence[dt.date]) -> None:
    """Make `windows` (symbol, first, since), `whole_symbols`, those that need their whole history, and `exported`."""
    _choose_windows(tables, sessions[0])
    tables.make(
        "whole_symbols",
        """
        SELECT w.symbol
        FROM windows w
        JOIN price_ranges r USING (symbol)
        LEFT JOIN (
            SELECT w.symbol, count(*) AS bars
            FROM windows w JOIN stock_data s ON s.symbol = w.symbol AND s.date BETWEEN w.since AND w.first
            GROUP BY w.symbol
        ) USING (symbol)
        WHERE r.first_asked < w.since AND coalesce(bars, 0) < $enough
        """,
        {"enough": int(DENSE * indicators().lookback)},
    )
    tables.make(
        "exported",
        """
        SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.volume, r.symbol IS NOT NULL AS wanted
        FROM stock_data b JOIN windows w ON w.symbol = b.symbol
        LEFT JOIN wanted_rows r ON r.symbol = b.symbol AND r.date = b.date
        WHERE b.date <= (SELECT max(date) FROM wanted_rows)
          AND (b.date >= w.since OR b.symbol IN (FROM whole_symbols))
        """,
    )


def _choose_windows(tables: Temporary, session: dt.date) -> None:
    """Make `windows`: of each wanted symbol its first wanted session, and since when its look-back is."""
    tables.make(
        "first_rows",
        """
        SELECT symbol, least(min(date), $session) AS first FROM wanted_rows GROUP BY symbol
        """,
        {"session": session},
    )
    firsts = [first for (first,) in tables.execute("SELECT DISTINCT first FROM first_rows")]
    tables.make(
        "windows",
        """
        SELECT symbol, first, since
        FROM first_rows
        JOIN (SELECT unnest($firsts::DATE[]) AS first, unnest($since::DATE[]) AS since) USING (first)
        """,
        {"firsts": firsts, "since": [calendar.session_before(first, indicators().lookback - 1) for first in firsts]},
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
    tables.execute("DELETE FROM stale_indicators WHERE symbol IN (SELECT symbol FROM stale)")
    tables.execute(
        """
        UPDATE nasdaq_symbols n SET avg_volume_30 = (
            SELECT t.avg_volume_30 FROM technical_indicators t WHERE t.symbol = n.symbol AND t.date = $newest
        )
        WHERE $newest = (SELECT max(date) FROM technical_indicators)
        """,
        {"newest": sessions[-1]},
    )
