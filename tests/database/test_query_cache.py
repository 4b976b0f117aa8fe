"""What a query found is believed for as long as the database is the same file, by this process and by later ones."""

import json
import os
import shutil

import pytest

from pipeline.database import query_cache
from pipeline.database.connection import database_path, writing

QUERY = "SELECT update_id FROM table_updates"


@pytest.fixture
def rested(monkeypatch):
    """Every file counts as rested."""
    monkeypatch.setattr(query_cache, "REST", 0)


def put(*ids):
    with writing() as connection:
        connection.execute("DELETE FROM table_updates")
        for each in ids:
            connection.execute("INSERT INTO table_updates VALUES (?, 'stock_data', now())", [each])


def found():
    return query_cache.values(database_path(), "markers", QUERY)


def found_by_another_process():
    query_cache._known.clear()
    return found()


@pytest.fixture
def kept(data_dir, rested):
    """The file in which a first process has kept the answer {a, b}."""
    put("a", "b")
    assert found() == {"a", "b"}
    return data_dir / "cache" / "queries" / "markers.json"


def test_without_a_database_there_is_nothing_and_nothing_is_made(data_dir):
    assert found() == frozenset()
    assert not data_dir.exists()


def test_a_later_process_does_not_open_the_database(kept, asked):
    assert found_by_another_process() == {"a", "b"}
    assert asked == []


@pytest.mark.parametrize("ids", [("a", "b"), ("a", "c"), ()])
def test_after_a_write_it_is_opened(kept, asked, ids):
    put(*ids)
    assert found() == found_by_another_process() == set(ids)
    assert asked == [QUERY]  # what the first of the two has found, the other one believes


def test_a_file_of_the_same_size_and_time_is_another_one(kept, asked):
    path = database_path()
    before = path.stat()
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(copy, path)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert found_by_another_process() == {"a", "b"}
    assert asked == [QUERY]


def test_a_time_that_was_set_back_is_noticed(kept, asked):
    path = database_path()
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    found_by_another_process()
    assert asked == [QUERY]


def test_a_log_beside_the_file_is_noticed(kept, asked):
    log = database_path().with_name(database_path().name + ".wal")
    log.touch()
    found_by_another_process()
    assert asked == [QUERY]


def test_a_file_that_has_just_changed_is_not_kept(data_dir, asked, monkeypatch):
    put("a")
    status = database_path().stat()
    last = max(status.st_mtime_ns, status.st_ctime_ns)
    for after, is_kept in ((-1, False), (query_cache.REST - 1, False), (query_cache.REST, True)):
        monkeypatch.setattr(query_cache.time, "time_ns", lambda moment=last + after: moment)
        query_cache._known.clear()
        assert found() == {"a"}
        assert (data_dir / "cache" / "queries" / "markers.json").exists() == is_kept


def test_what_is_written_while_it_is_read_is_not_missed(data_dir, rested, monkeypatch):
    put("a")
    queried = query_cache._queried

    def then_written(path, query):
        answer = queried(path, query)
        put("a", "b")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(query_cache, "_queried", then_written)
        assert found() == {"a"}
    assert not (data_dir / "cache").exists()
    assert found() == found_by_another_process() == {"a", "b"}


def test_another_query_of_the_name_is_asked(kept, asked):
    other = "SELECT target_table FROM table_updates"
    query_cache._known.clear()
    assert query_cache.values(database_path(), "markers", other) == {"stock_data"}
    assert asked == [other]


@pytest.mark.parametrize(
    "damage",
    ["", "{", "null", "[1]", '{"query": 1}', '{"stamp": null, "values": []}', "\udcff not UTF-8"],
)
def test_a_damaged_file_is_asked_anew(kept, asked, damage):
    kept.write_text(damage, encoding="utf-8", errors="surrogateescape")
    assert found_by_another_process() == {"a", "b"}
    assert asked == [QUERY]
    assert json.loads(kept.read_text())["values"] == ["a", "b"]


@pytest.mark.parametrize("values", [None, 3, [["a"]]])
def test_values_of_another_kind_are_asked_anew(kept, asked, values):
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"values": values}))
    assert found_by_another_process() == {"a", "b"}
    assert asked == [QUERY]


def test_who_may_not_write_there_reads_all_the_same(data_dir, rested):
    put("a")
    (data_dir / "cache").write_text("a file, where the folder would be")
    assert found() == {"a"}


def test_a_database_without_the_table_has_none(data_dir, rested):
    put()
    assert query_cache.values(database_path(), "other", "SELECT name FROM not_there") == frozenset()
