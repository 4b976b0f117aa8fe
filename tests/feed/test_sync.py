"""The feed on a real server: what is in Redis is what should be there, whatever was there before."""

import contextlib
import datetime as dt
import json
import signal
import subprocess
import sys
import threading
import types

import luigi.configuration
import pytest
import redis as redis_package
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pipeline.database import connection
from pipeline.errors import (
    ConfigurationError,
    FeedOutdatedError,
    RedisFullError,
    RedisOvertakenError,
    RedisUnhealthyError,
)
from pipeline.feed.content import check_session, read_feed
from pipeline.feed.hashes import Hashes
from pipeline.feed.server import connect
from pipeline.feed.switch import switch
from pipeline.feed.sync import FULL, INCREMENTAL, NEW_SYMBOLS, sync
from tests.support.feed import DAY, NEXT, SATURDAY, SESSIONS, TUESDAY, FeedData, bars_in

pytestmark = pytest.mark.redis

KEY = "nasdaq:watchlist_data:"


@pytest.fixture
def data(data_dir, settings):
    feed = FeedData()
    feed.scans = {DAY: feed.symbols[:8]}
    return feed


def synced(day, **options):
    with connect() as client:
        return sync(client, read_feed(day), **options)


def publish_and_sync(data, day, **options):
    data.publish(day)
    return synced(day, **options)


def assert_holds(redis, data, day, symbols):
    """Redis holds these symbols with the bars that the tables were filled with, and nothing more."""
    state = json.loads(redis.get("nasdaq:watchlist_last_update"))
    assert sorted(key.removeprefix(KEY) for key in redis.scan_iter(f"{KEY}*")) == sorted(symbols)
    assert not list(redis.scan_iter("nasdaq:watchlist_staged:*")) + list(redis.scan_iter("nasdaq:watchlist_replaced:*"))
    for symbol in symbols:
        fields = redis.hgetall(KEY + symbol)
        wanted = data.hash_of(symbol, day)
        assert bars_in(fields) == wanted
        meta = json.loads(fields["meta"])
        assert (meta["bars"], meta["first_date"], meta["last_date"]) == (len(wanted), min(wanted), max(wanted))
        assert {name: fields[name] for name in ("sync_id", "session", "schema")} == {
            "sync_id": state["sync_id"], "session": state["session"], "schema": "2",
        }  # fmt: skip
        assert len(fields) == len(wanted) + 4
        assert 0 < redis.ttl(KEY + symbol) <= 14 * 86_400
    assert state["symbols"] == sorted(symbols)
    assert (state["day"], state["synced"]) == (str(day), len(symbols))


def update_of(redis):
    return json.loads(redis.get("nasdaq:watchlist_last_update"))


def assert_is_whole(redis, data):
    """Each symbol of the last update, and no other, has the bars of its day and the version that it names."""
    update = update_of(redis)
    assert sorted(key.removeprefix(KEY) for key in redis.scan_iter(f"{KEY}*")) == update["symbols"]
    for symbol in update["symbols"]:
        fields = redis.hgetall(KEY + symbol)
        assert bars_in(fields) == data.hash_of(symbol, dt.date.fromisoformat(update["day"]))
        assert fields["sync_id"] == update["sync_id"]


def test_the_first_sync_is_full(redis, data):
    state = publish_and_sync(data, DAY)
    assert (state.mode, state.new, state.updated, state.removed, state.synced, state.total) == (FULL, 8, 0, 0, 8, 8)
    assert_holds(redis, data, DAY, data.symbols[:8])
    meta = json.loads(redis.hget(KEY + "S003", "meta"))
    asked = ("name", "sector", "market_cap", "market_cap_tier", "scan_date", "scan_reason", "priority")
    assert {name: meta[name] for name in asked} == {
        "name": "S003 <Inc.>", "sector": "Technology", "market_cap": 2.5e9, "market_cap_tier": 3,
        "scan_date": "2024-02-15", "scan_reason": "scan 2024-02-15", "priority": 1,
    }  # fmt: skip


