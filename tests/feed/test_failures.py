"""Everything that can happen to a Redis server happens to a real one: a clear error, and the next run repairs it all.

The daily pipeline is never touched: what a run leaves behind in the database is compared before and after.
"""

import itertools
import os
import re
import signal
import threading
import time

import luigi
import pytest
import redis

from pipeline.config import ROOT
from pipeline.database.connection import reading
from pipeline.errors import (
    ConfigurationError,
    RedisFeedError,
    RedisFullError,
    RedisLoadingError,
    RedisReadOnlyError,
    RedisRefusedError,
    RedisUnreachableError,
)
from pipeline.feed import amendments
from pipeline.feed import hashes as redis_hashes
from pipeline.feed import mirror as metrics
from pipeline.feed.comparison import Comparison
from pipeline.feed.mirror import push_test_alert
from pipeline.feed.server import chunks, connect
from pipeline.feed.switch import switch
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.redis_sync import RedisWatchlistSync
from tests.feed.test_mirror import record
from tests.feed.test_sync import assert_holds, assert_is_whole, update_of
from tests.support.feed import DAY, NEXT, FeedData
from tests.support.runs import run_here
from tests.support.servers import RedisServer, binary, is_before_seven

pytestmark = pytest.mark.redis

SYMBOLS = 12
REDIS_PAGE = ROOT / "docs" / "redis.md"


@pytest.fixture
def data(data_dir, settings):
    settings("redis", timeout=0.5, retries=1)
    settings("alerts", slack_webhook_url="", discord_webhook_url="")
    feed = FeedData(SYMBOLS)
    feed.scans = {DAY: feed.symbols[:8]}
    feed.finish(DAY)
    return feed


@pytest.fixture
def server(tmp_path, settings):
    """A server of the test's own."""
    server = RedisServer(tmp_path / "server", enable_debug_command="yes", enable_protected_configs="yes")
    settings("redis", url=server.url)
    yield server
    server.kill()


@pytest.fixture
def errors():
    """The errors of failed tasks, with the task's name."""
    before = {
        cls: {event: set(calls) for event, calls in events.items()}
        for cls, events in luigi.Task._event_callbacks.items()
    }
    found: list[tuple[str, BaseException]] = []
    luigi.Task.event_handler(luigi.Event.FAILURE)(lambda task, error: found.append((task.task_family, error)))
    yield found
    luigi.Task._event_callbacks.clear()
    luigi.Task._event_callbacks.update(before)


def all_rows():
    """Every row of every table of the database."""
    with reading() as connection:
        names = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        return {name: connection.execute(f"FROM {name} ORDER BY ALL").fetchall() for (name,) in names}


def fails_with(errors, kind, match, day=DAY):
    """The chain fails at once, with this error, and the daily pipeline stays done."""
    before = all_rows()
    errors.clear()
    assert not run_here(RedisWatchlistSync(date=day))
    ((task, error),) = errors
    assert (task, type(error)) == ("SyncRedis", kind)
    assert match in str(error)
    assert all_rows() == before
    assert DailyPipeline(date=day).complete()
    metrics.mirror()  # as each run does at its end, also of the daily pipeline: it never fails


def repairs(server, data, day=DAY, symbols=8):
    assert run_here(RedisWatchlistSync(date=day))
    with server.client() as client:
        assert_holds(client, data, day, data.symbols[:symbols])


def test_down(server, data, errors):
    server.kill()
    fails_with(errors, RedisUnreachableError, f"Redis at 127.0.0.1:{server.port} cannot be reached")
    server.start()
    repairs(server, data)


def test_lost_after_it_was_done(server, data, errors):
    repairs(server, data)
    server.restart()
    repairs(server, data)


def test_hanging(server, data, errors):
    os.kill(server.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    fails_with(errors, RedisUnreachableError, "timeout = 0.5 s")
    assert time.monotonic() - started < 30
    os.kill(server.process.pid, signal.SIGCONT)
    repairs(server, data)


@pytest.mark.parametrize("fed_before", [False, True])
def test_full(server, data, errors, fed_before):
    day, count = DAY, 8
    if fed_before:
        repairs(server, data)
        data.scans[NEXT] = data.symbols[:12]
        data.finish(NEXT)
        day, count = NEXT, 12
    with server.client() as client:
        client.config_set("maxmemory", "100kb")
        fails_with(errors, RedisFullError, "raise its maxmemory", day)
        if fed_before:
            assert_holds(client, data, DAY, data.symbols[:8])  # what there was is there, and says what it is
        client.config_set("maxmemory", "0")
    repairs(server, data, day, count)


def test_full_and_evicting(server, data, errors):
    """A server that throws keys away instead of refusing new ones: the health check finds out."""
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "100kb")
        assert not run_here(RedisWatchlistSync(date=DAY))
        assert all(isinstance(error, RedisFeedError) for _, error in errors)
        client.config_set("maxmemory", "0")
    repairs(server, data)


