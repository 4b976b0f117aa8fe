"""The watchlist: what the scans find in the view of a session. The conditions run in a database of their own."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import ScanError
from pipeline.watchlist.day_view import create_day_view
from pipeline.watchlist.sandbox import sandbox
from pipeline.watchlist.scans import CheckedScan, holds, ranked

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


def day_view(connection: DuckDBPyConnection, *sessions: dt.date) -> pa.Table:
    """A copy of the view of the sessions; read before the rows of daily_watchlist, which do not change it."""
    create_day_view(connection, *sessions)
    return connection.sql("FROM day_view").to_arrow_table()


def watchlist_rows(view: pa.Table, declared: Iterable[CheckedScan]) -> pa.Table:
    """Rows of `daily_watchlist` from the view of one or more sessions.

    In each session every symbol is there once, under its smallest priority.
    Raises ScanError with DuckDB's own explanation when a scan fails on the values of the day.
    """
    with sandbox(view) as connection:
        find_hits(connection, declared)
        return connection.sql(
            """
            SELECT d.date AS scan_date, d.symbol, d.exchange, d.name, d.sector, d.market_cap, h.scan AS scan_reason,
                   h.priority, d.close AS close_price, d.volume, d.rsi_14, d.bb_position, d.volume_ratio,
                   CASE WHEN d.market_cap >= 50e9 THEN 1 WHEN d.market_cap >= 10e9 THEN 2 ELSE 3 END AS market_cap_tier,
                   d.is_final, h.rule_version, h.fired, h.place, h.found, h.also_found_by
            FROM (
                SELECT DISTINCT ON (date, symbol) *,
                       list_filter(list(scan) OVER (PARTITION BY date, symbol ORDER BY priority, scan
                           ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING),
                           lambda other: other <> scan) AS also_found_by
                FROM hits ORDER BY date, symbol, priority, scan
            ) h
            JOIN day_view d ON d.date = h.date AND d.symbol = h.symbol
            ORDER BY d.date, h.priority, d.market_cap DESC, d.symbol
            """
        ).to_arrow_table()


def beyond_limits(view: pa.Table, declared: Sequence[CheckedScan]) -> pa.Table:
    """What the limits of the scans cut off: date, symbol, scan, rule_version, place, and `places`, which is the limit.

    Raises ScanError as `watchlist_rows` does.
    """
    with sandbox(view) as connection:
        find_hits(connection, [dataclasses.replace(scan, limit=view.num_rows + 1) for scan in declared])
        return connection.sql(
            """
            SELECT h.date, h.symbol, h.scan, l.rule_version, h.place, l.places
            FROM hits h JOIN (
                SELECT unnest(?::VARCHAR[]) AS scan, unnest(?::VARCHAR[]) AS rule_version, unnest(?::BIGINT[]) AS places
            ) l USING (scan)
            WHERE h.place > l.places
            """,
            params=[[scan.name for scan in declared], [s.version for s in declared], [s.limit for s in declared]],
        ).to_arrow_table()


def find_hits(connection: DuckDBPyConnection, declared: Iterable[CheckedScan]) -> None:
    """The table `hits` of the sandbox: date, symbol, scan, priority, rule_version and, as JSON, the values that fired.

    `place` is that in the order of the scan, `found` the number of symbols that its condition held for on that day. A
    symbol found by several scans is there several times. Raises ScanError.
    """
    import duckdb

    connection.execute(
        """
        CREATE OR REPLACE TABLE hits
        (date DATE, symbol VARCHAR, scan VARCHAR, priority INTEGER, rule_version VARCHAR, fired VARCHAR, place INTEGER,
         found INTEGER)
        """
    )
    for scan in declared:
        try:
            connection.execute(f"INSERT INTO hits {_query(scan)}", _values(scan))
        except duckdb.Error as error:
            raise ScanError(f"scan [{scan.name}] fails on the values of the day: {error}") from error


def _query(scan: CheckedScan) -> str:
    """The best `limit` rows of each day."""
    fired = ", ".join(f"""'{column}', "{column}\"""" for column in scan.columns)
    return f"""
        SELECT date, symbol, $scan, $priority, $version, json_object({fired})::VARCHAR,
               row_number() OVER (PARTITION BY date {ranked(scan.order)}) AS place_in_order,
               count(*) OVER (PARTITION BY date)
        FROM day_view
        WHERE {holds(scan.condition)}
        QUALIFY place_in_order <= $limit
    """


def _values(scan: CheckedScan) -> dict[str, Any]:
    return {"scan": scan.name, "priority": scan.priority, "version": scan.version, "limit": scan.limit}


def hits_by_scan(rows: pa.Table, declared: Sequence[CheckedScan]) -> dict[str, int]:
    found: list[str] = rows["scan_reason"].to_pylist()
    return {scan.name: found.count(scan.name) for scan in declared}
