"""What all tests share: their order, the end of what they start, and the browser that some of them need."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import gc
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import luigi
import luigi.task_register
import pytest
from hypothesis import settings as hypothesis_settings

from pipeline import calendar, given
from pipeline.database import comments, query_cache
from pipeline.database import connection as database
from tests.support import processes
from tests.support.beginnings import Begun, copy_new_databases

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from redis import Redis

    from tests.support.distribution import Together
    from tests.support.servers import RedisServer
    from tests.support.small_market import SmallMarket

#: Tests run in this order, so that a mistake shows in seconds: unmarked ones first, then by their costliest marker.
ORDER = ("redis", "long", "spark", "browser", "slow")

# The same examples in every run: a change is judged by the change. More of them, and others:
# scripts/test tests/sources/test_any_answer.py --hypothesis-profile=default
hypothesis_settings.register_profile("suite", derandomize=True, deadline=None)
hypothesis_settings.load_profile("suite")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def cost(item: pytest.Item) -> int:
    """0 for an unmarked test, else 1 + the place in ORDER of its costliest marker."""
    return max((1 + ORDER.index(mark.name) for mark in item.iter_markers() if mark.name in ORDER), default=0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="write the answers of tests/frozen/ anew; look at the diff")


def pytest_configure() -> None:
    processes.adopt_orphans()
    programs = str(pathlib.Path(sys.executable).parent)
    if programs not in os.environ["PATH"].split(os.pathsep):  # as where the environment is active
        os.environ["PATH"] = os.pathsep.join([programs, os.environ["PATH"]])


def pytest_unconfigure() -> None:
    processes.end_since(frozenset())  # of a worker of pytest-xdist that has crashed


@pytest.fixture(scope="session", autouse=True)
def leaves_no_process() -> Iterator[None]:
    """At the end of the session nothing runs that a fixture of a module or of the session has started."""
    yield
    assert processes.end_since(frozenset()) == []


@pytest.fixture(autouse=True)
def ends_what_it_started() -> Iterator[None]:
    """Whatever a test starts ends with it, also when it fails. What wider fixtures have started by then is theirs."""
    before = processes.children()
    yield
    processes.end_since(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=cost)  # stable: within one cost, the order of the files stays


def pytest_collection_finish() -> None:
    gc.freeze()  # what the imports have left stays to the end: no collection of garbage has to look through it again


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    from tests.support.distribution import Together

    return Together(config, log)


@functools.cache
def find_chromium() -> str | None:
    """A Chromium that starts: the command that CHROMIUM names, else the first of the usual names."""
    for name in [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else BROWSERS:
        try:
            subprocess.run([name, "--version"], check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            continue
        return name
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") and not find_chromium():
        pytest.skip("no Chromium on the PATH: apt-get install chromium, or name it in CHROMIUM")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Command of a Chromium that starts; only tests marked `browser` ask for it."""
    name = find_chromium()
    assert name, "a test that uses this fixture must be marked `browser`"
    return name


@contextlib.contextmanager
def changing_settings() -> Iterator[Callable[..., None]]:
    """A function that sets values of the configuration until the end of the block."""
    config = luigi.configuration.get_config()
    before: list[tuple[str, str, str | None]] = []

    def change(section: str, **values: object) -> None:
        for name, value in values.items():
            before.append((section, name, config.get(section, name, None)))
            config.set(section, name, str(value))

    try:
        yield change
    finally:
        for section, name, value in reversed(before):
            config.remove_option(section, name) if value is None else config.set(section, name, value)


@pytest.fixture
def settings() -> Iterator[Callable[..., None]]:
    """`settings("yahoo", threads=4)` sets values of the configuration until the test ends."""
    with changing_settings() as change:
        yield change


def forget() -> None:
    """Drop what Luigi and the targets remember of other tests in this process."""
    luigi.task_register.Register.clear_instance_cache()
    query_cache._known.clear()
    calendar.say_no_session.cache_clear()