def test_the_next_day_adds_its_bar_the_new_symbols_and_drops_those_that_left(redis, data):
    data.scans = {DAY - dt.timedelta(days=6): data.symbols[:3], DAY: data.symbols[2:8]}
    publish_and_sync(data, DAY)
    data.scans[NEXT] = data.symbols[6:10]
    state = publish_and_sync(data, NEXT)
    assert (state.mode, state.new, state.updated, state.removed) == (INCREMENTAL, 2, 6, 2)
    assert_holds(redis, data, NEXT, data.symbols[2:10])
    assert json.loads(redis.hget(KEY + "S007", "meta"))["scan_reason"] == f"scan {NEXT}"


def written(redis, action):
    """The names of the commands that an action sends, with their numbers, scripts' own among them."""
    redis.config_resetstat()
    action()
    return {name.removeprefix("cmdstat_"): facts["calls"] for name, facts in redis.info("commandstats").items()}


@pytest.mark.parametrize("scanned", [DAY, DAY - dt.timedelta(days=3)])
def test_an_ordinary_day_sends_the_new_bar_alone(redis, data, scanned):
    data.scans = {scanned: data.symbols[:8]}
    publish_and_sync(data, DAY)
    data.publish(NEXT)
    before = redis.info("stats")["total_net_input_bytes"]
    commands = written(redis, lambda: synced(NEXT))
    sent = redis.info("stats")["total_net_input_bytes"] - before
    whole = sum(len(json.dumps(redis.hgetall(KEY + symbol))) for symbol in data.symbols[:8])
    assert commands["hset"] == 8 + 1 and commands["hdel"] == 8  # the symbols, and the stages
    assert not {"copy", "rename"} & commands.keys()
    assert sent < 0.5 * whole


#: Syncs NEXT with data_dir and Redis of the arguments, and is killed when the named function is called the n-th time,
#: or when half of the transaction was sent.
KILLED = """
import datetime, itertools, operator, os, signal, sys
from unittest import mock
import pipeline
import luigi.configuration

data_dir, url, day, function, count = sys.argv[1:]
config = luigi.configuration.get_config()
config.set("storage", "data_dir", data_dir)
config.set("redis", "url", url)
from pipeline.feed import sync as redis_sync
from pipeline.feed.content import read_feed
from pipeline.feed.server import connect
from tests.support.sending import end_half_sent

calls = itertools.count(1)

def last(*arguments):
    if next(calls) == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

if function == "half":
    end_half_sent()
else:
    original = operator.attrgetter(function)(pipeline)
    mock.patch(f"pipeline.{function}", last).start()
with connect() as client:
    redis_sync.sync(client, read_feed(datetime.date.fromisoformat(day)))
"""


@pytest.mark.parametrize(
    ("function", "count"),
    [
        ("feed.comparison.Comparison.request", 3),
        ("feed.hashes.fields_of", 2),
        ("feed.sync.switch", 1),
        ("feed.switch._announcement", 1),
        ("half", 1),
        ("feed.hashes.Hashes.forget", 3),
    ],
)
def test_killed_in_the_middle(redis, data, data_dir, function, count):
    publish_and_sync(data, DAY)
    data.scans[NEXT] = data.symbols[:12]
    data.publish(NEXT)
    url = luigi.configuration.get_config().get("redis", "url")
    run = subprocess.run([sys.executable, "-c", KILLED, data_dir, url, str(NEXT), function, str(count)], timeout=60)
    assert run.returncode == -signal.SIGKILL
    switched = function == "feed.hashes.Hashes.forget"
    assert update_of(redis)["day"] == str(NEXT if switched else DAY)
    assert_is_whole(redis, data)
    assert synced(NEXT).mode == (NEW_SYMBOLS if switched else INCREMENTAL)
    assert_holds(redis, data, NEXT, data.symbols[:12])


def test_a_second_sync_of_the_day_finds_nothing_to_do(redis, data):
    publish_and_sync(data, DAY)
    state = synced(DAY)
    assert (state.mode, state.new, state.updated, state.removed) == (NEW_SYMBOLS, 0, 0, 0)


