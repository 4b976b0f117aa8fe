"""How often a rule that finds symbols by chance is taken for one that works: it should be at most one time in twenty.

    python benchmarks/discoveries.py [--database data/replica/stock_data_replica.duckdb] [--rules 1000] [--sessions 180]

The rules draw their hits by lot, whatever prices did: half of them anew each session, half for some sessions in a row,
as an oversold share stays oversold. So every star is a false one. The bars are those of the database, or random walks
that share the moves of a market and of sectors. Rules are judged as `pipeline evaluate` does: all at once, and in
groups of ten, as a user with ten rules has them.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.calendar import session_before, sessions_between
from pipeline.watchlist.evaluation import HORIZONS, Outcome, judge
from pipeline.watchlist.intervals import LEVEL, discoveries

SEED = 20240220
#: Rules of a user that are judged at once; the mean number of hits of a session; the mean length of a streak.
GROUP, HITS, STREAK = 10, 12, 4
LAST = np.datetime64("2024-02-20")


def random_walks(connection: duckdb.DuckDBPyConnection, symbols: int, sessions: int) -> None:
    """`stock_data` of seeded walks: a market, ten sectors, and each symbol's own moves, with heavy tails."""
    random = np.random.default_rng(SEED)
    last = LAST.astype(object)
    days = sessions_between(session_before(last, sessions - 1), last)
    size = len(days)
    market, sectors = random.normal(0, 0.01, size), random.normal(0, 0.008, (10, size))
    own = random.standard_t(4, (symbols, size)) * 0.015
    closes = 50 * np.exp(np.cumsum(market + sectors[np.arange(symbols) % 10] + own, axis=1))
    names = [f"S{number:04}" for number in range(symbols)]
    bars = pa.table({"symbol": np.repeat(names, size), "date": days * symbols, "close": closes.ravel()})
    connection.register("bars", bars)
    connection.execute("CREATE TABLE stock_data AS FROM bars")
    connection.unregister("bars")


def stored_bars(connection: duckdb.DuckDBPyConnection, database: pathlib.Path) -> None:
    connection.execute(f"ATTACH '{database}' AS stored (READ_ONLY)")
    connection.execute("CREATE TABLE stock_data AS SELECT symbol, date, close FROM stored.stock_data")
    connection.execute("DETACH stored")


def draw(random: np.random.Generator, symbols: int, sessions: int, streaks: bool) -> np.ndarray:
    """Session and symbol of each hit of one rule, by their numbers."""
    share = HITS / symbols
    if not streaks:
        return np.argwhere(random.random((sessions, symbols)) < share)
    starts = np.argwhere(random.random((sessions, symbols)) < share / STREAK)
    lengths = random.geometric(1 / STREAK, len(starts))
    runs = [
        (first + step, symbol)
        for (first, symbol), length in zip(starts, lengths, strict=True)
        for step in range(length)
    ]
    found = np.array([run for run in runs if run[0] < sessions], dtype=int).reshape(-1, 2)
    return np.unique(found, axis=0)


def drawn_hits(rules: Sequence[str], symbols: Sequence[str], days: Sequence[object]) -> pa.Table:
    random = np.random.default_rng(SEED + 1)
    parts = [draw(random, len(symbols), len(days), number % 2 == 1) for number in range(len(rules))]
    every = np.concatenate(parts)
    return pa.table(
        {
            "scan": np.repeat(rules, [len(part) for part in parts]),
            "date": [days[number] for number in every[:, 0]],
            "symbol": [symbols[number] for number in every[:, 1]],
        }
    )


def p_values(outcomes: Sequence[Outcome]) -> list[float | None]:
    return [each.p_value if each else None for one in outcomes for each in (one.excess, one.hit_rate)]


def groups(outcomes: Sequence[Outcome]) -> Iterator[Sequence[Outcome]]:
    size = GROUP * len(HORIZONS)
    return (outcomes[first : first + size] for first in range(0, len(outcomes), size))


def told(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for horizon in HORIZONS:
        known = [one.excess for one in outcomes if one.horizon == horizon and one.excess and one.excess.low is not None]
        outside = sum(not one.low <= 0 <= one.high for one in known if one.low is not None and one.high is not None)
        part = f"{100 * outside / max(1, len(known)):.1f} %"
        yield f"after {horizon:2}: {outside} of {len(known)} intervals of the excess leave chance out, {part}"
    everything = p_values(outcomes)
    results = sum(value is not None for value in everything)
    yield f"judged all at once: {sum(discoveries(everything))} stars on {results} results"
    starred = [any(discoveries(p_values(group))) for group in groups(outcomes)]
    share = sum(starred) / len(starred)
    yield (
        f"judged by tens: {sum(starred)} of {len(starred)} groups have a star, {100 * share:.1f} % "
        f"(at most {100 * LEVEL:.0f} % are meant)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=pathlib.Path)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=180)
    parser.add_argument("--symbols", type=int, default=500, help="of the random walks")
    given = parser.parse_args()
    with duckdb.connect() as connection:
        if given.database:
            stored_bars(connection, given.database)
        else:
            random_walks(connection, given.symbols, given.sessions)
        days = [day for (day,) in connection.execute(
            "SELECT DISTINCT date FROM stock_data ORDER BY date DESC LIMIT ?", [given.sessions]
        ).fetchall()][::-1]  # fmt: skip
        connection.execute("CREATE TEMP TABLE day_view AS FROM stock_data WHERE date >= ?", [days[0]])
        symbols = [name for (name,) in connection.execute("SELECT DISTINCT symbol FROM day_view ORDER BY 1").fetchall()]
        rules = [f"rule_{number:04}" for number in range(given.rules)]
        outcomes = judge(connection, days, drawn_hits(rules, symbols, days), rules)
    print(f"{len(rules)} rules by lot, {len(symbols)} symbols, {len(days)} sessions from {days[0]} to {days[-1]}")
    print("\n".join(told(outcomes)))


if __name__ == "__main__":
    main()