@pytest.mark.skipif(is_before_seven(binary()), reason="it answers nothing while it loads a small file slowly")
def test_loading(server, data, errors):
    with server.client() as client:
        client.execute_command("DEBUG", "POPULATE", "3000", "foreign", "500")
        client.save()
    server.kill()
    server.options |= {"key-load-delay": 3000, "loading-process-events-interval-bytes": 1024}
    server.start()
    fails_with(errors, RedisLoadingError, "still loading its data")
    with server.client() as client:
        client.config_set("key-load-delay", 0)
        wait_until(lambda: not client.info("persistence")["loading"])
    repairs(server, data)


def wait_until(done, seconds=20.0):
    pause, end = threading.Event(), time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        pause.wait(0.02)


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("survives", [False, True])
def test_restarted_in_the_middle(server, data, errors, monkeypatch, mode, survives):
    """Killed after the second group of symbols; with its data on disk or without."""
    day = DAY
    if survives:
        server.options |= {"appendonly": "yes", "appendfsync": "always"}
        server.restart()
    if mode == "incremental":
        repairs(server, data)
        day = NEXT
        data.scans[NEXT] = data.symbols[2:10]
        data.finish(NEXT)

    groups = itertools.count()

    def killing(original):
        """The same function, with a server that is killed before the third group."""

        def call(*arguments):
            if next(groups) == 2:
                server.kill()
            return original(*arguments)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(amendments, "AT_ONCE", 1)
        patched.setattr(Comparison, "request", killing(Comparison.request))
        patched.setattr(redis_hashes, "fields_of", killing(redis_hashes.fields_of))
        patched.setattr(redis_hashes, "chunks", lambda items: chunks(items, 2))
        fails_with(errors, RedisUnreachableError, "cannot be reached", day)
    server.start()
    with server.client() as client:
        if survives and mode == "incremental":
            assert_is_whole(client, data)
            assert update_of(client)["day"] == str(DAY)
        else:
            assert client.get("nasdaq:watchlist_last_update") is None
    assert run_here(RedisWatchlistSync(date=day))
    with server.client() as client:
        assert_holds(client, data, day, data.symbols[:8] if day == DAY else data.symbols[:10])


def test_hanging_while_hashes_are_compared(server, data, errors, monkeypatch):
    repairs(server, data)
    data.scans[NEXT] = data.symbols[:8]
    data.finish(NEXT)
    number, request = itertools.count(), Comparison.request

    def stopping(*arguments):
        if next(number) == 2:
            os.kill(server.process.pid, signal.SIGSTOP)
        return request(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(amendments, "AT_ONCE", 1)
        patched.setattr(Comparison, "request", stopping)
        fails_with(errors, RedisUnreachableError, "timeout = 0.5 s", NEXT)
    os.kill(server.process.pid, signal.SIGCONT)
    repairs(server, data, NEXT)


@pytest.mark.parametrize("survives", [False, True])
def test_killed_at_the_switch(server, data, errors, monkeypatch, survives):
    """The server goes away between the last hash and the renames."""
    if survives:
        server.options |= {"appendonly": "yes", "appendfsync": "always"}
        server.restart()
    repairs(server, data)
    data.scans[NEXT] = data.symbols[2:10]
    data.finish(NEXT)

    def killing(*arguments):
        server.kill()
        return switch(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.feed.sync.switch", killing)
        fails_with(errors, RedisUnreachableError, "cannot be reached", NEXT)
    server.start()
    with server.client() as client:
        if survives:
            assert_is_whole(client, data)
    repairs(server, data, NEXT, 10)


def test_a_read_only_replica_of_the_server(server, data, errors, tmp_path, settings):
    replica = RedisServer(tmp_path / "replica", replicaof=f"127.0.0.1 {server.port}")
    settings("redis", url=replica.url)
    fails_with(errors, RedisReadOnlyError, f"127.0.0.1:{replica.port} is a read-only replica")
    settings("redis", url=server.url)
    repairs(server, data)
    replica.kill()


@pytest.mark.parametrize("given", ["", ":wrong-secret@", "nobody:wrong-secret@"])
def test_a_wrong_password(data, errors, tmp_path, settings, caplog, given):
    server = RedisServer(tmp_path / "server", requirepass="right-secret")
    settings("redis", url=server.url.replace("//", f"//{given}"))
    fails_with(errors, RedisRefusedError, "REDIS_URL")
    settings("redis", url=server.url.replace("//", "//:right-secret@"))
    assert run_here(RedisWatchlistSync(date=DAY))
    with server.client(password="right-secret") as client:
        assert_holds(client, data, DAY, data.symbols[:8])
    assert "secret" not in caplog.text
    assert not any("secret" in str(error) for _, error in errors)
    server.kill()


def test_a_user_without_the_rights(server, data, errors, settings):
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+@connection")
    settings("redis", url=server.url.replace("//", "//reader:secret@"))
    fails_with(errors, RedisRefusedError, "user's rights")


@pytest.mark.parametrize("right", ["hmget", "hlen", "expire", "hdel", "multi", "exec"])
def test_a_user_who_may_not_compare_or_switch(server, data, errors, settings, right):
    """All that is asked is answered by an error, or a part of it, or a transaction is refused for one command."""
    repairs(server, data)
    data.scans[NEXT] = data.symbols[:8]
    data.finish(NEXT)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "feeder", "on", ">secret", "~nasdaq:*", "+@all", f"-{right}")
    settings("redis", url=server.url.replace("//", "//feeder:secret@"))
    fails_with(errors, RedisRefusedError, f"'{right}' command", NEXT)
    with server.client() as client:
        assert_is_whole(client, data)
        assert_holds(client, data, DAY, data.symbols[:8])
        assert update_of(client)["day"] == str(DAY)


def test_the_rights_that_the_documentation_names_are_enough(server, data, settings):
    rights = re.search(
        r"needs, for keys of the prefix, these rights.*?```\n(.+?)```", REDIS_PAGE.read_text(), re.DOTALL
    )
    assert rights
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "feeder", "on", ">secret", "~nasdaq:*", "-@all", *rights.group(1).split()
        )
    settings("redis", url=server.url.replace("//", "//feeder:secret@"))
    repairs(server, data)
    data.scans[NEXT] = data.symbols[2:10]
    data.splits["S003"] = 2.0
    data.finish(NEXT)
    repairs(server, data, NEXT, 10)
    assert run_here(RedisWatchlistSync(date=NEXT, force_full=True))
    assert push_test_alert("a test") is None
    with server.client() as client:
        assert client.exists("nasdaq:signal_triggers", "nasdaq:watchlist_updates", "nasdaq:system_alerts") == 3
        client.set("nasdaq:temp_x", "x")
        client.set("nasdaq:watchlist_data:S003", "x")
    assert run_here(RedisWatchlistSync(date=NEXT, force_full=True))
    record("CollectSymbols")
    metrics.mirror()
    with server.client() as client:
        assert client.llen("nasdaq:dag_performance_metrics") > 0