def test_a_second_sync_of_the_day_adds_what_a_rerun_has_found(redis, data):
    publish_and_sync(data, DAY)
    data.scans[DAY] = data.symbols[1:9]
    state = publish_and_sync(data, DAY)
    assert (state.mode, state.new, state.removed) == (NEW_SYMBOLS, 1, 1)
    assert_holds(redis, data, DAY, data.symbols[1:9])


@pytest.mark.parametrize("day", [DAY, NEXT])
def test_a_corrected_bar_is_rewritten(redis, data, day):
    publish_and_sync(data, DAY)
    data.corrections["S002", SESSIONS[SESSIONS.index(DAY) - 9]] = (1.0, 2.0, 0.5, 1.5, 7)
    state = publish_and_sync(data, day)
    assert state.mode != FULL
    assert_holds(redis, data, day, data.symbols[:8])


@pytest.mark.parametrize("day", [DAY, NEXT])
def test_a_split_rewrites_the_history(redis, data, day):
    publish_and_sync(data, DAY)
    data.splits["S004"] = 4.0
    publish_and_sync(data, day)
    assert_holds(redis, data, day, data.symbols[:8])


def test_a_bar_that_the_source_took_back_goes(redis, data):
    publish_and_sync(data, DAY)
    data.last["S005"] = SESSIONS[SESSIONS.index(DAY) - 1]
    publish_and_sync(data, DAY)
    assert_holds(redis, data, DAY, data.symbols[:8])


def test_symbols_with_a_short_history_a_halt_and_no_bar_at_all(redis, data):
    data.first["S001"] = SESSIONS[SESSIONS.index(DAY) - 4]
    data.last["S002"] = SESSIONS[SESSIONS.index(DAY) - 2]
    data.first["S003"] = dt.date(2030, 1, 1)
    state = publish_and_sync(data, DAY)
    assert (state.synced, state.total) == (7, 8)
    present = [symbol for symbol in data.symbols[:8] if symbol != "S003"]
    assert_holds(redis, data, DAY, present)
    state = publish_and_sync(data, NEXT)
    assert (state.updated, state.removed) == (6, 0)
    assert_holds(redis, data, NEXT, present)


@pytest.mark.parametrize(("day", "mode"), [(SATURDAY, FULL), (TUESDAY, INCREMENTAL), (dt.date(2024, 2, 22), FULL)])
def test_the_mode_follows_from_the_days(redis, data, day, mode):
    publish_and_sync(data, DAY)
    data.scans[NEXT] = data.symbols[:5]
    assert publish_and_sync(data, day).mode == mode
    assert_holds(redis, data, day, data.symbols[: 5 if day.day == 22 else 8])


def test_force_writes_everything(redis, data):
    publish_and_sync(data, DAY)
    redis.hset(KEY + "S001", "2024-02-15", "{}")
    state = synced(DAY, force_full=True)
    assert (state.mode, state.updated) == (FULL, 8)
    assert_holds(redis, data, DAY, data.symbols[:8])


def test_an_earlier_day_that_is_forced_brings_its_own_state_back(redis, data):
    data.scans[NEXT] = data.symbols[8:]
    publish_and_sync(data, NEXT)
    synced(DAY, force_full=True)
    assert_holds(redis, data, DAY, data.symbols[:8])


def test_an_empty_watchlist_is_an_empty_feed(redis, data):
    data.scans = {DAY: []}
    state = publish_and_sync(data, DAY)
    assert (state.synced, state.total) == (0, 0)
    assert_holds(redis, data, DAY, [])


