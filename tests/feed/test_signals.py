"""Triggers: the levels of the tables as keys, what becomes of them on the stream, and what is deleted when."""

import datetime as dt
import json
import math

import duckdb
import pytest

from pipeline.config import ROOT
from pipeline.database.replica import replica_path
from pipeline.feed import signals
from pipeline.feed.content import read_feed
from pipeline.feed.server import connect
from pipeline.feed.sync import sync
from tests.support.feed import DAY, NEXT, SESSIONS, FeedData

pytestmark = pytest.mark.redis

STREAM, READY = "nasdaq:signal_triggers", "nasdaq:signal_detection_ready"


@pytest.fixture
def data(redis, data_dir):
    feed = FeedData()
    feed.scans = {DAY: feed.symbols[:4]}
    feed.publish(DAY)
    return feed


def prepared(day=DAY):
    with connect() as client:
        return signals.prepare(client, sync(client, read_feed(day)))


def events(redis, start="-"):
    """What the stream says: each time the event, the symbol and the session."""
    entries = [(fields["event"], json.loads(fields["trigger"])) for _, fields in redis.xrange(STREAM, start)]
    return [(event, trigger["symbol"], trigger["session"]) for event, trigger in entries]


def newest(redis):
    """Where the entries of later begin."""
    return "(" + redis.xrevrange(STREAM, count=1)[0][0]


def triggers(redis):
    return {name: json.loads(redis.get(name)) for name in redis.scan_iter("nasdaq:signal_trigger:*")}


def test_a_trigger_holds_the_levels_of_its_session(redis, data):
    assert prepared() == {"ready": 4, "total": 4, "triggers": 4, "restated": 0, "withdrawn": 0}
    found = triggers(redis)
    assert sorted(found) == [f"nasdaq:signal_trigger:S00{n}:20240215T210000Z" for n in range(4)]  # 16:00 in New York
    close = data.bar("S002", DAY)[3]
    volumes = [bar["volume"] for bar in data.hash_of("S002", DAY, 30).values()]
    usual = sum(volumes) / 30
    sync_id = json.loads(redis.get("nasdaq:watchlist_last_update"))["sync_id"]
    assert found["nasdaq:signal_trigger:S002:20240215T210000Z"] == {
        "sync_id": sync_id, "schema": 2, "session": "2024-02-15", "symbol": "S002", "scan": "scan 2024-02-15",
        "scan_date": "2024-02-15", "priority": 1, "market_cap_tier": 3, "date": "2024-02-15", "close": close,
        "rsi_14": 28.5, "bb_lower": close * 0.9, "bb_middle": close,
        "bb_upper": close * 1.1, "bb_position": 0.5, "avg_volume_30": 1000001.0, "bars": 60,
        "next_avg_volume_30": pytest.approx(usual), "volume_threshold": math.floor(1.5 * usual),
        "volume_final": False,
    }  # fmt: skip


def test_the_number_of_ready_symbols_holds_for_an_hour(redis, data):
    data.first["S001"] = SESSIONS[SESSIONS.index(DAY) - 18]  # 19 bars
    data.first["S002"] = SESSIONS[SESSIONS.index(DAY) - 19]  # 20 bars
    data.first["S003"] = dt.date(2030, 1, 1)  # none
    data.publish(DAY)
    prepared()
    ready = json.loads(redis.get(READY))
    assert (ready["ready"], ready["total"], ready["symbols"], ready["session"]) == (
        2,
        4,
        ["S000", "S002"],
        "2024-02-15",
    )
    assert 3590 < redis.ttl(READY) <= 3600
    assert len(triggers(redis)) == 2


def test_a_trigger_outlives_the_days_after_which_it_is_deleted_by_one(redis, data):
    """Whoever cleans up a day late still finds it; one that nobody deletes goes by itself."""
    prepared()
    lifetimes = {redis.ttl(name) for name in triggers(redis)}
    assert all(7 * 86_400 < lifetime <= 8 * 86_400 for lifetime in lifetimes)


def test_a_level_that_is_not_there_is_null(redis, data):
    data.last["S001"] = SESSIONS[SESSIONS.index(DAY) - 3]  # its newest bar is older, and so are its levels
    data.publish(DAY)
    prepared()
    found = triggers(redis)["nasdaq:signal_trigger:S001:20240215T210000Z"]
    assert found["date"] == str(data.last["S001"])
    assert found["close"] == data.bar("S001", data.last["S001"])[3]


