"""The warehouse has what the replica has, whatever happens between publications; other engines read the same rows."""

from __future__ import annotations

import datetime as dt
import pathlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import polars as pl
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from pipeline.calendar import NEW_YORK
from pipeline.config import market
from pipeline.database.connection import database_path, reading, writing
from pipeline.errors import LakeError
from pipeline.lake import expiry, publication
from pipeline.lake.catalog import NAMESPACE, SqliteCatalog, open_catalog
from pipeline.lake.places import sqlite_path
from pipeline.lake.tables import TABLES
from tests.support.stored_market import LAST, SESSIONS, SYMBOLS, fill

BEFORE = SESSIONS[-2]
MONTHS = len({(day.year, day.month) for day in SESSIONS})


@pytest.fixture(autouse=True)
def stored(data_dir: pathlib.Path, settings: Callable[..., None]) -> None:
    settings("publish", warehouse=str(data_dir / "warehouse"))
    with writing() as connection:
        fill(connection, [BEFORE, LAST])
        connection.execute(
            """
            INSERT INTO daily_watchlist BY NAME
            SELECT symbol, date AS scan_date, 'own' AS scan_reason, 1 AS priority, close AS close_price, volume
            FROM stock_data WHERE symbol < 'K03' AND date = ?
            """,
            [LAST],
        )


def publish(run: str = "one") -> dict[str, int]:
    with reading() as connection:
        return publication.publish_tables(open_catalog(), connection, [BEFORE, LAST], run)


def change(statement: str, *values: object) -> None:
    with writing() as connection:
        connection.execute(statement, list(values))


def lake_table(name: str) -> Table:
    return open_catalog().load_table((NAMESPACE, name))


def in_the_lake(name: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in lake_table(name).scan().to_arrow().to_pylist())


def in_the_database(name: str) -> list[tuple[Any, ...]]:
    (query,) = [table.query for table in TABLES if table.name == name]
    with reading() as connection:
        return sorted(tuple(row.values()) for row in connection.sql(query).to_arrow_table().to_pylist())


def snapshots(name: str) -> list[str]:
    return [snapshot.summary["run"] for snapshot in lake_table(name).snapshots()]


def check_publications() -> None:
    """A first publication, one of a change and one of nothing, wherever the tables and their catalog are."""
    publish()
    change("UPDATE stock_data SET close = 1 WHERE date = ?", LAST)
    assert publish("two")["bars"] == 1
    assert publish("three")["bars"] == 0
    for table in TABLES:
        assert in_the_lake(table.name) == in_the_database(table.name)
    assert snapshots("bars") == ["one", "two"]


@pytest.mark.parametrize("name", ["bars", "indicators", "watchlist", "actions", "coverage"])
def test_the_tables_hold_what_the_database_does(name: str) -> None:
    publish()
    assert in_the_lake(name) == in_the_database(name)


def test_a_first_publication_is_one_snapshot_with_its_session_and_run() -> None:
    assert publish()["bars"] == MONTHS > 5
    (snapshot,) = lake_table("bars").snapshots()
    assert (snapshot.summary["session"], snapshot.summary["run"]) == (str(LAST), "one")
    assert snapshot.summary["sessions"] == f"{BEFORE},{LAST}"


def test_nothing_is_published_twice() -> None:
    publish()
    assert publish("two") == dict.fromkeys(("bars", "indicators", "watchlist", "actions", "coverage"), 0)
    assert snapshots("bars") == ["one"]


@pytest.mark.parametrize(
    ("statement", "months"),
    [
        ("UPDATE stock_data SET close = close * 1.01 WHERE symbol = 'K03' AND date = '2024-02-14'", 1),
        ("UPDATE stock_data SET close = close / 4 WHERE symbol = 'K03'", MONTHS),
        ("DELETE FROM stock_data WHERE date < '2023-10-01'", 2),
        ("UPDATE stock_data SET symbol = 'NEW' WHERE symbol = 'K03' AND date >= '2024-02-01'", 1),
        ("UPDATE stock_data SET is_final = true WHERE date = '2024-02-21'", 1),
        ("UPDATE stock_data SET is_final = false WHERE date = '2024-02-21' AND symbol IN ('K03', 'K04')", 1),
        ("UPDATE stock_data SET fetched_at = now()", 0),
    ],
)
def test_whatever_changed_is_one_snapshot_of_the_months_that_it_touched(statement: str, months: int) -> None:
    publish()
    kept = {task.file.file_path for task in lake_table("bars").scan().plan_files()}
    change(statement)
    assert publish("two")["bars"] == months
    assert in_the_lake("bars") == in_the_database("bars")
    assert snapshots("bars") == ["one"] + ["two"] * (months > 0)
    assert len(kept - {task.file.file_path for task in lake_table("bars").scan().plan_files()}) == months


def test_the_files_stay_few() -> None:
    for number in range(5):
        change("UPDATE stock_data SET volume = volume + 1 WHERE symbol = 'K03' AND date = ?", LAST)
        publish(str(number))
    assert len(list(lake_table("bars").scan().plan_files())) == MONTHS


