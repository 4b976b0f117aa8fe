"""A database as the pipeline leaves it, made without the pipeline: for what reads the tables.

    with writing() as connection:
        fill(connection, [SESSIONS[-2], SESSIONS[-1]])

40 companies over 140 sessions of the exchange; prices are a seeded random walk, indicators those of the kernel. Symbol
K leaves before the end; the name of MARKUP is markup.
"""

from __future__ import annotations

import datetime as dt
import functools
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import exchange_calendars
import pyarrow as pa

from pipeline.indicators import kernel

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LAST = dt.date(2024, 2, 21)
SESSIONS = [s.date() for s in exchange_calendars.get_calendar("XNAS", start="2023-01-03").sessions if s.date() <= LAST][
    -140:
]
SYMBOLS = [f"K{number:02d}" for number in range(40)]
MARKUP, MARKUP_NAME = "K05", "<script>alert('x')</script> & \"Sons\" Inc."
GONE, GONE_DAY = "K07", SESSIONS[-12]  # its last session
CRASHED = "K09"  # falls on the last sessions, on high volume


def bars() -> list[tuple[str, dt.date, float, float, float, float, int]]:
    """Symbol, session, open, high, low, close, volume: sorted by symbol and session."""
    return [row for symbol in SYMBOLS for row in _walk(symbol)]


def _walk(symbol: str) -> list[tuple[str, dt.date, float, float, float, float, int]]:
    draw = random.Random(symbol)
    close, rows = draw.uniform(10, 200), []
    for day in SESSIONS:
        if symbol == GONE and day > GONE_DAY:
            break
        falls = symbol == CRASHED and day >= SESSIONS[-4]
        opened, close = close * (1 + draw.gauss(0, 0.003)), close * (1 + draw.gauss(0, 0.02)) * (0.9 if falls else 1)
        high, low = max(opened, close) * 1.002, min(opened, close) * 0.998
        rows.append((symbol, day, opened, high, low, close, int(draw.uniform(0.5, 1.5) * 1e6) * (5 if falls else 1)))
    return rows


def market_cap(symbol: str) -> float:
    return 2e8 * 1.25 ** SYMBOLS.index(symbol)


def fill(connection: DuckDBPyConnection, done: Sequence[dt.date]) -> None:
    """All bars; listing, coverage and indicators of the sessions `done`."""
    table, computed = _computed(tuple(done))
    connection.execute("SELECT 1").fetchall()  # ends what a query before has left open; `register` insists on it
    connection.register("filled", table)
    connection.register("computed", computed)
    connection.execute("INSERT INTO stock_data BY NAME SELECT *, now() AS fetched_at FROM filled")
    connection.execute("INSERT INTO technical_indicators BY NAME FROM computed")
    connection.execute(
        "INSERT INTO price_coverage BY NAME "
        "SELECT symbol, date, 'stored' AS state FROM filled WHERE list_contains($done, date)",
        {"done": list(done)},
    )
    connection.unregister("filled")
    connection.unregister("computed")
    _list(connection, done)


@functools.cache
def _computed(done: tuple[dt.date, ...]) -> tuple[pa.Table, pa.Table]:
    """All bars, and the indicators of the sessions."""
    rows = bars()
    names = ("symbol", "date", "open", "high", "low", "close", "volume")
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    wanted = pa.array([row[1] in set(done) for row in rows])
    return table, kernel.compute(table.append_column("wanted", wanted).cast(kernel.INPUT_SCHEMA))


def _list(connection: DuckDBPyConnection, done: Sequence[dt.date]) -> None:
    listed = [
        {"date": day, "symbol": symbol, "name": MARKUP_NAME if symbol == MARKUP else f"{symbol} Inc. Common Stock",
         "sector": "Technology", "market_cap": market_cap(symbol)}
        for day in done for symbol in SYMBOLS if symbol != GONE or day <= GONE_DAY
    ]  # fmt: skip
    connection.register("listed", pa.Table.from_pylist(listed))
    connection.execute("INSERT INTO symbol_snapshots BY NAME FROM listed")
    connection.execute("INSERT INTO session_universe BY NAME SELECT DISTINCT date, date AS snapshot_date FROM listed")
    connection.unregister("listed")