def test_the_stream_has_each_trigger_once(redis, data):
    prepared()
    prepared()
    data.scans[NEXT] = data.symbols[2:6]
    data.publish(NEXT)
    prepared(NEXT)
    prepared(NEXT)
    entries = [fields for _, fields in redis.xrange(STREAM)]
    names = [fields["key"] for fields in entries]
    assert len(names) == len(set(names)) == 4 + 6
    said = {fields["key"]: signals.levels_in(fields["trigger"]) for fields in entries}
    assert said == {name: signals.comparable(trigger) for name, trigger in triggers(redis).items()}
    assert 0 < redis.ttl(STREAM) <= 14 * 86_400


@pytest.mark.parametrize(("bars", "known"), [(29, False), (30, True)])
def test_the_volume_threshold_is_of_thirty_bars_with_the_session_s_own(redis, data, bars, known):
    data.first["S001"] = SESSIONS[SESSIONS.index(DAY) - bars + 1]
    data.publish(DAY)
    prepared()
    trigger = triggers(redis)["nasdaq:signal_trigger:S001:20240215T210000Z"]
    volumes = [bar["volume"] for bar in data.hash_of("S001", DAY).values()]
    assert trigger["volume_threshold"] == (math.floor(1.5 * sum(volumes) / 30) if known else None)
    more = 3000 + (19 - sum(volumes)) % 20  # 1.5 times the mean is 0.95 above a whole share
    data.corrections["S001", DAY] = (*data.bar("S001", DAY)[:4], data.bar("S001", DAY)[4] + more)
    data.publish(DAY)
    prepared()
    later = triggers(redis)["nasdaq:signal_trigger:S001:20240215T210000Z"]
    if known:
        assert later["volume_threshold"] < 1.5 * (sum(volumes) + more) / 30 < later["volume_threshold"] + 1
        assert later["volume_threshold"] >= trigger["volume_threshold"] + 150


def test_a_trigger_says_whether_its_volume_was_final(redis, data):
    with duckdb.connect(str(replica_path())) as connection:
        connection.execute("UPDATE stock_data SET is_final = (symbol = 'S001') WHERE date = ?", [DAY])
    prepared()
    said = {trigger["symbol"]: trigger["volume_final"] for trigger in triggers(redis).values()}
    assert said == {"S000": False, "S001": True, "S002": False, "S003": False}


def test_a_corrected_trigger_is_restated(redis, data):
    prepared()
    start = newest(redis)
    data.corrections["S001", DAY] = (1.0, 2.0, 0.5, 1.5, 7)
    data.publish(DAY)
    facts = prepared()
    assert (facts["triggers"], facts["restated"], facts["withdrawn"]) == (0, 1, 0)
    assert events(redis, start) == [("restated", "S001", "2024-02-15")]
    assert json.loads(redis.xrevrange(STREAM, count=1)[0][1]["trigger"])["close"] == 1.5


def test_what_a_stricter_rerun_does_not_find_is_withdrawn(redis, data):
    prepared()
    start = newest(redis)
    data.scans = {DAY: data.symbols[1:2]}
    data.publish(DAY)
    facts = prepared()
    assert (facts["ready"], facts["triggers"], facts["restated"], facts["withdrawn"]) == (1, 0, 0, 3)
    assert list(triggers(redis)) == ["nasdaq:signal_trigger:S001:20240215T210000Z"]
    assert sorted(events(redis, start)) == [("withdrawn", f"S00{n}", "2024-02-15") for n in (0, 2, 3)]


def test_a_split_restates_the_triggers_of_the_sessions_before(redis, data):
    prepared()
    start = newest(redis)
    data.splits["S002"] = 4.0
    data.scans[NEXT] = []
    data.publish(NEXT)
    prepared(NEXT)
    said = events(redis, start)
    assert [event for event in said if event[0] != "trigger"] == [("restated", "S002", "2024-02-15")]
    assert len(said) == 1 + 4
    assert triggers(redis)["nasdaq:signal_trigger:S002:20240215T210000Z"]["close"] == data.bar("S002", DAY)[3]


