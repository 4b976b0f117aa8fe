"""Do the rules work? Forward returns of the hits of each scan against the universe of the same days.

A rule is applied to the view of each session as it was scanned: bars, indicators and listing of that session and the
one before, nothing later; and its bars are those that were known when the next session opened, not what they were put
right to since (`pipeline.watchlist.known_bars`). The return of h sessions goes from the close of the session to the
last close up to h sessions of the calendar later, so that a symbol which left counts with its last price. What a hit
earned beyond the mean of all symbols of its session is its excess; for it, returns are cut at the 1st and the 99th
percentile of their session, so that no single company carries a result. The hit rate is the share of hits above the
median.

Hits of one day move together, and windows of h sessions overlap: the uncertainty is that of blocks of h sessions that
have passed (`pipeline.watchlist.intervals`), a rest at the end being part of the last whole block. All intervals of an
evaluation are judged at once.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.calendar import sessions, sessions_between
from pipeline.errors import EvaluationError
from pipeline.watchlist.day_view import create_day_view
from pipeline.watchlist.hits import find_hits
from pipeline.watchlist.intervals import Estimate, discoveries, mean, rate
from pipeline.watchlist.known_bars import go_back_to_opens
from pipeline.watchlist.sandbox import sandbox
from pipeline.watchlist.scans import CheckedScan

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

HORIZONS = (1, 5, 20)


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
    """`sessions` were scanned; in `later_listings` of them the listing was of a later day, and so not known then.

    `corrected` rows are left out: their closes were put right after the next session had opened.
    """

    first: dt.date
    last: dt.date
    sessions: int
    later_listings: int
    missing: int
    corrected: int
    outcomes: list[Outcome]
    by_session: list[dict[str, Any]]


def evaluate(
    connection: DuckDBPyConnection, first: dt.date, last: dt.date, declared: Sequence[CheckedScan], strict: bool = False
) -> Evaluation:
    """Apply the scans to every session from `first` to `last` that was run.

    `strict` leaves those out whose listing is a later one.
    Raises EvaluationError when no session of the range was run.
    """
    asked = sessions_between(first, last)
    known = _run_sessions(connection, asked)
    chosen = [day for day, listing in known.items() if listing <= day or not strict]
    if not chosen:
        raise EvaluationError(_nothing(connection, first, last, len(known)))
    create_day_view(connection, *chosen)
    corrected = go_back_to_opens(connection, chosen)
    hits = _hits(connection.sql("FROM day_view").to_arrow_table(), declared)
    outcomes = judge(connection, chosen, hits, [scan.name for scan in declared])
    return Evaluation(
        chosen[0], chosen[-1], len(chosen), sum(known[day] > day for day in chosen), len(asked) - len(chosen),
        corrected, outcomes, _by_session(connection),
    )  # fmt: skip


def judge(
    connection: DuckDBPyConnection, chosen: Sequence[dt.date], hits: pa.Table, rules: Sequence[str]
) -> list[Outcome]:
    """What the hits did next, each rule at each horizon, all of them judged at once.

    `hits` has the columns scan, date and symbol. Needs `day_view` of the chosen sessions (symbol, date, close) and
    `stock_data`.
    """
    _prepare(connection, chosen, hits)
    return _judged(_outcomes(connection, rules))


def _run_sessions(connection: DuckDBPyConnection, asked: Sequence[dt.date]) -> dict[dt.date, dt.date]:
    """The sessions with indicators and a universe, and the day of the listing that each used."""
    return dict(
        connection.execute(
            """
            SELECT date, snapshot_date FROM session_universe
            WHERE list_contains(?::DATE[], date) AND date IN (SELECT DISTINCT date FROM technical_indicators)
            ORDER BY date
            """,
            [list(asked)],
        ).fetchall()
    )


def _nothing(connection: DuckDBPyConnection, first: dt.date, last: dt.date, known: int) -> str:
    stored = connection.execute("SELECT min(date), max(date) FROM technical_indicators").fetchone() or (None, None)
    if known:
        return (
            f"each of the {known} sessions from {first} to {last} used a listing of a later day; "
            f"without --strict they count"
        )
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
        ), market AS (
            SELECT date, horizon, median(return) AS middle, quantile_cont(return, 0.01) AS low,
                   quantile_cont(return, 0.99) AS high
            FROM moves GROUP BY ALL
        ), cut AS (
            SELECT *, greatest(low, least(high, return)) AS kept FROM moves JOIN market USING (date, horizon)
        )
        SELECT *, kept - avg(kept) OVER (PARTITION BY date, horizon) AS excess, return > middle AS is_better FROM cut
        """
    )
    connection.register("found", hits)
    connection.execute("CREATE OR REPLACE TEMP TABLE rule_hits AS FROM found")
    connection.unregister("found")