def test_each_of_the_rights_is_needed_by_some_command():
    """The list of the page has commands alone, no categories."""
    rights = re.search(r"these rights.*?```\n(.+?)```", REDIS_PAGE.read_text(), re.DOTALL)
    assert rights and all(right.startswith("+") and "@" not in right for right in rights.group(1).split())


def test_the_disk_of_the_server_is_broken(server, data, errors):
    """A snapshot that fails makes a server refuse writes, by an error that has no class of its own."""
    with server.client() as client:
        client.config_set("save", "1 1")
        client.config_set("dir", "/proc/self")
        client.set("foreign", "x")
        client.execute_command("BGSAVE")
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        fails_with(errors, RedisFeedError, "MISCONF")
        client.config_set("save", "")
    repairs(server, data)


@pytest.mark.parametrize(
    "address", ["localhost:6379", "redis://:p%zz@:port/0", "http://localhost", "redis://:secret#1@host:1/0"]
)
def test_an_address_that_is_none(data, errors, settings, address):
    settings("redis", url=address.replace("%", "%%"))
    with pytest.raises(ConfigurationError, match=r"\[redis\] url is no address"), connect():
        pass


@pytest.mark.parametrize(
    "address",
    ["redis://127.0.0.1:1/abc", "redis://127.0.0.1:1/0/1", "redis://127.0.0.1:1/-1", "redis://127.0.0.1:1/0?nonsense=1",
     "redis://127.0.0.1:1/?socket_timeout=soon", "unix://", "redis+sentinel://127.0.0.1:1/0", "redis://127.0.0.1:99999/0",
     ""],
)  # fmt: skip
def test_an_address_that_cannot_be_one_ends_the_run_at_its_start(data, settings, address):
    settings("redis", url=address)
    with pytest.raises(ConfigurationError, match=r"\[redis\] url"):
        RedisWatchlistSync(date=DAY).complete()


def test_a_database_that_the_server_does_not_have(server, data, errors, settings):
    settings("redis", url=server.url.replace("/0", "/99"))
    fails_with(errors, ConfigurationError, "no database of the number")


@pytest.mark.parametrize(("mode", "said"), [("cluster", "a node of a Redis Cluster"), ("sentinel", "a Redis Sentinel")])
def test_a_cluster_and_a_sentinel_are_named_and_refused(data, errors, tmp_path, settings, mode, said):
    options = {"cluster_enabled": "yes"} if mode == "cluster" else {}
    server = RedisServer(tmp_path / "server", *(["--sentinel"] if mode == "sentinel" else []), **options)
    settings("redis", url=server.url)
    fails_with(errors, ConfigurationError, f"{said}, which is not supported")
    server.kill()


@pytest.mark.parametrize(
    ("version", "is_refused"), [("6.1.99", True), ("5.0.14", True), ("6.2.0", False), ("10.0", False), ("", False)]
)
def test_a_server_that_is_too_old_is_named_and_refused(server, data, errors, monkeypatch, version, is_refused):
    real = redis.Redis.info
    monkeypatch.setattr(redis.Redis, "info", lambda self, *names: real(self, *names) | {"redis_version": version})
    if is_refused:
        fails_with(errors, ConfigurationError, f"is of version {version}, and the feed needs 6.2 or newer")
    else:
        repairs(server, data)
