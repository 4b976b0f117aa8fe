"""The published copy: verified before it replaces the old one, and never pulled away from under a reader."""

import datetime as dt
import hashlib
import json
import os
import stat
import subprocess
import sys

import duckdb
import pytest

from pipeline.database import replica
from pipeline.database.backups import backup_paths
from pipeline.database.connection import database_path, reading, writing
from pipeline.database.replica import manifest_path, publish, replica_path
from pipeline.database.schema import TABLES
from pipeline.errors import ReplicaError
from tests.support.bars import DAY, add_bars, bars_in


@pytest.fixture
def published(data_dir):
    add_bars(3)
    publish(DAY)
    return replica_path()


def test_the_replica_holds_what_the_database_holds(published):
    with reading() as connection:
        rows = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES}
    with reading(published) as connection:
        assert {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES} == rows
    assert rows["stock_data"] == 3


def test_nobody_can_write_it(published):
    assert stat.S_IMODE(published.stat().st_mode) == 0o444
    with reading(published) as connection, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        connection.execute("DELETE FROM stock_data")


def test_rows_of_the_write_ahead_log_are_in_it(data_dir):
    """A process that was killed leaves its last commits in the log beside the file."""
    add_bars(1)
    crash = (
        f"import duckdb, os; c = duckdb.connect({str(database_path())!r}); "
        'c.execute("INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at) '
        "SELECT 'W' || i, DATE '2024-02-16', 1, 1, 1, 1, 1, now() FROM range(50) t(i)\"); "
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", crash], check=False)
    assert database_path().with_name(database_path().name + ".wal").stat().st_size > 0
    publish(DAY)
    assert bars_in(replica_path()) == 51


def test_the_manifest_tells_whether_the_file_is_whole(published):
    manifest = json.loads(manifest_path().read_text())
    assert manifest["sha256"] == hashlib.sha256(published.read_bytes()).hexdigest()
    assert manifest["bytes"] == published.stat().st_size
    assert (manifest["session"], manifest["last_session"], manifest["rows"]["stock_data"]) == (
        "2024-02-16",
        "2024-02-16",
        3,
    )


def test_a_new_replica_replaces_the_old_one(published):
    add_bars(2, dt.date(2024, 2, 20))
    publish(dt.date(2024, 2, 20))
    assert bars_in(published) == 5


def test_a_reader_keeps_the_file_that_it_has_open(published):
    """Another process, as readers are; it looks twice."""
    look = (
        f"import duckdb, sys; c = duckdb.connect({str(published)!r}, read_only=True)\n"
        "for _ in range(2): "
        "print(c.execute('SELECT count(*) FROM stock_data').fetchone()[0], flush=True); sys.stdin.readline()"
    )
    reader = subprocess.Popen([sys.executable, "-c", look], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdin is not None
    assert reader.stdout is not None
    assert reader.stdout.readline() == "3\n"
    add_bars(2, dt.date(2024, 2, 20))
    publish(dt.date(2024, 2, 20))
    reader.stdin.write("\n")
    reader.stdin.flush()
    assert reader.stdout.readline() == "3\n"
    reader.communicate("\n")
    assert bars_in(published) == 5


def spoil_header(path):
    with path.open("r+b") as file:
        file.write(b"\0" * 4096)


def spoil_table(path):
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE rejected_bars")


def spoil_rows(path):
    with duckdb.connect(str(path)) as connection:
        connection.execute("DELETE FROM stock_data WHERE symbol = 'S1'")


def spoil_dates(path):
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE stock_data SET date = DATE '2024-02-15'")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(spoil_header, "cannot be opened"), (spoil_table, "lacks the tables rejected_bars"),
     (spoil_rows, "differs from the database in stock_data"), (spoil_dates, "differs from the database in")],
)  # fmt: skip
def test_a_copy_that_is_not_right_leaves_the_old_replica(published, monkeypatch, spoil, says):
    before, backups, original = published.read_bytes(), backup_paths(), replica.copy

    def spoiled(source, target):
        original(source, target)
        spoil(target)

    add_bars(2, dt.date(2024, 2, 20))
    monkeypatch.setattr(replica, "copy", spoiled)
    with pytest.raises(ReplicaError, match=rf"{says}.*{published} stays as it was"):
        publish(dt.date(2024, 2, 20))
    assert published.read_bytes() == before
    assert backup_paths() == backups
    assert json.loads(manifest_path().read_text())["session"] == "2024-02-16"
    assert sorted(path.name for path in published.parent.iterdir()) == [
        "manifest.json",
        "stock_data_replica.duckdb",
        "versions",
    ]
    assert len(list((published.parent / "versions").iterdir())) == 1


def test_a_database_with_a_log_beside_it_is_not_copied(data_dir, tmp_path):
    add_bars(1)
    database_path().with_name(database_path().name + ".wal").write_bytes(b"rows")
    with pytest.raises(ReplicaError, match=r"\.wal holds rows that are not in the database file yet"):
        replica.copy(database_path(), tmp_path / "copy")


def test_copying_does_not_drop_the_lock_of_an_open_database(published, settings):
    """The lock is one of the process: reading the file beside an open connection would give it away."""
    with writing():
        pass
    publish(DAY)
    with writing():
        second = subprocess.run(
            [sys.executable, "-c", f"import duckdb; duckdb.connect({str(database_path())!r})"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "Conflicting lock is held" in second.stderr


def test_a_backup_can_be_opened_as_the_database(published):
    with reading(backup_paths()[0]) as connection:
        assert set(TABLES) <= {
            name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        }


def test_the_manifest_names_a_file_that_stays_while_one_more_is_published(published, monkeypatch):
    monkeypatch.setattr(replica, "GRACE", -1.0)
    names = []
    for count in range(3):
        names.append(json.loads(manifest_path().read_text())["file"])
        assert os.path.samefile(published.parent / names[-1], published)
        add_bars(1, dt.date(2024, 2, 20 + count))
        publish(dt.date(2024, 2, 20 + count))
        assert bars_in(published.parent / names[-1]) == 3 + count  # of the manifest that a reader has just read
    assert len(list(published.with_name("versions").iterdir())) == 2
    assert not (published.parent / names[0]).exists()


def test_a_version_stays_for_a_while_for_readers_on_their_way(published):
    first = json.loads(manifest_path().read_text())["file"]
    for count in range(3):
        publish(dt.date(2024, 2, 20 + count))
    assert bars_in(published.parent / first) == 3


def test_a_file_system_without_links_has_one_name(data_dir, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    add_bars(3)
    assert publish(DAY)["file"] == replica_path().name
