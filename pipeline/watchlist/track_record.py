"""What the hits of the list did within a week, beside the list: a short evaluation of each rule as it was listed.

Unlike `pipeline evaluate`, which applies the rules of today to past sessions, this counts what the watchlist did show.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.calendar import session_before, sessions_between
from pipeline.config import scans
from pipeline.watchlist.day_view import IS_CANDIDATE
from pipeline.watchlist.evaluation import blocks
from pipeline.watchlist.intervals import Estimate, mean

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Sessions that are looked back upon, and sessions after which a hit is judged.
WINDOW, HORIZON = 120, 5


@dataclasses.dataclass(frozen=True)
class TrackRecord:
    """The excess of the `hits` of one version of a rule whose week has passed; chance gives 0."""

    hits: int
    excess: Estimate


def prepare(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> None:
    """The temporary table `listed_hits`: what each hit before the sessions earned beyond the market, and by when."""
    first = session_before(min(sessions), WINDOW)
    days = [(day, at) for day, _, at in blocks(sessions_between(first, max(sessions)), HORIZON, max(sessions))]
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE listed_hits AS
        WITH days AS (SELECT unnest($days::DATE[]) AS date, unnest($ends::DATE[]) AS ends_on
        ), listed AS (
            SELECT DISTINCT scan_date AS date FROM daily_watchlist WHERE scan_date IN (SELECT date FROM days)
        ), moves AS (
            SELECT b.symbol, b.date, d.ends_on, e.close / b.close - 1 AS return
            FROM stock_data b
            JOIN days d USING (date)
            JOIN listed USING (date)
            JOIN price_coverage c ON c.date = b.date AND c.symbol = b.symbol AND c.state = 'stored'
            JOIN session_listings s ON s.session = b.date AND s.symbol = b.symbol
            ASOF JOIN (FROM stock_data WHERE date >= $first) e ON e.symbol = b.symbol AND e.date <= d.ends_on
            WHERE {IS_CANDIDATE}
        ), market AS (
            SELECT date, quantile_cont(return, 0.01) AS low, quantile_cont(return, 0.99) AS high
            FROM moves GROUP BY date
        ), cut AS (
            SELECT *, greatest(low, least(high, return)) AS kept FROM moves JOIN market USING (date)
        ), judged AS (
            SELECT *, kept - favg(kept) OVER (PARTITION BY date) AS excess FROM cut
        )
        SELECT w.rule_version, j.date, j.ends_on, j.excess FROM daily_watchlist w JOIN judged j
        ON j.symbol = w.symbol AND j.date = w.scan_date
        """,
        {
            "first": first,
            "days": [day for day, _ in days],
            "ends": [at for _, at in days],
            "skipped": scans().skip_types,
        },
    )


def track_records(connection: DuckDBPyConnection, session: dt.date) -> dict[str, TrackRecord]:
    """The record of each version of a rule as it was known on the evening of the session; see `prepare`."""
    rows = connection.execute(
        """
        SELECT rule_version, date, count(*), fsum(excess) FROM listed_hits
        WHERE date >= ? AND ends_on <= ? GROUP BY ALL ORDER BY ALL
        """,
        [session_before(session, WINDOW), session],
    ).fetchall()
    scanned = sorted({day for _, day, _, _ in rows})
    block = {day: number for day, number, _ in blocks(scanned, HORIZON, session)}
    return {version: _record([row for row in rows if row[0] == version], block) for version in {row[0] for row in rows}}


def _record(rows: Sequence[tuple[str, dt.date, int, float]], block: dict[dt.date, int]) -> TrackRecord:
    counts: dict[int, int] = {}
    sums: dict[int, float] = {}
    for _, day, count, excess in rows:
        counts[block[day]] = counts.get(block[day], 0) + count
        sums[block[day]] = sums.get(block[day], 0.0) + excess
    estimate = mean(list(counts.values()), list(sums.values()), HORIZON)
    assert estimate is not None
    return TrackRecord(sum(counts.values()), estimate)
