"""Whole answers are those of tests/frozen/: of a session of the simulated market, and of a week of the small one.

After a change that is meant to change them: scripts/test tests/test_frozen.py --renew
"""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import time
from typing import Any

import duckdb
import pytest

from pipeline.database.replica import manifest_path, replica_path
from pipeline.report.places import report_path
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.redis_sync import RedisWatchlistSync
from tests.conftest import changing_settings, forget, use_data_dir
from tests.support.frozen import as_text, assert_frozen, assert_frozen_tables, normalised
from tests.support.runs import results, run_here
from tests.support.servers import RedisServer
from tests.support.small_market import FROZEN_WEEK, SmallMarket
from tests.support.spark_submit import compute_here

DAY = dt.date(2024, 2, 16)
COMPANIES = 60


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run of DAY leaves, by the name of its file in tests/frozen/."""
    data_dir, server = tmp_path_factory.mktemp("frozen") / "data", RedisServer(tmp_path_factory.mktemp("redis"))
    with changing_settings() as settings, pytest.MonkeyPatch.context() as patch:
        use_data_dir(data_dir, settings)
        settings("market", source="simulated", history_sessions=300)
        settings("simulated", companies=COMPANIES)
        settings("nasdaq", min_symbols=30)
        settings("redis", url=server.url, min_keys=1)
        patch.setenv("TZ", "KST-9")  # the page shows the operator's time; not a name, which needs the system's table
        time.tzset()
        patch.setattr("pipeline.indicators.spark.submit.SparkJob.submit", compute_here)
        assert run_here(RedisWatchlistSync(date=DAY))
        found = collected(server)
    server.kill()
    time.tzset()
    forget()
    return {name: normalised(text, data_dir) for name, text in found.items()}


def collected(server: RedisServer) -> dict[str, str]:
    return {
        "watchlist.json": as_text(rows("SELECT * EXCLUDE (source, stored_at) FROM daily_watchlist ORDER BY ALL")),
        "indicators.json": as_text(rows("SELECT * EXCLUDE (source) FROM technical_indicators ORDER BY symbol, date")),
        "manifest.json": manifest_path().read_text(encoding="utf-8"),
        "report.html": report_path(DAY).read_text(encoding="utf-8"),
        "feed.json": as_text(feed(server)),
    }


def rows(sql: str) -> list[dict[str, Any]]:
    with duckdb.connect(str(replica_path()), read_only=True) as connection:
        result = connection.execute(sql)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def feed(server: RedisServer) -> dict[str, Any]:
    """Every key that Redis holds, with its value; JSON is read, so that a difference has a line."""
    with server.client() as client:
        return {key: value(client, key) for key in sorted(client.scan_iter())}


def value(client: Any, key: str) -> Any:
    kind = client.type(key)
    if kind == "hash":
        return {name: read(text) for name, text in client.hgetall(key).items()}
    if kind == "list":
        return [read(text) for text in client.lrange(key, 0, -1)]
    if kind == "stream":
        return [{name: read(text) for name, text in entry.items()} for _, entry in client.xrange(key)]
    if kind in ("set", "zset"):
        return sorted(client.smembers(key) if kind == "set" else client.zrange(key, 0, -1))
    return read(client.get(key))


def read(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


NAMES = ("watchlist.json", "indicators.json", "manifest.json", "report.html", "feed.json")


@pytest.mark.redis
@pytest.mark.parametrize("name", NAMES)
def test_answer_is_the_frozen_one(answers: dict[str, str], request: pytest.FixtureRequest, name: str) -> None:
    assert_frozen(name, answers[name], renew=request.config.getoption("renew"))


@pytest.mark.redis
def test_the_frozen_answers_are_not_empty(answers: dict[str, str]) -> None:
    assert json.loads(answers["watchlist.json"])
    assert len(json.loads(answers["indicators.json"])) > COMPANIES / 2


@pytest.mark.slow
def test_a_week_in_order_gives_the_frozen_tables(
    here: SmallMarket, data_dir: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    """Other ways to the same tables are compared with these: another order, a back-fill."""
    for day in FROZEN_WEEK:
        assert run_here(DailyPipeline(date=day))
    tables = results(data_dir)
    for name in ("stock_data", "technical_indicators", "daily_watchlist", "corporate_actions"):
        assert tables[name], name
    assert_frozen_tables("week.json", tables, renew=request.config.getoption("renew"))