def use_data_dir(folder: pathlib.Path, settings: Callable[..., None]) -> None:
    """Have `[storage] data_dir` be this folder, and nothing wait."""
    forget()
    settings("storage", data_dir=folder, lock_timeout=10)
    settings("scheduler", retry_delay=0)
    settings("quality", audit_per_day=0)  # tests count requests
    settings("worker", wait_interval=0.05)


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command was told on its command line is forgotten with its test, by the configuration, too."""
    give = given.give
    with changing_settings() as change:

        def give_meanwhile(section: str, name: str, value: str) -> None:
            change(section, **{name: ""})  # notes what is to be put back
            give(section, name, value)

        monkeypatch.setattr(given, "_values", {})
        monkeypatch.setattr(given, "give", give_meanwhile)
        yield


@pytest.fixture
def data_dir(tmp_path: pathlib.Path, settings: Callable[..., None]) -> Iterator[pathlib.Path]:
    """An empty `[storage] data_dir`."""
    use_data_dir(tmp_path / "data", settings)
    yield tmp_path / "data"
    forget()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """`begun("two sessions done", data_dir, make)`: see Begun."""
    return Begun(tmp_path_factory.mktemp("begun"), forget)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pathlib.Path]:
    """`empty_database("yahoo")` is the file of a database of that source as the migrations leave it, with comments."""

    @functools.cache
    def make(source: str) -> pathlib.Path:
        with changing_settings() as change:
            change("storage", data_dir=tmp_path_factory.mktemp("empty"))
            with database.writing() as connection:
                comments.keep(connection)
                return database.database_path()

    return make


@pytest.fixture(autouse=True)
def copied_tables(
    request: pytest.FixtureRequest,
    empty_database: Callable[[str], pathlib.Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new database is a copy of an empty one; not where a test asks for `migrating`."""
    if "migrating" not in request.fixturenames:
        copy_new_databases(monkeypatch, empty_database)


@pytest.fixture
def migrating() -> None:
    """For a test that is about the migrations or their moments: the first `writing` applies them all."""


@pytest.fixture(scope="session")
def migrated() -> Iterator[DuckDBPyConnection]:
    """Every table of the database, in memory."""
    import duckdb

    with duckdb.connect() as connection:
        database.migrate(connection)
        yield connection


@pytest.fixture
def tables(migrated: DuckDBPyConnection) -> Iterator[DuckDBPyConnection]:
    """The same, in a transaction of which nothing stays: for what only judges and stores rows."""
    migrated.begin()
    try:
        yield migrated
    finally:
        migrated.rollback()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`clock(2024, 2, 20, 16, 30)` stops the project's clock at that moment of New York time."""

    def stop(*moment: int) -> None:
        fixed = dt.datetime(*moment, tzinfo=calendar.NEW_YORK).astimezone(dt.UTC)  # type: ignore[arg-type, misc]
        monkeypatch.setattr(calendar, "now", lambda: fixed)

    return stop


@pytest.fixture
def plain_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indicators computed in this process, by the function that Spark's workers call, file by file as they do."""
    from pipeline.indicators.spark import submit as spark
    from tests.support.spark_submit import compute_here

    monkeypatch.setattr(spark.SparkJob, "submit", compute_here)


@pytest.fixture
def here(
    data_dir: pathlib.Path, settings: Callable[..., None], plain_spark: None, monkeypatch: pytest.MonkeyPatch
) -> SmallMarket:
    """A small market that the pipeline, run in this process, takes for its source; no network, no JVM."""
    from pipeline.sources.yahoo import source as yahoo
    from tests.support.runs import DirectSource
    from tests.support.small_market import SmallMarket

    market = SmallMarket()
    settings("nasdaq", min_symbols=20)
    settings("quality", min_coverage=0.95)
    monkeypatch.setattr(yahoo, "YahooSource", lambda: DirectSource(market))
    return market


@pytest.fixture
def market() -> Iterator[SmallMarket]:
    """The same market behind HTTP, for the real clients."""
    from tests.support.small_market import SmallMarket

    with SmallMarket() as served:
        yield served


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server that the tests of a session share; see the fixture `redis`."""
    from tests.support.servers import RedisServer

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis(redis_server: RedisServer, settings: Callable[..., None]) -> Iterator[Redis]:
    """A client of that server, which is empty, and which is the one of `[redis] url`."""
    with redis_server.client() as client:
        client.flushall()
        settings("redis", url=redis_server.url, timeout=5.0)
        yield client
