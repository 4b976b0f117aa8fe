"""The levels that a live detector waits for, of each symbol that is watched after a session: read from the replica."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from typing import Any

from pipeline.config import redis as settings
from pipeline.database.connection import reading, records
from pipeline.database.replica import replica_path

#: Bars whose mean volume the next session's volume is held against.
AVERAGED = 30


def levels(day: dt.date) -> list[dict[str, Any]]:
    """The watchlist as of `day` with the levels of each symbol's newest bar, and `bars`, its number of bars.

    `avg_volume_30` is the mean of the 30 bars before the newest one, as the scans take it; `next_avg_volume_30` that
    of the newest 30, which the session after it is held against; `volume_threshold`, its multiple, is rounded down, so
    that the same numbers of shares lie above both, as the rules say it. Levels that need more history than the symbol
    has, or that were not computed for its newest bar, are None.
    """
    return levels_of([day])[day]


def levels_of(days: Iterable[dt.date]) -> dict[dt.date, list[dict[str, Any]]]:
    """The levels as of each of these days."""
    days, section = list(days), settings()
    with reading(replica_path()) as connection:
        found = {day: records(connection, _LEVELS, day, section.watch_days, AVERAGED) for day in days}
    for rows in found.values():
        for row in rows:
            usual = row["next_avg_volume_30"]
            row["volume_threshold"] = None if usual is None else math.floor(section.volume_ratio * usual)
    return found


def scanned(sessions: Iterable[dt.date]) -> list[dt.date]:
    """Those of the sessions whose watchlist the replica has, in their order."""
    with reading(replica_path()) as connection:
        rows = connection.execute("SELECT session FROM finished_stages WHERE stage = 'ScanWatchlist'").fetchall()
    return sorted({session for (session,) in rows} & set(sessions))


_LEVELS = """
    WITH listed AS MATERIALIZED (
        SELECT symbol, scan_reason AS scan, scan_date, priority, market_cap_tier FROM fed_watchlist($1::DATE, $2)
    ), bars AS (
        SELECT symbol, date, close, volume, is_final, row_number() OVER (PARTITION BY symbol ORDER BY date DESC) AS age
        FROM stock_data SEMI JOIN listed USING (symbol) WHERE date <= $1
    ), newest AS (
        SELECT symbol, count(*) AS bars, max(date) AS date, max(close) FILTER (age = 1) AS close,
               coalesce(bool_and(is_final) FILTER (age = 1), false) AS volume_final,
               CASE WHEN count(*) >= $3 THEN avg(volume) FILTER (age <= $3) END AS next_avg_volume_30
        FROM bars GROUP BY symbol
    )
    SELECT symbol, scan, scan_date, priority, market_cap_tier, n.date, n.close, t.rsi_14, t.bb_lower, t.bb_middle,
           t.bb_upper, t.bb_position, t.avg_volume_30, n.next_avg_volume_30,
           coalesce(n.volume_final, false) AS volume_final, coalesce(n.bars, 0) AS bars
    FROM listed LEFT JOIN newest n USING (symbol) LEFT JOIN technical_indicators t USING (symbol, date)
    ORDER BY priority, symbol
"""
