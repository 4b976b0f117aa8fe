"""The chain as Luigi runs it: what it waits for, when it is done, and when it is not done any more."""

import datetime as dt
import json

import luigi
import pytest

from pipeline.database.connection import reading
from pipeline.errors import SessionNotSettledError
from pipeline.events import outbox
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.redis_sync import (
    CheckRedisHealth,
    CleanUpRedis,
    ManualFullSync,
    PrepareSignals,
    RedisWatchlistSync,
    SyncRedis,
)
from tests.feed.test_sync import KEY, assert_holds
from tests.support.feed import DAY, NEXT, SATURDAY, TUESDAY, FeedData
from tests.support.runs import run_here, run_luigi

pytestmark = pytest.mark.redis

CHAIN = (SyncRedis, CheckRedisHealth, PrepareSignals, CleanUpRedis, RedisWatchlistSync)


@pytest.fixture
def data(redis, data_dir, settings):
    settings("alerts", slack_webhook_url="", discord_webhook_url="")
    feed = FeedData()
    feed.scans = {DAY: feed.symbols[:8]}
    feed.finish(DAY)
    return feed


@pytest.fixture
def ran():
    """The tasks that did something, in their order."""
    before = {
        cls: {event: set(calls) for event, calls in events.items()}
        for cls, events in luigi.Task._event_callbacks.items()
    }
    found: list[str] = []
    luigi.Task.event_handler(luigi.Event.START)(lambda task: found.append(task.task_family))
    yield found
    luigi.Task._event_callbacks.clear()
    luigi.Task._event_callbacks.update(before)


def update(redis):
    return json.loads(redis.get("nasdaq:watchlist_last_update"))


def test_the_stages_follow_each_other(redis, data, ran):
    assert run_here(RedisWatchlistSync(date=DAY))
    assert ran[:2] == ["SyncRedis", "CheckRedisHealth"]
    assert set(ran[2:4]) == {"PrepareSignals", "CleanUpRedis"}
    assert ran[4:] == ["RedisWatchlistSync"]
    assert_holds(redis, data, DAY, data.symbols[:8])
    assert json.loads(redis.get("nasdaq:signal_detection_ready"))["ready"] == 8
    assert all(stage(date=DAY).complete() for stage in CHAIN)


def test_a_finished_date_does_nothing(redis, data, ran):
    run_here(RedisWatchlistSync(date=DAY))
    before = update(redis)
    ran.clear()
    assert run_here(RedisWatchlistSync(date=DAY))
    assert (ran, update(redis)) == ([], before)


def test_it_requires_the_daily_pipeline(redis, data):
    (required,) = SyncRedis(date=NEXT).requires()
    assert required == DailyPipeline(date=NEXT)
    assert not required.complete()


@pytest.mark.parametrize("loss", ["flushall", "del nasdaq:watchlist_last_update", "del nasdaq:watchlist_stages"])
def test_a_redis_that_was_lost_is_fed_again(redis, data, ran, loss):
    run_here(RedisWatchlistSync(date=DAY))
    redis.execute_command(*loss.split())
    assert not RedisWatchlistSync(date=DAY).complete()
    ran.clear()
    assert run_here(RedisWatchlistSync(date=DAY))
    assert len(ran) == 5
    assert_holds(redis, data, DAY, data.symbols[:8])


def test_a_day_that_was_reset_is_synced_again(redis, data, ran):
    """Its rows are gone from the database, while Redis still holds the day."""
    from pipeline.database.connection import writing

    run_here(RedisWatchlistSync(date=DAY))
    with writing() as connection:
        connection.execute(
            "DELETE FROM table_updates WHERE update_id LIKE '%Redis%:2024-02-15' OR update_id LIKE 'PrepareSignals:%'"
        )
    data.scans[DAY] = data.symbols[4:12]
    data.finish(DAY)
    ran.clear()
    assert run_here(RedisWatchlistSync(date=DAY))
    assert len(ran) == 5 and update(redis)["mode"] == "new_symbols"
    assert_holds(redis, data, DAY, data.symbols[4:12])


def test_damage_that_the_health_check_finds_is_repaired_by_the_next_run(redis, data, ran, settings, monkeypatch):
    import pipeline.feed.sync

    real = pipeline.feed.sync.sync

    def damaging(client, feed, force_full=False):
        state = real(client, feed, force_full)
        client.hset(KEY + "S001", "2024-02-14", "{}")
        return state

    with monkeypatch.context() as patched:
        patched.setattr(pipeline.feed.sync, "sync", damaging)
        assert not run_here(RedisWatchlistSync(date=DAY))
    assert ran == ["SyncRedis", "CheckRedisHealth"]
    assert run_here(RedisWatchlistSync(date=DAY))
    assert_holds(redis, data, DAY, data.symbols[:8])


def test_a_later_day_makes_earlier_ones_done(redis, data, ran):
    data.scans[NEXT] = data.symbols[:4]
    data.finish(NEXT)
    run_here(RedisWatchlistSync(date=NEXT))
    ran.clear()
    assert run_here(RedisWatchlistSync(date=DAY))
    assert ran == []
    assert update(redis)["day"] == str(NEXT)


def test_a_weekend_is_the_full_resync_once(redis, data, ran, clock):
    clock(2024, 2, 17, 12, 0)
    data.scans[NEXT] = []
    data.finish(NEXT)
    run_here(RedisWatchlistSync(date=NEXT))
    assert not RedisWatchlistSync(date=SATURDAY).complete()
    ran.clear()
    assert run_here(RedisWatchlistSync(date=SATURDAY))
    assert len(ran) == 5 and update(redis)["mode"] == "full"
    assert_holds(redis, data, SATURDAY, data.symbols[:8])
    ran.clear()
    assert run_here(RedisWatchlistSync(date=SATURDAY))
    assert ran == []


