"""The health check notices what the sync did not write, and only that."""

import datetime as dt
import json

import pytest

from pipeline.errors import RedisUnhealthyError
from pipeline.feed import signals
from pipeline.feed import state as redis_state
from pipeline.feed.content import read_feed, wanted_session
from pipeline.feed.health import check, check_triggers
from pipeline.feed.server import connect
from pipeline.feed.sync import sync
from tests.feed.test_sync import KEY, assert_holds
from tests.support.feed import DAY, NEXT, SATURDAY, FeedData

pytestmark = pytest.mark.redis


@pytest.fixture
def fed(redis, data_dir):
    data = FeedData(20)
    data.scans = {DAY: data.symbols[:15]}
    data.publish(DAY)
    with connect() as client:
        sync(client, read_feed(DAY))
    return data


def checked(day=DAY):
    with connect() as client:
        return check(client, read_feed(day), wanted_session(day))


def test_what_was_written_is_healthy(redis, fed):
    facts = checked()
    assert (facts["symbols"], facts["samples"]) == (15, 15)
    assert 0 < facts["memory_mb"] < 200
    assert redis_state.read(redis) is not None


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_quiet_day_is_healthy(redis, fed, count):
    fed.scans = {DAY: fed.symbols[:count]}
    fed.publish(DAY)
    with connect() as client:
        sync(client, read_feed(DAY))
    assert checked()["symbols"] == count


def damaged(redis, kind):
    name = KEY + "S004"
    if kind == "missing":
        redis.delete(name)
    elif kind == "changed bar":
        redis.hset(name, "2024-02-14", json.dumps({"open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}))
    elif kind == "lost bar":
        redis.hdel(name, "2024-02-14")
    elif kind == "changed facts":
        redis.hset(name, "meta", "{}")
    elif kind == "too many":
        redis.hset(KEY + "ZZZ", "meta", "{}")
    elif kind == "no utf-8":
        redis.set(KEY.encode() + b"\xff", "x")
    elif kind == "wrong type":
        redis.delete(name)
        redis.rpush(name, "x")
    elif kind == "for ever":
        redis.persist(name)
    elif kind == "no update":
        redis.delete("nasdaq:watchlist_last_update")
    elif kind == "foreign update":
        redis.set("nasdaq:watchlist_last_update", "yesterday")


DAMAGES = {
    "missing": "it has 14 symbols, and 15 were written: S004 is missing or too many",
    "changed bar": "S004 differs from the replica",
    "lost bar": "S004 differs from the replica", "changed facts": "S004 differs from the replica",
    "too many": "it has 16 symbols, and 15 were written: ZZZ is",
    "no utf-8": r"15 were written: \\udcff is missing or too many",
    "wrong type": "nasdaq:watchlist_data:S004 is no hash", "for ever": "S004 would stay for ever",
    "no update": "it has no watchlist_last_update", "foreign update": "it has no watchlist_last_update",
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_named_and_the_next_sync_repairs_it(redis, fed, kind):
    damaged(redis, kind)
    with pytest.raises(RedisUnhealthyError, match=DAMAGES[kind]) as raised:
        checked()
    assert "RedisWatchlistSync --date 2024-02-15" in str(raised.value)
    with connect() as client:
        assert sync(client, read_feed(DAY)).mode == "full"
    checked()
    assert_holds(redis, fed, DAY, fed.symbols[:15])


def test_too_few_symbols_are_a_failure_unless_the_watchlist_has_no_more(redis, fed, settings):
    fed.first = dict.fromkeys(fed.symbols[:10], dt.date(2030, 1, 1))  # ten of fifteen have no bars
    fed.publish(DAY)
    with connect() as client:
        assert sync(client, read_feed(DAY)).synced == 5
    with pytest.raises(RedisUnhealthyError, match="it has 5 symbols, fewer than 10"):
        checked()
    settings("redis", min_keys=5)
    with connect() as client:
        sync(client, read_feed(DAY))
    checked()


def test_memory_above_the_limit_is_a_failure_of_the_server_and_not_of_the_feed(redis, fed, settings):
    settings("redis", max_memory_mb=1)
    redis.set("ballast", "x" * 2_000_000)
    with pytest.raises(RedisUnhealthyError, match=r"MB of memory are in use, and \[redis\] max_memory_mb = 1"):
        checked()
    assert redis_state.read(redis) is not None
    settings("redis", max_memory_mb=0)
    checked()


def test_a_feed_of_another_day_or_session_is_too_old(redis, fed):
    fed.scans[NEXT] = fed.symbols[:15]
    fed.publish(NEXT)
    with pytest.raises(
        RedisUnhealthyError,
        match="it was last updated for 2024-02-15; it ends with session 2024-02-15, and should with 2024-02-16",
    ):
        checked(SATURDAY)


def test_samples_are_a_part_of_many_symbols(redis, fed, settings):
    settings("redis", health_samples=4)
    assert checked()["samples"] == 4


def test_a_message_names_five_problems_and_counts_the_others(redis, fed, settings):
    settings("redis", health_samples=15)
    for symbol in fed.symbols[:8]:
        redis.delete(KEY + symbol)
    with pytest.raises(RedisUnhealthyError) as raised:
        checked()
    problems = str(raised.value).partition(" is not healthy: ")[2].partition(". The next run")[0].split("; ")
    assert len(problems) == 6
    assert problems[:2] == [
        "it has 7 symbols, and 15 were written: S000, S001, S002, S003, S004 are missing or too many",
        "it has 7 symbols, fewer than 10 ([redis] min_keys, or the length of the watchlist)",
    ]
    assert problems[5] == "and 5 more"


@pytest.fixture
def signalled(fed):
    """A feed whose triggers are there too."""
    with connect() as client:
        state = redis_state.read(client)
        signals.prepare(client, state)
        redis_state.tick(client, "PrepareSignals", state)
    return fed


TRIGGER = "nasdaq:signal_trigger:S004:20240215T210000Z"
TRIGGER_DAMAGES = {
    f"del {TRIGGER}": f"{TRIGGER} is missing", f"set {TRIGGER} {{}} EX 9": f"{TRIGGER} differs from the replica",
    f"persist {TRIGGER}": f"{TRIGGER} would stay for ever",
    "set nasdaq:signal_trigger:Z:20240215T210000Z {} EX 9":
        "signal_trigger:Z:20240215T210000Z is a trigger that its session does not have",
}  # fmt: skip


def test_triggers_that_were_written_are_healthy(redis, signalled):
    checked()


@pytest.mark.parametrize("damage", TRIGGER_DAMAGES)
def test_damaged_triggers_are_named_and_the_next_run_repairs_them(redis, signalled, damage):
    redis.execute_command(*damage.split())
    with pytest.raises(RedisUnhealthyError, match=TRIGGER_DAMAGES[damage]):
        checked()
    with connect() as client:
        state = sync(client, read_feed(DAY))
        signals.prepare(client, state)
        check_triggers(client, state)
