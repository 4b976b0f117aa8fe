"""One DuckDB for the openings of a process: what is seen between them, and what ends it."""

import multiprocessing
import resource
import shutil
import signal
import subprocess
import sys
import threading

import duckdb
import psutil
import pytest

from pipeline.database.connection import database_path, reading, writing
from pipeline.errors import DataFolderError
from pipeline.host.processes import new_session

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def connects(data_dir, monkeypatch):
    """The paths that DuckDB itself was asked to open since then, with a table `t` of one row in the database."""
    with writing() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS i")
    asked, connect = [], duckdb.connect

    def counting(path=":memory:", **options):
        asked.append(str(path))
        return connect(path, **options)

    monkeypatch.setattr(duckdb, "connect", counting)
    return asked


def rows():
    with reading() as connection:
        return connection.execute("SELECT i FROM t ORDER BY i").fetchall()


def add(number):
    with writing() as connection:
        connection.execute("INSERT INTO t VALUES (?)", [number])


def test_all_openings_share_one(connects):
    for number in range(2, 5):
        add(number)
        assert len(rows()) == number
    assert connects == []


def test_another_process_may_write_in_between(connects):
    script = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('INSERT INTO t VALUES (7)')"
    assert rows() == [(1,)]
    subprocess.run([sys.executable, "-c", script, str(database_path())], check=True)
    assert rows() == [(1,), (7,)]


def test_nothing_of_one_opening_is_seen_in_the_next(connects):
    with reading() as connection:
        connection.execute("CREATE TEMP TABLE mine AS SELECT 1")
        connection.execute("SET VARIABLE known = 1")
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
    with reading() as connection:
        assert connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'mine'").fetchall() == []
        known, zone = connection.execute("SELECT getvariable('known'), current_setting('TimeZone')").fetchall()[0]
    assert known is None and zone != "Asia/Tokyo"


def test_the_settings_of_the_moment_count(connects, settings):
    for memory_gb, shown in ((0.5, "476.8 MiB"), (2, "1.8 GiB")):
        settings("storage", memory_gb=memory_gb)
        with reading() as connection:
            assert connection.execute("SELECT current_setting('memory_limit')").fetchall() == [(shown,)]
    assert connects == []


def test_after_an_error_there_is_a_new_one(connects):
    with pytest.raises(ZeroDivisionError), writing() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        raise ZeroDivisionError
    assert rows() == [(1,)]
    assert connects == [":memory:"]


@pytest.fixture
def full_disk():
    """Call it for a disk on which the database cannot become longer; there is room again when the test says so."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(is_full):
        longest = database_path().stat().st_size if is_full else limits[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (longest, limits[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_an_error_once(connects, full_disk):
    """A write that fails leaves DuckDB unusable for good; when there is room again, the same process goes on."""
    with pytest.raises((duckdb.Error, DataFolderError)), writing() as connection:
        full_disk(True)
        connection.execute("INSERT INTO t SELECT hash(i) % 100 FROM range(2_000_000) r(i)")
    full_disk(False)
    add(2)
    assert rows() == [(1,), (2,)]


def test_rows_that_fit_into_the_log_alone_are_there(connects, full_disk):
    """Their transaction is done, whatever becomes of the file that is written at the end."""
    with writing() as connection:
        connection.execute("INSERT INTO t SELECT i FROM range(2, 3000) r(i)")
        full_disk(True)
    assert database_path().with_name("stock_data.duckdb.wal").exists()
    full_disk(False)
    assert len(rows()) == 2999
    assert connects == [":memory:"]


@pytest.mark.parametrize("name", ["temp", "memory", "system", "attached", "a'b\"c"])
def test_a_file_may_have_any_name(connects, tmp_path, name):
    """Some are those of databases that every DuckDB has."""
    other = tmp_path / f"{name}.duckdb"
    shutil.copyfile(database_path(), other)
    with reading(other) as connection:
        assert connection.execute("SELECT i FROM t").fetchall() == [(1,)]
    assert connects == []


def test_another_file_at_the_same_time_has_its_own(connects, tmp_path):
    other = tmp_path / "other.duckdb"
    with duckdb.connect(other) as connection:
        connection.execute("CREATE TABLE theirs AS SELECT 2 AS j")
    tables = "SELECT table_name FROM duckdb_tables() WHERE table_name IN ('t', 'theirs')"
    with reading() as first, reading(other) as second:
        assert first.execute(tables).fetchall() == [("t",)]
        assert second.execute(tables).fetchall() == [("theirs",)]
    assert rows() == [(1,)]


def test_a_thread_that_comes_meanwhile_does_not_wait(connects, tmp_path):
    other = tmp_path / "other.duckdb"
    duckdb.connect(other).close()
    found = []

    def read():
        with reading(other) as connection:
            found.append(connection.execute("SELECT 1").fetchall())

    with reading():
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(timeout=30)
        assert found == [[(1,)]]


def test_a_fork_and_its_parent_go_on(connects):
    """A fork has none of the threads that a DuckDB waits for."""
    for number in (2, 3):
        child = FORK.Process(target=add, args=[number])
        child.start()
        child.join(timeout=30)
        assert child.exitcode == 0
        assert len(rows()) == number


def test_a_program_that_is_started_has_the_memory(connects):
    """Spark's and the pool's are started like this, and may need what the next opening can do without."""
    with reading() as connection:
        connection.execute("CREATE TEMP TABLE large AS SELECT hash(i) AS a, hash(a) AS b FROM range(10_000_000) r(i)")
    held = psutil.Process().memory_info().rss
    subprocess.run(["true"], check=True, preexec_fn=new_session())
    assert held - psutil.Process().memory_info().rss > 50_000_000
    assert rows() == [(1,)]
    assert connects == [":memory:"]


def test_a_fork_of_one_that_reads_has_its_own(connects, tmp_path):
    other = tmp_path / "other.duckdb"
    duckdb.connect(other).close()

    def read():
        with reading(other) as connection:
            connection.execute("SELECT sum(hash(i)) FROM range(1_000_000) r(i)").fetchall()

    with reading() as connection:
        child = FORK.Process(target=read)
        child.start()
        child.join(timeout=30)
        assert child.exitcode == 0
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(1,)]
