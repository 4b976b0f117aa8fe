"""Markers: the row that commits with the data, and the file that is looked at first."""

import datetime as dt
import json
import subprocess
import sys

import pytest

from pipeline.database.connection import database_path, writing
from pipeline.database.markers import MarkerTarget, RowTarget

DAY = dt.date(2024, 2, 16)


def test_no_database_no_row(data_dir):
    assert not RowTarget("CollectPrices", DAY).exists()
    assert not data_dir.exists()  # asking creates nothing


def test_the_row_is_there_with_the_commit(data_dir):
    row = RowTarget("CollectPrices", DAY)
    with writing() as connection:
        row.touch(connection, "stock_data")
    assert row.exists()
    assert not RowTarget("CollectPrices", dt.date(2024, 2, 20)).exists()
    assert not RowTarget("CollectSymbols", DAY).exists()
    with writing() as connection:
        stored = connection.execute("SELECT update_id, target_table FROM table_updates").fetchall()
    assert stored == [("CollectPrices:2024-02-16", "stock_data")]


def test_the_row_is_not_there_after_a_rollback(data_dir):
    row = RowTarget("CollectPrices", DAY)
    with pytest.raises(RuntimeError), writing() as connection:
        row.touch(connection, "stock_data")
        raise RuntimeError
    assert not row.exists()


def test_touching_twice_is_once(data_dir):
    with writing() as connection:
        for _ in range(2):
            RowTarget("CollectPrices", DAY).touch(connection, "stock_data")
        assert connection.execute("SELECT count(*) FROM table_updates").fetchone() == (1,)


def test_all_rows_are_read_by_one_query_until_the_file_changes(data_dir, asked):
    with writing() as connection:
        RowTarget("CollectPrices", DAY).touch(connection, "stock_data")
    for day in range(1, 28):
        RowTarget("CollectPrices", dt.date(2024, 2, day)).exists()
    assert len(asked) == 1
    with writing() as connection:
        RowTarget("CollectPrices", dt.date(2024, 2, 20)).touch(connection, "stock_data")
    assert RowTarget("CollectPrices", dt.date(2024, 2, 20)).exists()
    assert len(asked) == 2


def test_a_row_that_was_deleted_is_noticed(data_dir):
    row = RowTarget("CollectPrices", DAY)
    with writing() as connection:
        row.touch(connection, "stock_data")
    assert row.exists()
    with writing() as connection:
        connection.execute("DELETE FROM table_updates")
    assert not row.exists()


def test_a_row_that_stands_in_the_write_ahead_log_alone_is_noticed(data_dir):
    """A process that was killed leaves its last commits there; the database file is as it was."""
    with writing():
        pass
    row = RowTarget("CollectPrices", DAY)
    assert not row.exists()
    before = database_path().stat()
    crash = (
        f"import duckdb, os; c = duckdb.connect({str(database_path())!r}); "
        f"c.execute(\"INSERT INTO table_updates VALUES ('{row.update_id}', 'stock_data', now())\"); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", crash], check=True)
    assert database_path().stat().st_mtime_ns == before.st_mtime_ns
    assert row.exists()


def test_a_database_without_tables_has_no_rows(data_dir):
    """A process can be killed before the first migration was committed."""
    import duckdb

    database_path().parent.mkdir(parents=True)
    duckdb.connect(str(database_path())).close()
    assert not RowTarget("CollectPrices", DAY).exists()


def test_a_marker_says_what_was_done(data_dir):
    marker = MarkerTarget("CollectPrices", DAY)
    assert not marker.exists()
    marker.write({"session": DAY, "coverage": 0.99})
    assert marker.exists()
    assert json.loads((data_dir / "markers" / "CollectPrices" / "2024-02-16.json").read_text()) == marker.read()
    assert marker.read() == {"session": "2024-02-16", "coverage": 0.99}
