"""The tables as of a moment against copies of the database that were taken at that moment."""

from __future__ import annotations

import datetime as dt
import pathlib
import random
import shutil
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipeline.database.connection import database_path, reading, writing
from pipeline.database.moments import KEPT, go_back
from pipeline.market.evidence import Temporary
from pipeline.market.history import change_bars, delete_histories
from pipeline.market.load import _make_final
from pipeline.market.ticker_changes import CARRIED, _carry
from pipeline.watchlist.amendments import keep_versions, store_watchlist

SYMBOLS = ["AAA", "BBB", "CCC"]
DAYS = [dt.date(2024, 2, day) for day in range(12, 17)]


def bars(draw: random.Random) -> list[dict[str, Any]]:
    """Some bars with other values."""
    chosen = draw.sample([(symbol, day) for symbol in SYMBOLS for day in DAYS], draw.randint(1, 12))
    return [
        {
            "symbol": symbol, "date": day, "open": 1.0, "high": 3.0, "low": 1.0, "close": draw.choice([1.5, 2.0, 2.5]),
            "volume": draw.randint(1, 5), "fetched_at": dt.datetime(2024, 2, 20, draw.randint(0, 23), tzinfo=dt.UTC),
        }
        for symbol, day in chosen
    ]  # fmt: skip


def change(connection: duckdb.DuckDBPyConnection, draw: random.Random) -> None:
    """Bars that come, are put right, restated or withdrawn."""
    new = pa.Table.from_pylist(bars(draw))
    connection.register("new", new)
    with Temporary(connection) as tables:
        tables.make(
            "bar_changes",
            f"""
            SELECT n.*,
                   CASE WHEN s.date IS NULL THEN 'added'
                        ELSE '{draw.choice(["revised", "restated", "deleted"])}' END AS change,
                   'drawn' AS reason, 0.5 AS factor
            FROM new n LEFT JOIN stock_data s USING (symbol, date)
            """,
        )
        change_bars(tables)
    connection.unregister("new")


def confirm(connection: duckdb.DuckDBPyConnection, draw: random.Random) -> None:
    """Some provisional bars are said again by a late answer."""
    with Temporary(connection) as tables:
        share = draw.choice([0.3, 1.0])
        tables.make(
            "judged_bars",
            "SELECT *, NULL::VARCHAR AS rule FROM stock_data "
            f"WHERE hash(symbol, date, {draw.random()}) % 100 < {100 * share}",
        )
        tables.make("verdicts", "SELECT DISTINCT symbol, 'take over' AS verdict FROM stock_data")
        tables.make("finality", "SELECT DISTINCT date, TIMESTAMPTZ '2024-02-20 00:00Z' AS final_at FROM stock_data")
        _make_final(tables)  # type: ignore[arg-type]


def provisional(connection: duckdb.DuckDBPyConnection, draw: random.Random) -> None:
    """Bars that come provisional."""
    change(connection, draw)
    connection.execute("UPDATE stock_data SET is_final = false WHERE stored_at = now()")


def scan(connection: duckdb.DuckDBPyConnection, draw: random.Random) -> None:
    """A list is made, or made again; a reset has taken it away before, now and then."""
    day = draw.choice(DAYS)
    if draw.random() < 0.2:
        keep_versions(connection, [day])
        return
    found = draw.sample(SYMBOLS, draw.randint(0, 3))
    view = pa.table({"symbol": SYMBOLS, "close": [1.0] * 3, "volume": [draw.randint(1, 9) for _ in SYMBOLS]})
    rows = connection.sql("FROM daily_watchlist LIMIT 0").to_arrow_table()
    rows = rows.drop_columns(["stored_at", "source"])
    given = {
        "scan_date": day,
        "name": "A",
        "scan_reason": "rule",
        "priority": 1,
        "close_price": 1.0,
        "market_cap_tier": 1,
    }
    made = [{**given, "symbol": symbol, "volume": draw.randint(1, 9), "exchange": "nasdaq"} for symbol in found]
    store_watchlist(connection, day, pa.Table.from_pylist(made, schema=rows.schema), view)


def carry(connection: duckdb.DuckDBPyConnection, draw: random.Random) -> None:
    """A company changes its symbol."""
    old, new = draw.sample(SYMBOLS, 2)
    for table in ("stock_data", "daily_watchlist"):
        _carry(connection, table, CARRIED[table], old, new)


def withdraw(connection: duckdb.DuckDBPyConnection, draw: random.Random) -> None:
    delete_histories(connection, [draw.choice(SYMBOLS)], "another company")


def contents(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    return {table: connection.execute(f"FROM {table} ORDER BY ALL").fetchall() for table in KEPT}


@pytest.mark.parametrize("seed", range(4))
def test_each_moment_gives_what_a_copy_of_then_gives(data_dir: pathlib.Path, tmp_path: pathlib.Path, seed: int) -> None:
    draw = random.Random(seed)
    copies: list[tuple[dt.datetime, pathlib.Path]] = []
    for number in range(14):
        with writing() as connection:
            connection.execute("SELECT 1").fetchall()  # ends what opening has begun
            draw.choice([change, change, provisional, provisional, confirm, scan, scan, carry, withdraw])(
                connection, draw
            )
        copies.append((dt.datetime.now(dt.UTC), tmp_path / f"copy-{number}"))
        shutil.copy(database_path(), copies[-1][1])
    with reading() as connection:
        assert sum(len(rows) for rows in contents(connection).values()) >= 10
        for moment, copy in copies:
            go_back(connection, moment)
            with duckdb.connect(str(copy), read_only=True) as of_then:
                assert contents(connection) == contents(of_then), moment


def test_a_row_is_there_from_its_very_moment_on_and_until_that_of_its_successor(data_dir: pathlib.Path) -> None:
    stored, replaced = (dt.datetime(2024, 2, 16, hour, tzinfo=dt.UTC) for hour in (22, 23))
    with writing() as connection:
        connection.execute(
            """
            INSERT INTO bar_versions
                (symbol, date, open, high, low, close, volume, fetched_at, stored_at, replaced_at, reason)
            VALUES ('AAA', '2024-02-16', 1, 1, 1, 1, 1, now(), ?, ?, 'corrected')
            """,
            [stored, replaced],
        )
    tick = dt.timedelta(microseconds=1)
    with reading() as connection:
        for moment, rows in ((stored - tick, 0), (stored, 1), (replaced - tick, 1), (replaced, 0)):
            go_back(connection, moment)
            assert len(connection.execute("FROM stock_data").fetchall()) == rows, moment