@pytest.mark.parametrize(
    "damage",
    [
        "del {key}", "set {key} text", "hdel {key} meta", "hset {key} meta {{}}", "hdel {key} sync_id",
        "hset {key} sync_id x",
        "hdel {key} 2024-02-14", "hset {key} 2024-02-14 {{}}", "hset {key} 2024-02-17 {{}}", "hset {key} more 1",
        "persist {key}", "expire {key} 5", "rpush other:{key} 1", "hset nasdaq:watchlist_data:ZZZ a b",
        "set nasdaq:watchlist_data:ZZZ x", "set nasdaq:watchlist_staged:ZZZ x",
        "rpush nasdaq:watchlist_replaced:S001 x",
        "rpush nasdaq:watchlist_last_update x", "set nasdaq:watchlist_stages x", "set nasdaq:watchlist_updates x",
        "set nasdaq:watchlist_last_update []", "del nasdaq:watchlist_last_update",
    ],
)  # fmt: skip
@pytest.mark.parametrize("day", [DAY, NEXT])
def test_what_was_damaged_is_repaired_by_the_next_sync(redis, data, damage, day):
    publish_and_sync(data, DAY)
    command, name, *rest = damage.format(key=KEY + "S001").split()
    if command in ("set", "rpush"):
        redis.delete(name)
    redis.execute_command(command, name, *rest)
    publish_and_sync(data, day)
    assert_holds(redis, data, day, data.symbols[:8])
    assert redis.type("nasdaq:watchlist_updates") == "stream"


def exchange_bars(redis, name):
    first, second = redis.hmget(name, "2024-02-13", "2024-02-14")
    redis.hset(name, mapping={"2024-02-13": second, "2024-02-14": first})


def move_a_bar(redis, name):
    redis.hset(name, "2024-02-17", redis.hget(name, "2024-02-14"))
    redis.hdel(name, "2024-02-14")


def put_another_field_for_meta(redis, name):
    redis.hdel(name, "meta")
    redis.hset(name, "more", "1")


def write_as_an_answer_does(redis, name):
    """A bar and the one behind it in one value, as they stand in an answer of the server."""
    first, second = redis.hmget(name, "2024-02-13", "2024-02-14")
    redis.hset(name, "2024-02-13", f"{first}\r\n${len(second)}\r\n{second}")
    redis.hdel(name, "2024-02-14")


def end_as_an_answer_does(redis, name):
    """A field too many, and a `meta` that ends with what is answered for a hash without it."""
    redis.hset(name, mapping={"more": "1", "meta": "{}\r\n:34\r\n:1\r\n"})


@pytest.mark.parametrize("day", [DAY, NEXT])
@pytest.mark.parametrize(
    "damage",
    [exchange_bars, move_a_bar, put_another_field_for_meta, write_as_an_answer_does, end_as_an_answer_does],
)
def test_damage_that_resembles_a_right_hash_is_repaired_by_the_next_sync(redis, data, damage, day):
    publish_and_sync(data, DAY)
    damage(redis, KEY + "S001")
    publish_and_sync(data, day)
    assert_holds(redis, data, day, data.symbols[:8])


@pytest.mark.parametrize("day", [DAY, NEXT])
def test_damaged_hashes_that_are_asked_for_together_leave_the_others_as_they_are(redis, data, day):
    publish_and_sync(data, DAY)
    redis.delete(KEY + "S000")
    write_as_an_answer_does(redis, KEY + "S002")
    end_as_an_answer_does(redis, KEY + "S004")
    redis.delete(KEY + "S005")
    redis.set(KEY + "S005", "$-1\r\n")
    put_another_field_for_meta(redis, KEY + "S007")
    publish_and_sync(data, day)
    assert_holds(redis, data, day, data.symbols[:8])
    told = entries(redis)[-1]
    assert told["new"] == ["S000"] and told["changed"] == ["S002", "S004", "S005", "S007"]
    assert told["amended"] == (["S001", "S003", "S006"] if day == NEXT else [])


@pytest.mark.parametrize("name", [b"nasdaq:watchlist_data:\xff\xfe", b"nasdaq:watchlist_staged:\xff"])
def test_a_name_or_a_value_that_is_no_utf_8_is_repaired_by_the_next_sync(redis, redis_server, data, name):
    publish_and_sync(data, DAY)
    with redis_package.Redis(port=redis_server.port) as client:
        client.set(name, b"\xff")
        client.hset(KEY + "S001", "2024-02-14", b"\xff\x00")
        client.hset(KEY + "S002", b"\xfe", b"\xff")
    publish_and_sync(data, DAY)
    assert_holds(redis, data, DAY, data.symbols[:8])


