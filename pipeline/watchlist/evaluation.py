"""Do the rules work? Forward returns of the hits of each scan against the universe of the same days.

A rule is applied to the view of each session as it was scanned: bars, indicators and listing of that session and the one
before, nothing later. The return of h sessions goes from the close of the session to the last close up to h sessions of
the calendar later, so that a symbol which left counts with its last price. What a hit earned beyond the median of all
symbols of its session is its excess; the hit rate is the share of hits with a positive one.

Hits of one day move together, and windows of h sessions overlap. The uncertainty is therefore that of blocks of h
sessions (a ratio of sums over independent blocks, 95 % by Student's t), not of single hits.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.calendar import sessions, sessions_between
from pipeline.errors import EvaluationError
from pipeline.watchlist.hits import day_view, find_hits
from pipeline.watchlist.sandbox import sandbox
from pipeline.watchlist.scans import CheckedScan

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

HORIZONS = (1, 5, 20)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean with the half width of its 95 % interval; the width is None where fewer than two blocks tell of it."""

    mean: float
    half_width: float | None

    def excludes(self, chance: float) -> bool:
        """Whether what chance gives lies outside the interval; False when there is none."""
        return self.half_width is not None and abs(self.mean - chance) > self.half_width


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the hits of one rule did within `horizon` sessions, as shares of the price at the hit.

    `mature` are the hits whose horizon has passed; `early` of them end on a price of before, since the symbol left or
    did not trade. Chance gives an excess of 0 and a hit rate of 0.5.
    """

    rule: str
    horizon: int
    hits: int
    mature: int
    early: int
    median_return: float | None
    excess: Estimate | None
    hit_rate: Estimate | None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """`sessions` were scanned; in `later_listings` of them the listing was of a later day, and so not known then."""

    first: dt.date
    last: dt.date
    sessions: int
    later_listings: int
    missing: int
    outcomes: list[Outcome]
    by_session: list[dict[str, Any]]


def evaluate(
    connection: DuckDBPyConnection, first: dt.date, last: dt.date, declared: Sequence[CheckedScan], strict: bool = False
) -> Evaluation:
    """Apply the scans to every session from `first` to `last` that was run. `strict` leaves those out whose listing is a later one.

    Raises EvaluationError when no session of the range was run.
    """
    asked = sessions_between(first, last)
    known = _run_sessions(connection, asked)
    chosen = [day for day, listing in known.items() if listing <= day or not strict]
    if not chosen:
        raise EvaluationError(_nothing(connection, first, last, len(known)))
    hits = _hits(day_view(connection, *chosen), declared)
    _prepare(connection, chosen, hits)
    return Evaluation(
        chosen[0], chosen[-1], len(chosen), sum(known[day] > day for day in chosen), len(asked) - len(chosen),
        [_outcome(connection, scan.name, horizon) for scan in declared for horizon in HORIZONS], _by_session(connection),
    )  # fmt: skip


def _run_sessions(connection: DuckDBPyConnection, asked: Sequence[dt.date]) -> dict[dt.date, dt.date]:
    """The sessions with indicators and a universe, and the day of the listing that each used."""
    return dict(
        connection.execute(
            """
            SELECT date, snapshot_date FROM session_universe
            WHERE list_contains(?::DATE[], date) AND date IN (SELECT DISTINCT date FROM technical_indicators) ORDER BY date
            """,
            [list(asked)],
        ).fetchall()
    )


def _nothing(connection: DuckDBPyConnection, first: dt.date, last: dt.date, known: int) -> str:
    stored = connection.execute("SELECT min(date), max(date) FROM technical_indicators").fetchone() or (None, None)
    if known:
        return f"each of the {known} sessions from {first} to {last} used a listing of a later day; without --strict they count"
    return (
        f"no session from {first} to {last} has indicators; stored are {stored[0]} to {stored[1]}. "
        f"pipeline backfill {first} {last} computes them"
    )


def _hits(view: pa.Table, declared: Sequence[CheckedScan]) -> pa.Table:
    with sandbox(view) as connection:
        find_hits(connection, declared)
        return connection.sql("SELECT scan, date, symbol FROM hits").to_arrow_table()


def _prepare(connection: DuckDBPyConnection, chosen: Sequence[dt.date], hits: pa.Table) -> None:
    """The temporary tables `forward` (return and excess of each symbol, session and horizon) and `rule_hits`."""
    _place_ends(connection, chosen)
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE forward AS
        WITH priced AS (
            SELECT v.symbol, v.date, e.horizon, e.block, e.at, v.close AS entry FROM day_view v JOIN ends e USING (date)
        ), moves AS (
            SELECT p.symbol, p.date, p.horizon, p.block, b.close / p.entry - 1 AS return, b.date < p.at AS is_early
            FROM priced p ASOF JOIN stock_data b ON b.symbol = p.symbol AND b.date <= p.at
        )
        SELECT *, return - median(return) OVER (PARTITION BY date, horizon) AS excess FROM moves
        """
    )
    connection.register("found", hits)
    connection.execute("CREATE OR REPLACE TEMP TABLE rule_hits AS FROM found")
    connection.unregister("found")


