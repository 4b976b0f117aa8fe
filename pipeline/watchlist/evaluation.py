"""Do the rules work? Forward returns of the hits of each scan against the universe of the same days.

A rule is applied to the view of each session as it was scanned: bars, indicators and listing of that session and the
one before, nothing later; and its bars are those that were known when the next session opened, not what they were put
right to since (`pipeline.watchlist.known_bars`). What its hits did next is `pipeline.watchlist.forward`'s to say; the
hit rate is the share of hits above the median of their session. It is done for some sessions at a time, and with the
columns alone that the rules name, so that ten years take no more memory than one.

Hits of one day move together, and windows of h sessions overlap: the uncertainty is that of blocks of h sessions that
have passed (`pipeline.watchlist.intervals`), a rest at the end being part of the last whole block. All intervals of an
evaluation are judged at once.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline import given
from pipeline.calendar import sessions, sessions_between
from pipeline.errors import EvaluationError
from pipeline.watchlist.day_view import create_day_view
from pipeline.watchlist.forward import End, moves_of
from pipeline.watchlist.hits import find_hits
from pipeline.watchlist.intervals import Estimate, discoveries, mean, rate
from pipeline.watchlist.known_bars import KNOWN_BAR, go_back_to_opens
from pipeline.watchlist.sandbox import sandbox
from pipeline.watchlist.scans import CheckedScan

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

HORIZONS = (1, 5, 20)

#: Sessions that are scanned at a time.
AT_ONCE = 50


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
    corrected = _apply(connection, chosen, declared)
    outcomes = _judged(_outcomes(connection, [scan.name for scan in declared]))
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
    _keep(connection, hits, moves_of(connection, ends_of(connection, chosen), hits))
    return _judged(_outcomes(connection, rules))


def _apply(connection: DuckDBPyConnection, chosen: Sequence[dt.date], declared: Sequence[CheckedScan]) -> int:
    """Find the hits of the sessions, and what they did; the number of rows that were left out as corrected later."""
    import pyarrow as pa

    names = {name for scan in declared for name in (*scan.columns, *scan.order_columns)}
    ends = ends_of(connection, chosen)
    hits, moves, corrected = [], [], 0
    for first in range(0, len(chosen), AT_ONCE):
        part = chosen[first : first + AT_ONCE]
        create_day_view(connection, *part, only=names | KNOWN_BAR)
        corrected += go_back_to_opens(connection, part)
        hits.append(_hits(connection.sql("FROM day_view").to_arrow_table(), declared))
        moves.append(moves_of(connection, [end for end in ends if part[0] <= end.date <= part[-1]], hits[-1]))
    _keep(connection, pa.concat_tables(hits), pa.concat_tables(moves))
    return corrected


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
    between = sessions_between(first, last)
    if not between:
        return f"no session lies between {first} and {last}"
    return (
        f"no session from {first} to {last} has indicators; stored are {stored[0]} to {stored[1]}. "
        f"{given.pipeline_command('backfill', str(between[0]), str(between[-1]))} computes them"
    )


def _hits(view: pa.Table, declared: Sequence[CheckedScan]) -> pa.Table:
    with sandbox(view) as connection:
        find_hits(connection, declared)
        return connection.sql("SELECT scan, date, symbol FROM hits").to_arrow_table()


def _keep(connection: DuckDBPyConnection, hits: pa.Table, moves: pa.Table) -> None:
    """The temporary tables `rule_hits` and `hit_moves` (`moves_of`)."""
    for name, rows in (("rule_hits", hits), ("hit_moves", moves)):
        connection.register("found", rows)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM found")
        connection.unregister("found")


def ends_of(connection: DuckDBPyConnection, chosen: Sequence[dt.date]) -> list[End]:
    """Where each horizon of each session ends, as far as bars are stored up to there."""
    (newest,) = connection.execute("SELECT max(date) FROM stock_data").fetchall()[0]
    return [End(day, horizon, block, at) for horizon in HORIZONS for day, block, at in blocks(chosen, horizon, newest)]


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
        SELECT scan, horizon, count(*), sum(excess), sum(is_better::INTEGER) FROM hit_moves
        GROUP BY scan, horizon, block ORDER BY block
        """
    ).fetchall():
        summed.setdefault((rule, horizon), []).append((sums[0], sums[1], sums[2]))
    hits = dict(connection.execute("SELECT scan, count(*) FROM rule_hits GROUP BY scan").fetchall())
    facts = {(rule, horizon): (early, median) for rule, horizon, early, median in connection.execute(
        """
        SELECT scan, horizon, count(*) FILTER (is_early), median(return) FROM hit_moves GROUP BY ALL
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
        SELECT scan, horizon, date, count(*), avg(excess) FROM hit_moves GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    return [dict(zip(("rule", "horizon", "date", "hits", "excess"), row, strict=True)) for row in rows]