def _place_ends(connection: DuckDBPyConnection, chosen: Sequence[dt.date]) -> None:
    """The temporary table `ends`: where each horizon of each session ends, as far as bars are stored up to there."""
    (newest,) = connection.execute("SELECT max(date) FROM stock_data").fetchall()[0]
    rows = [(day, horizon, block, at) for horizon in HORIZONS for day, block, at in blocks(chosen, horizon, newest)]
    columns = list(map(list, zip(*rows, strict=True))) or [[], [], [], []]
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE ends AS
        SELECT unnest(?::DATE[]) AS date, unnest(?::INTEGER[]) AS horizon,
               unnest(?::INTEGER[]) AS block, unnest(?::DATE[]) AS at
        """,
        columns,
    )


def blocks(chosen: Sequence[dt.date], horizon: int, newest: dt.date) -> list[tuple[dt.date, int, dt.date]]:
    """Each session whose horizon has passed by `newest`, with the number of its block and the session of its end.

    A block has `horizon` sessions or, the last one, up to twice as many less one.
    """
    calendar = sessions()
    place = {day: number for number, day in enumerate(calendar)}
    ends = {day: calendar[place[day] + horizon] for day in chosen if place[day] + horizon < len(calendar)}
    mature = [day for day in chosen if day in ends and ends[day] <= newest]
    last = max(1, len(mature) // horizon) - 1
    return [(day, min(number // horizon, last), ends[day]) for number, day in enumerate(mature)]


def _outcomes(connection: DuckDBPyConnection, rules: Sequence[str]) -> list[Outcome]:
    """One of each rule and horizon, each judged by itself."""
    summed: dict[tuple[str, int], list[tuple[int, float, int]]] = {}
    for rule, horizon, *sums in connection.execute(
        """
        SELECT h.scan, f.horizon, count(*), sum(f.excess), sum(f.is_better::INTEGER) FROM rule_hits h
        JOIN forward f ON f.symbol = h.symbol AND f.date = h.date GROUP BY h.scan, f.horizon, f.block ORDER BY f.block
        """
    ).fetchall():
        summed.setdefault((rule, horizon), []).append((sums[0], sums[1], sums[2]))
    hits = dict(connection.execute("SELECT scan, count(*) FROM rule_hits GROUP BY scan").fetchall())
    facts = {(rule, horizon): (early, median) for rule, horizon, early, median in connection.execute(
        """
        SELECT h.scan, f.horizon, count(*) FILTER (f.is_early), median(f.return) FROM rule_hits h
        JOIN forward f ON f.symbol = h.symbol AND f.date = h.date GROUP BY ALL
        """
    ).fetchall()}  # fmt: skip
    return [
        _outcome(rule, horizon, hits.get(rule, 0), summed.get((rule, horizon), []),
                 *facts.get((rule, horizon), (0, None)))
        for rule in rules for horizon in HORIZONS
    ]  # fmt: skip


def _outcome(
    rule: str, horizon: int, hits: int, sums: Sequence[tuple[int, float, int]], early: int, median: float | None
) -> Outcome:
    counts = [count for count, _, _ in sums]
    return Outcome(
        rule, horizon, hits, sum(counts), early, median,
        mean(counts, [excess for _, excess, _ in sums], horizon),
        rate(counts, [better for _, _, better in sums], horizon),
    )  # fmt: skip


def _judged(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with those estimates marked that stay discoveries when all of them are judged at once."""
    marks = iter(
        discoveries([each.p_value if each else None for one in outcomes for each in (one.excess, one.hit_rate)])
    )

    def marked(estimate: Estimate | None) -> Estimate | None:
        mark = next(marks)
        return dataclasses.replace(estimate, is_discovery=mark) if estimate else None

    return [dataclasses.replace(each, excess=marked(each.excess), hit_rate=marked(each.hit_rate)) for each in outcomes]


def _by_session(connection: DuckDBPyConnection) -> list[dict[str, Any]]:
    """For plots: rule, horizon, session, hits and their mean excess."""
    rows = connection.execute(
        """
        SELECT h.scan, f.horizon, h.date, count(*), avg(f.excess) FROM rule_hits h
        JOIN forward f ON f.symbol = h.symbol AND f.date = h.date GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    return [dict(zip(("rule", "horizon", "date", "hits", "excess"), row, strict=True)) for row in rows]