def _place_ends(connection: DuckDBPyConnection, chosen: Sequence[dt.date]) -> None:
    """The temporary table `ends`: where each horizon of each session ends, as far as bars are stored up to there."""
    (newest,) = connection.execute("SELECT max(date) FROM stock_data").fetchall()[0]
    calendar = sessions()
    place = {day: number for number, day in enumerate(calendar)}
    rows = [
        (day, horizon, place[day] // horizon, calendar[place[day] + horizon])
        for day in chosen for horizon in HORIZONS
        if place[day] + horizon < len(calendar) and calendar[place[day] + horizon] <= newest
    ]  # fmt: skip
    columns = list(map(list, zip(*rows, strict=True))) or [[], [], [], []]
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE ends AS
        SELECT unnest(?::DATE[]) AS date, unnest(?::INTEGER[]) AS horizon, unnest(?::INTEGER[]) AS block, unnest(?::DATE[]) AS at
        """,
        columns,
    )


def _outcome(connection: DuckDBPyConnection, rule: str, horizon: int) -> Outcome:
    blocks = connection.execute(
        """
        SELECT count(*), sum(f.excess), sum((f.excess > 0)::INTEGER) FROM rule_hits h
        JOIN forward f ON f.symbol = h.symbol AND f.date = h.date
        WHERE h.scan = ? AND f.horizon = ? GROUP BY f.block ORDER BY f.block
        """,
        [rule, horizon],
    ).fetchall()
    hits, early, median = connection.execute(
        """
        SELECT count(DISTINCT (h.symbol, h.date)), count(*) FILTER (f.is_early), median(f.return) FROM rule_hits h
        LEFT JOIN forward f ON f.symbol = h.symbol AND f.date = h.date AND f.horizon = $horizon WHERE h.scan = $rule
        """,
        {"rule": rule, "horizon": horizon},
    ).fetchall()[0]
    counts = [count for count, _, _ in blocks]
    return Outcome(
        rule, horizon, hits, sum(counts), early, median,
        ratio(counts, [excess for _, excess, _ in blocks]), ratio(counts, [better for _, _, better in blocks]),
    )  # fmt: skip


def ratio(counts: Sequence[int], sums: Sequence[float]) -> Estimate | None:
    """The mean over all hits of independent blocks, with the error of a ratio of sums; None without a hit."""
    total, number = sum(counts), len(counts)
    if total == 0:
        return None
    mean = sum(sums) / total
    if number < 2:
        return Estimate(mean, None)
    scatter = sum((part - mean * count) ** 2 for count, part in zip(counts, sums, strict=True))
    error = math.sqrt(scatter * number / (number - 1)) / total
    return Estimate(mean, student(number - 1) * error)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by the expansion of Cornish and Fisher; exact for 1 and 2 degrees of freedom."""
    if freedom <= 2:
        return {1: 12.7062, 2: 4.3027}[freedom]
    z = statistics.NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )  # fmt: skip
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def _by_session(connection: DuckDBPyConnection) -> list[dict[str, Any]]:
    """For plots: rule, horizon, session, hits and their mean excess."""
    rows = connection.execute(
        """
        SELECT h.scan, f.horizon, h.date, count(*), avg(f.excess) FROM rule_hits h
        JOIN forward f ON f.symbol = h.symbol AND f.date = h.date GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    return [dict(zip(("rule", "horizon", "date", "hits", "excess"), row, strict=True)) for row in rows]