def test_triggers_of_an_amended_session_before_are_withdrawn(redis, data):
    prepared()
    start = newest(redis)
    data.scans = {DAY: data.symbols[:3], NEXT: []}
    data.publish(NEXT)
    prepared(NEXT)
    assert ("withdrawn", "S003", "2024-02-15") in events(redis, start)
    assert not [name for name in triggers(redis) if "S003" in name]


def test_triggers_of_a_session_that_the_replica_lacks_stay(redis, data):
    data.scans[NEXT] = []
    data.publish(NEXT)
    prepared(NEXT)
    with duckdb.connect(str(replica_path())) as connection:
        connection.execute("DELETE FROM table_updates")
    data.publish(DAY)
    with connect() as client:
        signals.prepare(client, sync(client, read_feed(DAY), force_full=True))
    assert {trigger["session"] for trigger in triggers(redis).values()} == {"2024-02-15", "2024-02-16"}


@pytest.mark.parametrize(
    "damage", ["set {key} text", "set {key} []", "del {key}", "persist {key}", "hset {key}:20240215T210000Z a b"]
)
def test_damaged_triggers_are_made_good_by_the_next_run(redis, data, damage):
    prepared()
    whole = triggers(redis)
    redis.execute_command(*damage.format(key="nasdaq:signal_trigger:S001:20240215T210000Z").split())
    prepared()
    found = triggers(redis)
    assert {name: {**found[name], "sync_id": ""} for name in found} == {
        name: {**whole[name], "sync_id": ""} for name in whole
    }
    assert len({trigger["sync_id"] for trigger in found.values()}) == 1
    assert min(map(redis.ttl, found)) > 0


def test_a_group_of_consumers_gets_each_trigger_once(redis, data):
    prepared()
    redis.xgroup_create(STREAM, "detectors", id="0")
    taken = []
    for consumer in ("one", "two", "one"):
        for _, entries in redis.xreadgroup("detectors", consumer, {STREAM: ">"}, count=2):
            taken += [fields["key"] for _, fields in entries]
    assert len(taken) == len(set(taken)) == 4


def test_the_stream_is_capped(redis, data, settings):
    settings("redis", stream_length=100)
    data.symbols = [f"S{number:03d}" for number in range(300)]
    data.scans = {DAY: data.symbols}
    data.publish(DAY)
    prepared()
    assert 100 <= redis.xlen(STREAM) <= 200  # Redis drops whole nodes of about a hundred entries


def test_clean_up_deletes_old_triggers_and_temporary_keys_of_ours_alone(redis, data):
    ours_old = ["nasdaq:signal_trigger:A:20240207T210000Z", "nasdaq:temp_x", "nasdaq:temp_"]
    kept = [
        "nasdaq:signal_trigger:A:20240208T210000Z", "nasdaq:signal_trigger:A:20240215T210000Z",
        "nasdaq:signal_trigger:A:once",
        "nasdaq:tempo", "temp_x", "signal_trigger:A:20200101T210000Z", "other:temp_x",
    ]  # fmt: skip
    redis.mset(dict.fromkeys([*ours_old, *kept], "x"))
    with connect() as client:
        assert signals.clean_up(client, DAY) == {"triggers": 1, "temporary": 2}
    assert sorted(redis.keys()) == sorted(kept)


def test_an_early_close_has_its_own_moment():
    assert signals.moment(dt.date(2023, 11, 24)) == dt.datetime(
        2023, 11, 24, 18, 0, tzinfo=dt.UTC
    )  # 13:00, day after Thanksgiving
    assert signals.moment(dt.date(2023, 7, 5)) == dt.datetime(2023, 7, 5, 20, 0, tzinfo=dt.UTC)


def test_every_key_and_field_is_documented(redis, data):
    page = (ROOT / "docs" / "redis.md").read_text()
    with connect() as client:
        sync(client, read_feed(DAY))
    prepared()
    update = json.loads(redis.get("nasdaq:watchlist_last_update"))
    meta = json.loads(redis.hget("nasdaq:watchlist_data:S001", "meta"))
    (trigger, *_) = triggers(redis).values()
    ready = json.loads(redis.get(READY))
    assert not [field for field in (*update, *meta, *ready) if f'"{field}"' not in page]
    assert not [field for field in trigger if f"`{field}`" not in page]
    families = {name.split(":")[1] for name in redis.scan_iter()}
    assert not [family for family in families if f"`{family}" not in page]
