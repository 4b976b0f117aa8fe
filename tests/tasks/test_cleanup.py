"""Which files go, and which never do."""

import dataclasses
import datetime as dt
import os

import pytest

from pipeline import calendar
from pipeline.host.owner import this_process
from pipeline.tasks.cleanup import CleanUpFiles, outdated

NOW = dt.datetime(2024, 2, 20, 22, 0, tzinfo=dt.UTC)


@pytest.fixture
def put(data_dir):
    """`put("logs/a.log", days=31)` makes a file of that age; a name that ends in / makes a folder with a file."""

    def make(name, days):
        path = data_dir / name
        target = path / "file" if name.endswith("/") else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("x")
        moment = (NOW - dt.timedelta(days=days)).timestamp()
        os.utime(target, (moment, moment))
        os.utime(path, (moment, moment))
        return path

    return make


@pytest.mark.parametrize(
    ("name", "kept"),
    [("raw/symbols/2023-01-03/", 650), ("raw/prices/2023-01-03/", 650), ("raw/prices/2023-01-03.1/", 650),
     ("reports/2023-01-03.html", 400), ("logs/a.log", 30), ("work/indicators/2023-01-03/", 2)],
)  # fmt: skip
def test_what_is_older_than_its_retention_goes(put, name, kept):
    path = put(name, days=kept + 0.1)
    assert list(outdated(NOW)) == [path]
    put(name, days=kept - 0.1)
    assert list(outdated(NOW)) == []


@pytest.mark.parametrize(
    "name",
    [
        "stock_data.duckdb", "stock_data.duckdb.wal", "run.lock", "replica/stock_data_replica.duckdb",
        "replica/manifest.json", "backup/stock_data-20200101T000000.000000Z.duckdb",
        "markers/DailyPipeline/2020-01-02.json", "work/journal/host@1@2.00.jsonl",
    ],
)  # fmt: skip
def test_what_never_goes(put, name):
    put(name, days=5000)
    assert list(outdated(NOW)) == []


UNFINISHED = [
    "replica/.stock_data_replica.duckdb!{owner}.partial", "replica/.manifest.json!{owner}.partial",
    "reports/.2024-02-16.html!{owner}.partial", "markers/CollectPrices/.2024-02-16.json!{owner}.partial",
    "raw/prices/2024-02-16/.batch-0001.parquet!{owner}.partial",
    "raw/symbols/2024-02-16/.20240216T220000.json.gz!{owner}.partial",
    "backup/.stock_data-20240216T220000.000000Z.duckdb!{owner}.partial",
]  # fmt: skip


@pytest.fixture
def ended():
    """A process that is gone, whose number this one has now."""
    return dataclasses.replace(this_process(), started=this_process().started - 60)


@pytest.mark.parametrize("name", UNFINISHED)
def test_the_unfinished_file_of_a_killed_process_goes_at_once(put, ended, name):
    assert list(outdated(NOW)) == []
    path = put(name.format(owner=ended), days=0)
    assert list(outdated(NOW)) == [path]


@pytest.mark.parametrize("name", UNFINISHED)
def test_the_file_that_a_living_process_writes_stays_for_hours(put, name):
    put(name.format(owner=this_process()), days=5 / 24)
    assert list(outdated(NOW)) == []
    path = put(name.format(owner=this_process()), days=7 / 24)
    assert list(outdated(NOW)) == [path]


def test_the_task_removes_files_and_folders(put, clock):
    clock(2024, 2, 20, 17, 0)
    old, new = put("raw/prices/2023-01-03/", days=700), put("raw/prices/2024-02-16/", days=1)
    log = put("logs/a.log", days=40)
    outcome = CleanUpFiles(date=dt.date(2024, 2, 16)).process([dt.date(2024, 2, 16)])
    assert outcome == {dt.date(2024, 2, 16): {"removed": 2}}
    assert not old.exists()
    assert not log.exists()
    assert new.exists()
    assert calendar.now() == NOW