def entries(redis):
    return [
        {name: json.loads(value) if value[0] == "[" else value for name, value in fields.items()}
        for _, fields in redis.xrange("nasdaq:watchlist_updates")
    ]


def test_each_switch_is_told_on_the_stream(redis, data):
    data.scans = {DAY - dt.timedelta(days=6): data.symbols[:3], DAY: data.symbols[2:8]}
    first = publish_and_sync(data, DAY)
    data.scans[NEXT] = data.symbols[6:10]
    data.corrections["S004", DAY] = (1.0, 2.0, 0.5, 1.5, 7)
    second = publish_and_sync(data, NEXT)
    third = synced(NEXT)
    assert entries(redis) == [
        {"day": "2024-02-15", "session": "2024-02-15", "sync_id": first.sync_id, "mode": "full", "schema": "2",
         "new": data.symbols[:8], "removed": [], "changed": [], "amended": []},
        {"day": "2024-02-16", "session": "2024-02-16", "sync_id": second.sync_id, "mode": "incremental", "schema": "2",
         "new": ["S008", "S009"], "removed": ["S000", "S001"], "changed": ["S004"],
         "amended": ["S002", "S003", "S005", "S006", "S007"]},
        {"day": "2024-02-16", "session": "2024-02-16", "sync_id": third.sync_id, "mode": "new_symbols", "schema": "2",
         "new": [], "removed": [], "changed": [], "amended": []},
    ]  # fmt: skip
    assert 0 < redis.ttl("nasdaq:watchlist_updates") <= 14 * 86_400


def test_a_sync_that_another_one_has_overtaken_changes_nothing(redis, data, monkeypatch):
    publish_and_sync(data, DAY)
    data.publish(NEXT)

    def overtaken(*arguments):
        monkeypatch.undo()
        synced(NEXT)
        return switch(*arguments)

    monkeypatch.setattr("pipeline.feed.sync.switch", overtaken)
    with pytest.raises(
        RedisOvertakenError, match="run again: luigi --module pipeline RedisWatchlistSync --date 2024-02-16"
    ):
        synced(NEXT)
    assert_is_whole(redis, data)
    assert len(entries(redis)) == 2


