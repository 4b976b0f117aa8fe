"""The reader example against a feed of the pipeline's own."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from pipeline.feed import signals
from pipeline.feed.content import read_feed
from pipeline.feed.server import connect
from pipeline.feed.sync import sync
from tests.support.feed import DAY, NEXT, FeedData
from tests.support.servers import RedisServer

pytestmark = pytest.mark.redis

EXAMPLE = pathlib.Path(__file__).resolve().parent.parent / "examples" / "live_reader.py"


@pytest.fixture
def reader():
    spec = importlib.util.spec_from_file_location("live_reader", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["live_reader"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["live_reader"]


@pytest.fixture
def data(redis, data_dir):
    feed = FeedData()
    feed.scans = {DAY: feed.symbols[:5]}
    return feed


def feed_redis(data, day):
    data.publish(day)
    with connect() as client:
        state = sync(client, read_feed(day))
        signals.prepare(client, state)


def test_it_reads_what_was_fed(redis, data, reader):
    feed_redis(data, DAY)
    update, stocks = reader.read_watchlist(redis)
    assert update["session"] == "2024-02-15"
    assert [stock.symbol for stock in stocks] == data.symbols[:5]
    for stock in stocks:
        assert stock.bars == [{"date": date, **bar} for date, bar in data.hash_of(stock.symbol, DAY).items()]
        assert stock.facts["scan_reason"] == "scan 2024-02-15"


@pytest.mark.parametrize("damage", ["del nasdaq:watchlist_data:S002", "hset nasdaq:watchlist_data:S002 sync_id x"])
def test_a_damaged_feed_is_not_read(redis, data, reader, damage):
    feed_redis(data, DAY)
    redis.execute_command(*damage.split())
    with pytest.raises(LookupError, match="1 symbols are missing or of another version, such as S002"):
        reader.read_watchlist(redis)


def test_a_reading_that_a_switch_interrupts_is_begun_anew(redis, redis_server, data, reader, monkeypatch):
    feed_redis(data, DAY)
    data.scans[NEXT] = data.symbols[2:8]
    client = redis_server.client()
    original = client.pipeline

    def switching(**options):
        monkeypatch.setattr(client, "pipeline", original)
        feed_redis(data, NEXT)
        return original(**options)

    monkeypatch.setattr(client, "pipeline", switching)
    update, stocks = reader.read_watchlist(client)
    client.close()
    assert update["day"] == "2024-02-16"
    assert [stock.bars[-1]["date"] for stock in stocks] == ["2024-02-16"] * 8


def test_without_a_feed_it_says_what_to_run(redis, reader):
    with pytest.raises(LookupError, match="RedisWatchlistSync"):
        reader.read_watchlist(redis)


def test_each_trigger_is_taken_once_by_the_group(redis, data, reader):
    feed_redis(data, DAY)
    taken = [trigger["symbol"] for trigger in reader.take_triggers(redis, "one")]
    assert sorted(taken) == data.symbols[:5]
    assert list(reader.take_triggers(redis, "two")) == []
    data.scans[NEXT] = data.symbols[:2]
    feed_redis(data, NEXT)
    assert {trigger["session"] for trigger in reader.take_triggers(redis, "two")} == {"2024-02-16"}


def test_what_a_dead_consumer_left_is_claimed(redis, data, reader):
    feed_redis(data, DAY)
    dying = reader.take_triggers(redis, "dead")
    first = next(dying)["symbol"]
    dying.close()
    assert list(reader.take_triggers(redis, "two", abandoned=3600.0)) == []
    claimed = [trigger["symbol"] for trigger in reader.take_triggers(redis, "two", abandoned=0.0)]
    assert sorted(claimed) == data.symbols[:5] and first in claimed


def test_it_follows_through_a_restart_of_redis(data, tmp_path, settings, data_dir):
    """The list, its triggers, a Redis that comes back empty, and the list that is then fed."""
    server = RedisServer(tmp_path / "server")
    settings("redis", url=server.url)
    feed_redis(data, DAY)
    with subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLE), "--follow"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "REDIS_URL": server.url},
    ) as following:
        assert following.stdout is not None
        seen = read_until(following.stdout, "trigger S004")
        assert seen[0].startswith("5 of 5 symbols up to 2024-02-15") and "hours old" in seen[0]
        server.restart()
        read_until(following.stdout, "Redis is away")
        data.scans = {NEXT: data.symbols[5:8]}
        feed_redis(data, NEXT)
        seen = read_until(following.stdout, "trigger S007")
        assert [line for line in seen if line.startswith("3 of 3 symbols up to 2024-02-16")]
        following.kill()
    server.kill()


def read_until(lines, start):
    found = []
    for line in lines:
        found.append(line)
        if line.startswith(start):
            return found
    raise AssertionError(found)


def test_a_trigger_whose_handling_failed_comes_again(redis, data, reader):
    feed_redis(data, DAY)
    with pytest.raises(ZeroDivisionError):
        for _trigger in reader.take_triggers(redis, "one"):
            1 / 0  # noqa: B018
    assert len(list(reader.take_triggers(redis, "one"))) == 5


@pytest.mark.parametrize(("price", "volume", "hit"), [(100.1, 501, True), (100.0, 501, False), (100.1, 500, False)])
def test_the_rule(reader, price, volume, hit):
    assert reader.is_hit({"bb_lower": 100.0, "close": 99.5, "volume_threshold": 500}, price, volume) is hit
    assert reader.is_hit({"bb_lower": None, "close": 99.5, "volume_threshold": 500}, price, volume) is False


def test_its_command_line(redis, redis_server, data):
    feed_redis(data, DAY)
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "REDIS_URL": redis_server.url},
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("5 of 5 symbols up to 2024-02-15")
    assert len([line for line in lines if line.startswith("trigger ")]) == 5
    assert json.loads(redis.get("nasdaq:watchlist_last_update"))["synced"] == 5