def test_a_weekend_without_its_fridays_run_is_a_failure_that_touches_nothing(redis, data):
    run_here(RedisWatchlistSync(date=DAY))
    assert not run_here(RedisWatchlistSync(date=SATURDAY))
    assert update(redis)["day"] == str(DAY)


def test_a_day_to_come_is_refused(redis, data, clock):
    clock(2024, 2, 16, 12, 0)
    for day in (NEXT, SATURDAY):
        with pytest.raises(SessionNotSettledError):
            RedisWatchlistSync(date=day).complete()


def test_forced_it_writes_everything_each_time(redis, data, ran):
    run_here(RedisWatchlistSync(date=DAY))
    redis.hset(KEY + "S001", "2024-02-14", "{}")
    for _ in range(2):
        ran.clear()
        assert run_here(RedisWatchlistSync(date=DAY, force_full=True))
        assert len(ran) == 5 and update(redis)["mode"] == "full"
    assert_holds(redis, data, DAY, data.symbols[:8])


def test_the_manual_resync_runs_each_time_and_asks_for_no_pipeline(redis, data, ran):
    for _ in range(2):
        ran.clear()
        assert run_here(ManualFullSync(date=TUESDAY))  # later than all that the replica has
        assert ran == ["ManualFullSync"]
    found = update(redis)
    assert (found["mode"], found["day"], found["session"]) == ("full", str(TUESDAY), str(DAY))


def test_an_empty_watchlist_goes_through(redis, data):
    data.scans = {DAY: []}
    data.finish(DAY)
    assert run_here(RedisWatchlistSync(date=DAY))
    assert json.loads(redis.get("nasdaq:signal_detection_ready"))["total"] == 0


def test_a_range_ends_with_its_last_day(redis, data):
    data.scans[NEXT] = data.symbols[2:9]
    data.finish(NEXT)
    assert run_here(RedisWatchlistSync(date=DAY), RedisWatchlistSync(date=NEXT))
    assert update(redis)["day"] == str(NEXT)
    assert RedisWatchlistSync.bulk_complete([DAY, NEXT, TUESDAY]) == [DAY, NEXT]


def test_the_daily_pipeline_is_run_first_and_not_touched_by_a_redis_that_is_down(
    here, redis, settings, redis_server, tmp_path
):
    """The whole pipeline in this process: with Redis down all but the feed is done; the next run adds the feed."""
    here.as_of = dt.date(2024, 2, 16)
    settings("redis", url="redis://127.0.0.1:1/0", retries=0)
    assert not run_here(RedisWatchlistSync(date=here.as_of))
    assert DailyPipeline(date=here.as_of).complete()
    settings("redis", url=redis_server.url, min_keys=0)
    assert run_here(RedisWatchlistSync(date=here.as_of))
    assert update(redis)["session"] == "2024-02-16"


@pytest.mark.long
def test_the_command_line(redis, redis_server, data, data_dir, tmp_path):
    """As cron calls it: the exit codes, and that metrics and alerts come after."""
    options = ["--date", str(DAY), "--storage-data-dir", str(data_dir)]
    secret = "redis://:hunter2@127.0.0.1:1/0"
    code, log = run_luigi("RedisWatchlistSync", *options, "--redis-retries", "0", home=tmp_path, REDIS_URL=secret)
    assert code == 30 and "Redis at 127.0.0.1:1 cannot be reached" in log
    assert "hunter2" not in log and "Traceback" not in log
    code, log = run_luigi("RedisWatchlistSync", *options, home=tmp_path, REDIS_URL=redis_server.url)
    assert code == 0 and "full sync: 8 new" in log and "RECOVERED" in log
    code, log = run_luigi("ManualFullSync", *options, "--workers", "2", home=tmp_path, REDIS_URL=redis_server.url)
    assert code == 0 and "full sync: 0 new, 8 updated" in log
    code, log = run_luigi(
        "RedisWatchlistSync", *options, "--force-full", "--workers", "2", home=tmp_path, REDIS_URL=redis_server.url
    )
    assert code == 0 and "full sync: 0 new, 8 updated" in log
    runs = [json.loads(text) for text in redis.lrange("nasdaq:dag_performance_metrics", 0, -1)]
    assert [run["task"] for run in runs].count("RedisWatchlistSync") == 2
    assert [json.loads(text)["task"] for text in redis.lrange("nasdaq:system_alerts", 0, -1)] == ["SyncRedis"]


def signal_events():
    with reading() as connection:
        found = outbox.behind(connection, "nobody", 1000)
    return [(event.event_id, json.loads(event.body)) for event in found if event.kind == "signals"]


def test_triggers_are_told_as_events_once_also_after_a_kill(redis, data, monkeypatch):
    """Killed behind the commit of the events and before Redis has the triggers: the next run tells nothing twice."""

    def killed(client, changes):
        raise ConnectionError("as a kill would")

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.feed.signals.publish", killed)
        assert not run_here(RedisWatchlistSync(date=DAY))
    before = signal_events()
    assert sorted(body["symbol"] for _, body in before) == data.symbols[:8]
    assert run_here(RedisWatchlistSync(date=DAY))
    assert signal_events() == before
    data.scans = {DAY: data.symbols[:7]}
    data.finish(DAY)
    assert run_here(RedisWatchlistSync(date=DAY, force_full=True))
    ((_, body),) = signal_events()[8:]
    assert (body["event"], body["symbol"]) == ("withdrawn", "S007")