def test_an_earlier_version_stays_readable_until_it_expires(
    clock: Callable[..., None], settings: Callable[..., None]
) -> None:
    publish()
    first = lake_table("bars").current_snapshot()
    assert first
    before = in_the_lake("bars")
    change("UPDATE stock_data SET close = 1 WHERE date = ?", LAST)
    publish("two")
    old = lake_table("bars").scan(snapshot_id=first.snapshot_id).to_arrow().to_pylist()
    assert sorted(tuple(row.values()) for row in old) == before
    made = dt.datetime.fromtimestamp(first.timestamp_ms / 1000, NEW_YORK)
    settings("publish", snapshot_days=1)
    at = made + dt.timedelta(days=1)
    clock(at.year, at.month, at.day, at.hour, at.minute)  # seconds short of a day
    assert expiry.expire(open_catalog()) == 0
    later = made + dt.timedelta(days=1, minutes=1)
    clock(later.year, later.month, later.day, later.hour, later.minute)
    assert expiry.expire(open_catalog()) > 0
    assert snapshots("bars") == ["two"]
    assert in_the_lake("bars") == in_the_database("bars")
    assert expiry.expire(open_catalog()) == 0
    on_disk = {path.name for path in (sqlite_path().parent / NAMESPACE / "bars" / "data").rglob("*.parquet")}
    assert on_disk == {pathlib.Path(task.file.file_path).name for task in lake_table("bars").scan().plan_files()}


def test_a_publication_that_was_killed_between_two_tables_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    original = publication._publish

    def killed(catalog: Any, connection: Any, table: Any, summary: Any) -> int:
        if table.name == "watchlist":
            raise KeyboardInterrupt
        return original(catalog, connection, table, summary)

    monkeypatch.setattr(publication, "_publish", killed)
    with pytest.raises(KeyboardInterrupt):
        publish()
    monkeypatch.undo()
    publish("two")
    assert (snapshots("bars"), snapshots("watchlist")) == (["one"], ["two"])
    assert in_the_lake("watchlist") == in_the_database("watchlist")


def test_a_publication_that_was_killed_before_its_commit_left_nothing_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    before = in_the_lake("bars")
    change("UPDATE stock_data SET close = 1 WHERE date = ?", LAST)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteCatalog, "commit_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            publish("two")
    assert in_the_lake("bars") == before
    publish("three")
    assert snapshots("bars") == ["one", "three"]
    assert in_the_lake("bars") == in_the_database("bars")


def test_a_table_whose_making_was_killed_before_its_months_has_them_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(Table, "update_spec", lambda table: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish()
    assert publish("two")["bars"] == MONTHS
    change("UPDATE stock_data SET close = 1 WHERE date = ?", LAST)
    assert publish("three")["bars"] == 1
    assert in_the_lake("bars") == in_the_database("bars")


def test_tables_of_another_source_are_left_as_they_are(settings: Callable[..., None]) -> None:
    publish()
    change("UPDATE stock_data SET close = 1 WHERE date = ?", LAST)
    source = market().source
    settings("market", source="files")
    with reading() as connection, pytest.raises(LakeError, match=rf"has the tables of source {source}, and "):
        publication.publish_tables(open_catalog(), connection, [LAST], "two")
    assert snapshots("bars") == ["one"]


def test_a_publication_at_the_same_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that began before another was committed does not add its files to those of the other."""
    publish()
    stale = {table.name: lake_table(table.name) for table in TABLES}
    change("UPDATE stock_data SET close = 1 WHERE date = ?", LAST)
    publish("two")
    with monkeypatch.context() as patch, pytest.raises(CommitFailedException):
        patch.setattr(publication, "_table", lambda _, source, __: stale[source.name])
        publish("three")
    assert snapshots("bars") == ["one", "two"]
    assert in_the_lake("bars") == in_the_database("bars")


def test_a_column_that_has_come_since_is_added() -> None:
    publish()
    change("ALTER TABLE technical_indicators ADD COLUMN atr_14 DOUBLE")
    change("UPDATE technical_indicators SET atr_14 = 2.5 WHERE date = ?", LAST)
    publish("two")
    assert lake_table("indicators").schema().column_names[-1] == "atr_14"
    assert in_the_lake("indicators") == in_the_database("indicators")


def test_a_session_is_read_from_one_file() -> None:
    publish()
    tasks = list(lake_table("bars").scan(row_filter=f"date = '{LAST}'").plan_files())
    assert len(tasks) == 1


def engines() -> Iterator[tuple[str, Callable[[], list[tuple[Any, ...]]]]]:
    query = f"SELECT symbol, close_price, volume FROM {{}} WHERE date = '{LAST}' ORDER BY symbol"

    def planned() -> list[str]:
        tasks = lake_table("watchlist").scan(row_filter=f"date = '{LAST}'").plan_files()
        return [task.file.file_path.removeprefix("file://") for task in tasks]

    yield "duckdb", lambda: duckdb.sql(query.format(f"read_parquet({planned()})")).fetchall()
    yield "polars", lambda: (
        pl.scan_iceberg(lake_table("watchlist")).filter(pl.col("date") == LAST)
        .select("symbol", "close_price", "volume").sort("symbol").collect().rows()
    )  # fmt: skip


@pytest.mark.parametrize("read", [read for _, read in engines()], ids=[name for name, _ in engines()])
def test_engines_read_the_same_rows(read: Callable[[], list[tuple[Any, ...]]]) -> None:
    publish()
    with reading() as connection:
        wanted = connection.execute(
            "SELECT symbol, close_price, volume FROM daily_watchlist WHERE scan_date = ? ORDER BY symbol", [LAST]
        ).fetchall()
    assert [row[0] for row in wanted] == SYMBOLS[:3]
    assert read() == wanted


def test_the_catalog_has_the_layout_of_others() -> None:
    """Of the JDBC catalog: what pyiceberg's SqlCatalog and Spark look for."""
    publish()
    with sqlite3.connect(sqlite_path()) as catalog:
        rows = catalog.execute("SELECT table_namespace, table_name, metadata_location FROM iceberg_tables").fetchall()
    assert [row[:2] for row in sorted(rows)] == [("market", name) for name in sorted(table.name for table in TABLES)]
    assert all(pathlib.Path(row[2].removeprefix("file://")).exists() for row in rows)
    assert database_path().exists()
