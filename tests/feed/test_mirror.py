"""The record of task runs and alerts in Redis: each row once, the newest ones, also after Redis was away."""

import datetime as dt
import json
import logging
import os

import pytest
from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.database.connection import database_path, reading, writing
from pipeline.feed import mirror as metrics
from pipeline.runs import channel_test, durations, ending, journal
from tests.support.servers import RedisServer

RUNS, ALERTS = "nasdaq:dag_performance_metrics", "nasdaq:system_alerts"
DAY = dt.date(2024, 2, 16)
T0 = dt.datetime(2024, 2, 16, 22, 0, tzinfo=dt.UTC)


def record(*tasks: str, status: str = "done", seconds: float = 1.5, dates=(str(DAY),), at: float = 0.0) -> None:
    with writing() as connection:
        for number, task in enumerate(tasks):
            started = T0.timestamp() + at + number
            journal.store(
                connection, journal.TaskRun(f"{task}-{started}", task, list(dates), started, status, seconds, "why")
            )


def entries(redis, name=RUNS):
    return [json.loads(text) for text in redis.lrange(name, 0, -1)]


@pytest.mark.redis
def test_every_run_is_an_entry_newest_first(redis, data_dir):
    record("CollectSymbols")
    record("SyncRedis", status="timed out", dates=["2024-02-17"], at=60)
    metrics.mirror()
    newest, oldest = entries(redis)
    assert newest == {
        "pipeline": "RedisWatchlistSync", "task": "SyncRedis", "date": "2024-02-17",
        "started_at": "2024-02-16T22:01:00+00:00",
        "duration_seconds": 1.5, "status": "timed out", "try_number": 1, "combined": 1, "run_id": newest["run_id"],
    }  # fmt: skip
    assert oldest["task"] == "CollectSymbols"
    (alert,) = entries(redis, ALERTS)
    assert alert == {
        "type": "timed out", "pipeline": "RedisWatchlistSync", "task": "SyncRedis", "date": "2024-02-17",
        "message": "why",
        "raised_at": "2024-02-16T22:01:01.500000+00:00", "run_id": newest["run_id"],
    }  # fmt: skip
    assert 0 < redis.ttl(RUNS) <= 14 * 86_400


@pytest.mark.redis
def test_no_entry_comes_twice_and_only_the_newest_stay(redis, data_dir, settings):
    settings("redis", list_length=5)
    for number in range(4):
        record("CollectSymbols", "CollectPrices", at=100.0 * number)
        metrics.mirror()
        metrics.mirror()
    assert [entry["task"] for entry in entries(redis)] == ["CollectPrices", "CollectSymbols"] * 2 + ["CollectPrices"]
    assert len({entry["run_id"] for entry in entries(redis)}) == 5


@pytest.mark.redis
@pytest.mark.parametrize(
    "damage",
    ["set {mark} yesterday", "set {mark} []", 'set {mark} {{"id":"7"}}', 'set {mark} {{"database":1,"id":1}}',
     "rpush {mark} x", "set {list} x", "set {mark} null", "del {mark}"],
)  # fmt: skip
def test_a_damaged_watermark_or_list_ends_nothing(redis, data_dir, damage):
    record("CollectSymbols", "CollectPrices")
    metrics.mirror()
    command, name, *rest = damage.format(mark=f"{RUNS}:pushed", list=RUNS).split()
    redis.delete(name)
    if command != "del":
        redis.execute_command(command, name, *rest)
    record("ComputeIndicators", at=60)
    metrics.mirror()
    metrics.mirror()
    found = [entry["task"] for entry in entries(redis)]
    assert found[0] == "ComputeIndicators"
    if "{mark}" in damage and command == "set":
        assert found == ["ComputeIndicators", "CollectPrices", "CollectSymbols"]


@pytest.mark.redis
def test_a_watermark_beyond_the_rows_begins_the_list_anew(redis, data_dir):
    record("CollectSymbols", "CollectPrices")
    metrics.mirror()
    mark = json.loads(redis.get(f"{RUNS}:pushed"))
    redis.set(f"{RUNS}:pushed", json.dumps({**mark, "id": mark["id"] + 1}))
    record(at=60)
    metrics.mirror()
    assert [entry["task"] for entry in entries(redis)] == ["CollectPrices", "CollectSymbols"]