@contextlib.contextmanager
def before_the_switch(monkeypatch, happens):
    """A sync within sees `happens()` between what it has found out and staged, and its switch."""

    def late(*arguments):
        happens()
        return switch(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.feed.sync.switch", late)
        yield


@pytest.mark.parametrize(
    ("damage", "force"),
    [
        ("del nasdaq:watchlist_staged:S003", True), ("del nasdaq:watchlist_data:S003", False),
        ("hdel nasdaq:watchlist_data:S003 meta", False), ("hset nasdaq:watchlist_data:S003 2024-02-16 {}", False),
        ("hdel nasdaq:watchlist_data:S003 sync_id", False),
    ],
)  # fmt: skip
def test_hashes_that_were_lost_before_the_switch_are_noticed(redis, data, monkeypatch, damage, force):
    """As on a server that throws keys away when it is full, or one that others write to."""
    publish_and_sync(data, DAY)
    data.publish(NEXT)

    with (
        before_the_switch(monkeypatch, lambda: redis.execute_command(*damage.split())),
        pytest.raises(RedisUnhealthyError, match="lost 1 of 8 symbols"),
    ):
        synced(NEXT, force_full=force)
    assert redis.get("nasdaq:watchlist_last_update") is None
    assert synced(NEXT).mode == FULL
    assert_holds(redis, data, NEXT, data.symbols[:8])


def test_a_bar_that_was_lost_before_the_switch_which_drops_it_is_no_loss(redis, data, monkeypatch):
    publish_and_sync(data, DAY)
    data.publish(NEXT)
    with before_the_switch(monkeypatch, lambda: redis.hdel(KEY + "S003", "2024-01-04")):
        synced(NEXT)
    assert_holds(redis, data, NEXT, data.symbols[:8])


def test_a_hash_that_became_another_key_before_the_switch_is_noticed(redis, data, monkeypatch):
    publish_and_sync(data, DAY)
    data.publish(NEXT)

    with (
        before_the_switch(monkeypatch, lambda: redis.set(KEY + "S003", "x")),
        pytest.raises(RedisUnhealthyError, match="lost 1 of 8 symbols while it was fed .*WRONGTYPE"),
    ):
        synced(NEXT)
    assert synced(NEXT).mode == FULL
    assert_holds(redis, data, NEXT, data.symbols[:8])


def test_a_server_that_has_forgotten_its_scripts_gets_them_again(redis, data, monkeypatch):
    publish_and_sync(data, DAY)
    data.publish(NEXT)

    redis.script_flush()
    with before_the_switch(monkeypatch, redis.script_flush):
        assert synced(NEXT).mode == INCREMENTAL
    assert_holds(redis, data, NEXT, data.symbols[:8])


def test_a_server_that_is_full_at_the_switch_keeps_the_version_before(redis, data, monkeypatch):
    publish_and_sync(data, DAY)
    data.publish(NEXT)

    with before_the_switch(monkeypatch, lambda: redis.config_set("maxmemory", "100kb")), pytest.raises(RedisFullError):
        synced(NEXT)
    redis.config_set("maxmemory", "0")
    assert_holds(redis, data, DAY, data.symbols[:8])
    assert synced(NEXT).mode == INCREMENTAL
    assert_holds(redis, data, NEXT, data.symbols[:8])


FOREIGN = {
    "watchlist_data:S001": "x", "signal_trigger:S001:20200101T000000Z": "x", "temp_x": "x",
    "other:nasdaq:watchlist_data:S1": "x",
    "nasdaqwatchlist_data:S1": "x", "watchlist_last_update": "x",
}  # fmt: skip


def test_foreign_keys_are_never_touched(redis, data):
    redis.mset(FOREIGN)
    publish_and_sync(data, DAY)
    publish_and_sync(data, NEXT)
    synced(NEXT, force_full=True)
    assert {key: redis.get(key) for key in FOREIGN} == FOREIGN


def test_a_prefix_with_the_signs_of_a_pattern_is_a_plain_name(redis, data, settings):
    settings("redis", prefix="a*[b]?:")
    redis.set("aXbc:watchlist_data:S999", "foreign")
    publish_and_sync(data, DAY)
    publish_and_sync(data, NEXT)
    with connect() as client:
        assert Hashes(client, {}).present() == set(data.symbols[:8])
    assert redis.get("aXbc:watchlist_data:S999") == "foreign"


def test_keys_are_found_without_stopping_the_server(redis, data):
    data.publish(DAY)
    commands = written(redis, lambda: synced(DAY))
    assert not {"keys", "flushdb", "flushall"} & commands.keys()


def test_the_replica_is_read_by_one_query_for_any_number_of_symbols(redis, data, monkeypatch):
    asked = []
    data.publish(DAY)
    opened = connection._opened

    @contextlib.contextmanager
    def counting(path, read_only):
        with opened(path, read_only) as opening:
            yield types.SimpleNamespace(execute=lambda *query: asked.append(query[0]) or opening.execute(*query))

    monkeypatch.setattr(connection, "_opened", counting)
    read_feed(DAY)
    assert len([query for query in asked if "stock_data" in query]) == 1
    assert len(asked) <= 2


def test_without_a_replica_or_its_session_the_error_says_what_to_run(redis, data):
    with pytest.raises(FeedOutdatedError, match="DailyPipeline --date 2024-02-15"):
        read_feed(DAY)
    data.publish(DAY)
    with pytest.raises(FeedOutdatedError, match="no watchlist of 2024-02-14 or before"):
        read_feed(DAY - dt.timedelta(days=1))
    with pytest.raises(
        FeedOutdatedError, match="2024-02-16 is wanted; run: luigi --module pipeline DailyPipeline --date 2024-02-16"
    ):
        check_session(read_feed(SATURDAY))


def test_a_ttl_that_would_end_within_the_watch_is_refused(redis, data, settings):
    settings("redis", ttl_days=7)
    data.publish(DAY)
    with pytest.raises(ConfigurationError, match="ttl_days = 7"):
        synced(DAY)


def whole_version(client):
    """A version as docs/redis.md has it read: the update, the hashes that name it, and how often it was begun anew."""
    for attempt in range(1000):
        update = json.loads(client.get("nasdaq:watchlist_last_update"))
        pipe = client.pipeline(transaction=False)
        for symbol in update["symbols"]:
            pipe.hgetall(KEY + symbol)
        found = dict(zip(update["symbols"], pipe.execute(), strict=True))
        if all(fields.get("sync_id") == update["sync_id"] for fields in found.values()):
            return update, found, attempt
    raise AssertionError("no whole version")


def test_a_reader_sees_one_version_or_the_other_whole(redis, redis_server, data):
    """Readers at full speed while the feed goes to and fro between two days, two lists and two bases of adjustment."""
    data.publish(NEXT)
    before = read_feed(NEXT)
    data.splits = dict.fromkeys(data.symbols, 3.0)
    data.scans[TUESDAY] = data.symbols[4:12]
    data.publish(TUESDAY)
    after = read_feed(TUESDAY)
    with connect() as client:
        sync(client, before)
    valid = {str(feed.day): {symbol: data_of(feed, symbol) for symbol in feed.entries} for feed in (before, after)}
    wrong, seen, stop = [], set(), threading.Event()

    def read():
        with redis_server.client() as reader:
            while not stop.is_set():
                update, found, _ = whole_version(reader)
                seen.add(update["day"])
                if {symbol: bars_in(fields) for symbol, fields in found.items()} != valid[update["day"]]:
                    wrong.append(update["day"])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    with connect() as client:
        for _ in range(20):
            sync(client, after)
            sync(client, before, force_full=True)
    stop.set()
    for thread in readers:
        thread.join()
    assert not wrong
    assert seen == {"2024-02-16", "2024-02-20"}


def data_of(feed, symbol):
    entry = feed.entries[symbol]
    return {date: json.loads(bar) for date, bar in entry.fed().items()}


steps = st.lists(
    st.tuples(
        st.sampled_from([DAY, NEXT, SATURDAY, TUESDAY]),
        st.sets(st.integers(0, 5), max_size=6),  # on the watchlist
        st.dictionaries(st.integers(0, 5), st.sampled_from([2.0, 4.0]), max_size=2),  # split
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 35)), max_size=3),  # corrected
        st.sampled_from(["", "", "flush", "lose"]),
        st.booleans(),
    ),
    min_size=2, max_size=4,
)  # fmt: skip


@examples(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_whatever_happened_before_redis_holds_what_the_replica_says(redis, data_dir, history):
    """The law of the feed: its content depends on the day and the replica alone."""
    redis.flushall()
    data = FeedData(6)
    for day, listed, splits, corrected, accident, force in sorted(history, key=lambda step: step[0]):
        data.scans = {
            session: [data.symbols[number] for number in sorted(listed)]
            for session in (DAY, NEXT, TUESDAY)
            if session <= day
        }
        data.splits.update({data.symbols[number]: factor for number, factor in splits.items()})
        for number, back in corrected:
            data.corrections[data.symbols[number], SESSIONS[SESSIONS.index(DAY) - back]] = (1.0, 2.0, 0.5, 1.5, back)
        if accident == "flush":
            redis.flushall()
        if accident == "lose":
            redis.delete(KEY + "S000", KEY + "S003")
        publish_and_sync(data, day, force_full=force)
        assert_holds(redis, data, day, [data.symbols[number] for number in listed])
