"""The database file under other processes, kills, and configurations that do not fit it."""

import datetime as dt
import os
import signal
import subprocess
import sys
import textwrap

import duckdb
import pytest

from pipeline.database import connection as database
from pipeline.database.connection import database_path, reading, writing
from pipeline.database.schema import MIGRATIONS, TABLES
from pipeline.errors import DatabaseDamagedError, DatabaseLockedError, MixedSourcesError


def python(source: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs `source`, and has said its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


pytestmark = pytest.mark.usefixtures("migrating")

HOLD = """
    import duckdb, sys
    connection = duckdb.connect(sys.argv[1])
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_fresh_database_has_every_table_and_each_migration_once(data_dir):
    for _ in range(2):
        with writing() as connection:
            pass
    with reading() as connection:
        names = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        applied = connection.execute(
            "SELECT name, source FROM migrations WHERE NOT starts_with(name, 'comments') ORDER BY name"
        ).fetchall()
    assert set(TABLES) <= names
    assert applied == [(name, "yahoo") for name, _ in MIGRATIONS]


def test_every_table_says_its_source(data_dir):
    with writing() as connection:
        connection.execute("INSERT INTO corporate_actions VALUES ('AAA', '2024-02-16', 'split', 2.0, DEFAULT)")
        assert connection.execute("SELECT source FROM corporate_actions").fetchone() == ("yahoo",)


def test_an_exception_rolls_everything_back(data_dir):
    with pytest.raises(ZeroDivisionError), writing() as connection:
        connection.execute("INSERT INTO corporate_actions VALUES ('AAA', '2024-02-16', 'split', 2.0, DEFAULT)")
        raise ZeroDivisionError
    with writing() as connection:
        assert connection.execute("FROM corporate_actions").fetchall() == []


def test_an_older_database_gets_what_it_lacks(data_dir, monkeypatch):
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS[:1])
    with writing() as connection:
        connection.execute("INSERT INTO corporate_actions VALUES ('AAA', '2024-02-16', 'split', 2.0, DEFAULT)")
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS)
    with writing() as connection:
        assert connection.execute("SELECT symbol FROM corporate_actions").fetchall() == [("AAA",)]
        assert connection.execute(
            "SELECT count(*) FROM migrations WHERE NOT starts_with(name, 'comments')"
        ).fetchone() == (len(MIGRATIONS),)


def test_a_failing_migration_leaves_the_database_as_it_was(data_dir, monkeypatch):
    with writing():
        pass
    broken = (*MIGRATIONS, ("999_broken", "CREATE TABLE added (x INTEGER); SELECT * FROM no_such_table"))
    monkeypatch.setattr(database, "MIGRATIONS", broken)
    with pytest.raises(duckdb.CatalogException), writing():
        pass
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS)
    with writing() as connection:
        assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'added'").fetchone() == (0,)


@pytest.mark.parametrize("open_it", [reading, writing])
def test_another_process_is_named_when_it_keeps_the_database(data_dir, settings, open_it):
    with writing():
        pass
    settings("storage", lock_timeout=0.2)
    holder = python(HOLD, str(database_path()))
    try:
        with (
            pytest.raises(DatabaseLockedError, match=rf"open in .*python.* \(PID {holder.pid}\) for more than 0.2 s"),
            open_it(),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()


def test_a_lock_that_ends_in_time_is_waited_for(data_dir, settings):
    settings("storage", lock_timeout=60)
    with writing():
        pass
    holder = python(
        """
        import duckdb, sys, threading
        connection = duckdb.connect(sys.argv[1])
        print("open", flush=True)
        threading.Timer(0.4, connection.close).start()
        """,
        str(database_path()),
    )
    with writing() as connection:
        assert connection.execute(
            "SELECT count(*) FROM migrations WHERE NOT starts_with(name, 'comments')"
        ).fetchone() == (len(MIGRATIONS),)
    holder.wait()


def test_another_error_of_the_file_is_not_waited_for(data_dir, settings):
    settings("storage", lock_timeout=3600)
    database_path().parent.mkdir(parents=True)
    database_path().write_bytes(b"no database " * 1000)
    with pytest.raises(DatabaseDamagedError, match="not a valid DuckDB database"), writing():
        pass


def test_data_of_another_source_is_refused(data_dir, settings):
    with writing():
        pass
    settings("market", source="simulated")
    with (
        pytest.raises(
            MixedSourcesError, match=r"holds data of source yahoo.*\[market\] source = yahoo.*\[storage\] data_dir"
        ),
        writing(),
    ):
        pass


KILLED = """
    import sys
    import pipeline  # first: it reads config/luigi.cfg
    from luigi.configuration import get_config
    from pipeline.database.connection import writing
    get_config().set("storage", "data_dir", sys.argv[1])  # the import reads config/luigi.cfg, which has it, too
    with writing() as connection:
        connection.execute("INSERT INTO table_updates VALUES ('CollectPrices:2024-02-16', 'stock_data', now())")
        connection.execute(
            "INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at) "
            "SELECT 'S' || i, DATE '2024-02-16', 1, 1, 1, 1, i, now() FROM range(200000) t(i)"
        )
        if sys.argv[2] == "committed":
            connection.commit(); connection.begin()
        print("inside", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize(("moment", "rows"), [("open", 0), ("committed", 200_000)])
def test_a_killed_writer_leaves_rows_and_marker_or_neither(data_dir, moment, rows):
    writer = python(KILLED, str(data_dir), moment)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with writing() as connection:
        assert connection.execute("SELECT count(*) FROM stock_data").fetchone() == (rows,)
        assert connection.execute("SELECT count(*) FROM table_updates").fetchone() == (int(rows > 0),)


def test_rows_that_are_there_twice_are_found(data_dir):
    with writing() as connection:
        assert database.duplicated_rows(connection) == {}
        for day in ["2024-02-16"] * 3 + ["2024-02-20"]:
            connection.execute(
                "INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at) "
                "VALUES ('AAA', ?, 1, 1, 1, 1, 1, now())",
                [day],
            )
        assert database.duplicated_rows(connection) == {"stock_data": 2}


@pytest.mark.parametrize(
    ("day", "stored", "replaced", "is_found"),
    [
        ("2024-02-01", None, None, True),
        ("2024-01-31", None, None, False),
        ("2024-01-31", "2024-02-01", None, True),
        ("2024-01-31", "2024-01-31", None, False),
        ("2024-01-31", None, "2024-02-01", True),
        ("2024-01-31", None, "2024-01-31", False),
    ],
)
def test_a_look_at_what_was_written_lately_finds_rows_twice_there(data_dir, day, stored, replaced, is_found):
    with writing() as connection:
        for _ in range(2):
            connection.execute(
                "INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at, stored_at) "
                "VALUES ('AAA', ?, 1, 1, 1, 1, 1, '2024-01-01', ?)",
                [day, stored],
            )
        if replaced:
            connection.execute(
                "INSERT INTO bar_versions "
                "(symbol, date, open, high, low, close, volume, fetched_at, replaced_at, reason) "
                "VALUES ('AAA', '2024-01-02', 1, 1, 1, 1, 1, '2024-01-01', ?, '')",
                [replaced],
            )
        found = database.duplicated_rows(connection, dt.date(2024, 2, 1))
    assert found == ({"stock_data": 1} if is_found else {})


@pytest.mark.parametrize(("memory_gb", "is_held"), [(0.1, True), (4, False)])
def test_what_does_not_fit_into_the_memory_goes_to_the_disk(data_dir, settings, memory_gb, is_held):
    """Rows of 300 MB are sorted in a table of their own, within the memory or in a file beside the database."""
    settings("storage", memory_gb=memory_gb)
    with writing() as connection:
        connection.execute(
            "CREATE TEMP TABLE large AS "
            "SELECT hash(i) AS a, hash(i + 1) AS b, hash(i + 2) AS c FROM range(12_000_000) t(i)"
        )
        held = connection.execute("SELECT sum(size) FROM duckdb_temporary_files()").fetchall()[0][0] or 0
        assert (held > 100_000_000) == is_held
        assert connection.execute("SELECT count(*) FROM large").fetchall() == [(12_000_000,)]
    assert list((data_dir / "work").glob("duckdb/*")) == []


def test_files_can_be_opened_by_older_clients(data_dir):
    """Version 64 of the file format is what DuckDB 1.4 reads; 2.0 writes a later one when it is not told otherwise."""
    with writing():
        pass
    plain = data_dir / "plain.duckdb"
    duckdb.connect(str(plain)).close()
    versions = [int.from_bytes(path.read_bytes()[12:20], "little") for path in (database_path(), plain)]
    assert versions[0] < versions[1]


def test_reading_changes_nothing(data_dir):
    with writing():
        pass
    before = os.stat(database_path()).st_mtime_ns
    with reading() as connection, pytest.raises(duckdb.InvalidInputException):
        connection.execute("DELETE FROM migrations")
    assert os.stat(database_path()).st_mtime_ns == before


def test_no_join_to_the_bar_before_loops_over_all_bars(data_dir):
    """DuckDB loops where it expects few rows, and expected 20 of what were a million."""
    with writing() as connection:
        plan = connection.execute(
            "EXPLAIN FROM (VALUES ('A', today())) a(symbol, day) ASOF JOIN stock_data b "
            "ON b.symbol = a.symbol AND b.date <= a.day"
        ).fetchall()
    assert "Asof Join" in str(plan) and "Nested Loop" not in str(plan)
