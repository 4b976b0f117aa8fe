"""Backups: whole, apart from the replica, one a day; and what is said of a database that cannot be read."""

import datetime as dt
import json
import os

import duckdb
import pytest

from pipeline.database.backups import back_up, backup_folder, backup_paths, check, manifest_of, newest_good
from pipeline.database.connection import database_path, reading, writing
from pipeline.database.replica import publish, replica_path
from pipeline.database.schema import MIGRATIONS
from pipeline.errors import DatabaseDamagedError, DatabaseNewerError, DataFolderError
from pipeline.host.files import sync
from tests.support.bars import DAY, add_bars, bars_in


@pytest.fixture
def published(data_dir, clock):
    clock(2024, 2, 16, 20)
    add_bars(3)
    publish(DAY)
    return replica_path()


def test_a_backup_shares_nothing_with_the_replica(published):
    (backup,) = backup_paths()
    assert backup.stat().st_ino != published.stat().st_ino
    assert backup.stat().st_nlink == 1
    assert backup.read_bytes() == published.read_bytes()
    assert json.loads(manifest_of(backup).read_text())["sha256"] == check_sum(backup)


def check_sum(path):
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_a_day_counts(published, settings, clock):
    settings("retention", backups=2)
    for hour in (2, 3, 4):  # three more runs of the same day
        clock(2024, 2, 16, 20 + hour - 2, 30)
        add_bars(1, dt.date(2024, 2, 16))
        publish(DAY)
    assert [bars_in(path) for path in backup_paths()] == [6]
    for day in (18, 19):
        clock(2024, 2, day, 1)
        add_bars(1)
        publish(DAY)
    assert [bars_in(path) for path in backup_paths()] == [7, 8]
    assert sorted(path.stem for path in backup_folder().glob("*.json")) == [path.stem for path in backup_paths()]


def test_a_clock_that_was_set_back_does_not_drop_the_backup_just_made(published, settings, clock):
    settings("retention", backups=1)
    clock(2024, 1, 5, 1)
    add_bars(1)
    publish(DAY)
    assert [bars_in(path) for path in backup_paths()] == [4]


def cut(path):
    """To its headers; of a longer piece it depends on what was in the rest."""
    os.chmod(path, 0o644)
    os.truncate(path, 12288 + 1000)


def flip(path):
    os.chmod(path, 0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 5000)
        file.write(b"\xff" * 4000)


def empty(path):
    os.chmod(path, 0o644)
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "says"), [(cut, "bytes, and"), (flip, "its content is not what was written"), (empty, "it has 0 bytes")]
)
def test_a_damaged_backup_is_passed_over(published, clock, spoil, says):
    clock(2024, 2, 18, 1)
    add_bars(1)
    publish(DAY)
    older, newer = backup_paths()
    spoil(newer)
    assert says in check(newer).fault
    assert newest_good() == older
    manifest_of(newer).unlink()  # one of an earlier version
    if spoil is not flip:
        assert check(newer).fault
    assert check(older).session == "2024-02-16"


def test_a_backup_of_another_source_or_of_newer_code_is_none(published, settings):
    (backup,) = backup_paths()
    settings("market", source="simulated")
    assert check(backup).fault == "it is of source yahoo"
    settings("market", source="yahoo")
    newer_migration(published.parent.parent)
    other = back_up(database_path(), {"bytes": database_path().stat().st_size, "sha256": check_sum(database_path())})
    assert check(other).fault == "it is of newer code (998_future)"


def newer_migration(data_dir):
    with duckdb.connect(str(data_dir / "stock_data.duckdb")) as connection:
        connection.execute(
            "INSERT INTO migrations (name, source, applied_at, code_version) "
            "VALUES ('998_future', 'yahoo', now(), '9.9.9')"
        )


@pytest.mark.parametrize("spoil", [cut, empty, lambda path: path.write_bytes(b"no database " * 1000)])
@pytest.mark.parametrize("open_it", [reading, writing])
def test_a_database_that_is_none_names_the_newest_good_backup(published, spoil, open_it):
    spoil(database_path())
    (backup,) = backup_paths()
    with (
        pytest.raises(
            DatabaseDamagedError, match=rf"is damaged .*newest good backup is {backup.name}.*pipeline restore"
        ),
        open_it(),
    ):
        pass


def test_a_damage_that_a_query_meets_is_told_too(published):
    with writing() as connection:
        connection.execute(
            "INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at) "
            "SELECT 'S' || i, DATE '2024-02-15', random(), random(), random(), random(), 1, now() "
            "FROM range(200_000) t(i)"
        )
        connection.commit()
        connection.execute("CHECKPOINT")
        connection.begin()
    size = database_path().stat().st_size
    with database_path().open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\0" * (size // 2))
    with pytest.raises(DatabaseDamagedError, match="pipeline restore"), reading() as connection:
        connection.execute("SELECT max(hash(s)) FROM stock_data s").fetchall()


def test_without_a_backup_the_way_over_what_was_received_is_named(data_dir):
    data_dir.mkdir()
    database_path().write_bytes(b"no database " * 1000)
    with (
        pytest.raises(DatabaseDamagedError, match=r"no good backup.*pipeline backfill .*market.offline=true"),
        reading(),
    ):
        pass


def test_a_file_of_sqlite_fetches_nothing(published):
    import sqlite3

    database_path().unlink()
    with sqlite3.connect(database_path()) as connection:
        connection.execute("CREATE TABLE x (a)")
    sync(database_path())
    with pytest.raises(DatabaseDamagedError), reading():
        pass


def test_a_full_disk_is_no_damage():
    from pipeline.database.damage import in_words

    with pytest.raises(DataFolderError, match="no room is left"), in_words(database_path()):
        raise duckdb.IOException('Could not write file "x": No space left on device')


def test_older_code_refuses_a_database_of_newer_code(published):
    newer_migration(published.parent.parent)
    before = database_path().read_bytes()
    known = MIGRATIONS[-1][0]
    with (
        pytest.raises(
            DatabaseNewerError, match=rf"by version 9\.9\.9 \(998_future\), and this is version .*up to {known}"
        ),
        writing(),
    ):
        pass
    assert database_path().read_bytes() == before


def test_a_column_of_the_configuration_is_no_newer_code(published):
    with writing() as connection:
        connection.execute("INSERT INTO migrations (name, source) VALUES ('indicator atr_14 = ATR(14)', 'yahoo')")
    with writing():
        pass