@pytest.mark.redis
def test_what_came_while_redis_was_away_follows(data_dir, tmp_path, settings, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    server = RedisServer(tmp_path / "server")
    settings("redis", url=server.url, retries=0)
    record("CollectSymbols")
    metrics.mirror()
    server.kill()
    record("CollectPrices", at=60)
    metrics.mirror()
    assert "Redis does not take them (RedisUnreachableError)" in caplog.text
    server.start()
    metrics.mirror()
    with server.client() as client:
        assert [entry["task"] for entry in entries(client)] == ["CollectPrices", "CollectSymbols"]
    server.kill()


@pytest.mark.redis
def test_another_database_counts_anew(redis, data_dir, migrating):
    """The moment of its first migration tells it from the one before, and copies share theirs."""
    record(*["CollectSymbols"] * 9)
    metrics.mirror()
    database_path().unlink()
    record("CollectPrices")
    metrics.mirror()
    assert len(entries(redis)) == 10 and entries(redis)[0]["task"] == "CollectPrices"


@pytest.mark.redis
def test_the_end_of_a_process_mirrors_what_it_did(redis, data_dir, settings):
    settings("alerts", slack_webhook_url="", discord_webhook_url="")
    path = journal.journal_path(os.getpid())
    path.parent.mkdir(parents=True)
    entry = {
        "id": "a",
        "task_id": "a",
        "task": "CollectPrices",
        "dates": ["2024-02-16"],
        "at": 1.0,
        "status": None,
        "error": "",
    }
    path.write_text(json.dumps(entry) + "\n")
    ending.close(os.getpid())
    assert [(run["task"], run["status"], run["duration_seconds"]) for run in entries(redis)] == [
        ("CollectPrices", "killed", None)
    ]
    assert [alert["type"] for alert in entries(redis, ALERTS)] == ["killed"]


@pytest.mark.redis
def test_a_test_alert_is_an_entry(redis, data_dir, settings):
    settings("alerts", slack_webhook_url="", discord_webhook_url="")
    assert channel_test.send_test()["redis"] == "sent"
    assert [entry["type"] for entry in entries(redis, ALERTS)] == ["test"]


def test_the_usual_duration_is_the_median_of_the_last_twenty(data_dir):
    took = [*range(100, 110), *range(20)]
    for number, seconds in enumerate(took):
        record("CollectPrices", seconds=seconds, at=60.0 * number)
    record("CollectPrices", seconds=1000.0, status="failed", at=9000)
    record("CollectPrices", seconds=1000.0, dates=["2024-02-15", "2024-02-16"], at=9100)  # for two dates at once
    record("CollectSymbols", seconds=3.0)
    with reading() as connection:
        assert durations.usual(connection) == {"CollectPrices": (9.5, 20), "CollectSymbols": (3.0, 1)}


def status(*options: str):
    return json.loads(CliRunner().invoke(main, ["status", *options, "--json"], catch_exceptions=False).output)


def test_status_shows_durations_beside_the_usual_ones_and_no_days_without_a_session(data_dir, clock):
    clock(2024, 2, 18, 12, 0)
    for number, seconds in enumerate([2.0, 4.0, 9.0]):
        record(
            "CollectPrices",
            seconds=seconds,
            dates=[["2024-02-14"], ["2024-02-15"], ["2024-02-16"]][number],
            at=60.0 * number,
        )
    record("SyncRedis", dates=["2024-02-17"])  # a Saturday
    found = {session["session"]: session["stages"]["CollectPrices"] for session in status()}
    assert list(found) == ["2024-02-16", "2024-02-15", "2024-02-14"]
    assert [(stage["seconds"], stage["usual_seconds"]) for stage in found.values()] == [
        (9.0, 4.0),
        (4.0, 4.0),
        (2.0, 4.0),
    ]
