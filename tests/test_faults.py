"""An error that nobody foresaw, in every callback and every check: a row, an alert, a message, and no success."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from tests.runs.test_notifications import Receiver
from tests.support.faulty import REASON
from tests.support.luigid import changed_settings
from tests.support.runs import options, run_luigi
from tests.support.small_market import SmallMarket
from tests.support.spark_submit import stand_in

pytestmark = pytest.mark.slow

DAY = "2024-02-16"

#: Where the error is, and which stage it is told of. Luigi asks these of a task, or calls them for it.
ASKED = {
    "complete() of a stage": ("pipeline.tasks.symbols:CollectSymbols.complete", "DailyPipeline"),
    "requires() of a stage": ("pipeline.tasks.symbols:CollectSymbols.requires", "CollectSymbols"),
    "run() of a stage": ("pipeline.tasks.symbols:CollectSymbols.run", "CollectSymbols"),
    "a setting that is checked in a stage": ("pipeline.tasks.base:check_settings", "CollectSymbols"),
    "a listing that is judged": ("pipeline.market.listing_checks:check_listing", "CollectSymbols"),
    "what is done of a day": ("pipeline.tasks.base:SessionTask.is_done", "DailyPipeline"),
    "requires() of the day": ("pipeline.tasks.daily:DailyPipeline.requires", "DailyPipeline"),
    "the calendar": ("pipeline.calendar:check_session", "DailyPipeline"),
}
#: Where the record itself is made: of the start of a task, of its end, of a failure; and of the run's end.
RECORDED = {
    "the start of a task": ("pipeline.runs.journal:_append", "None"),
    "the end of a task": ("pipeline.runs.journal:_append", "'done'"),
    "rows of the database": ("pipeline.runs.journal:store", ""),
    "the state of the alerts": ("pipeline.runs.alerts:update", ""),
    "the alerts of what is done": ("pipeline.runs.alerts:resolve_done", ""),
    "the closing lines": ("pipeline.runs.ending:closing_lines", ""),
}


@pytest.fixture
def slack() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.server.shutdown()
    server.server.server_close()


def run(market: SmallMarket, folder: pathlib.Path, slack: Receiver, place: str, words: str = "") -> tuple[int, str]:
    settings = changed_settings(
        folder, spark={"spark-submit": stand_in(folder)}, worker={"keep_alive": "false"}, scheduler={"retry_delay": 0}
    )
    return run_luigi(
        "DailyPipeline", "--module", "tests.support.faulty", "--date", DAY, *options(market, folder / "data"),
        home=folder, SLACK_WEBHOOK_URL=f"{slack.url}/slack", FAULT=place, FAULT_IF=words, **settings,
    )  # fmt: skip


def told(slack: Receiver) -> str:
    return "\n".join(body["text"] for _, body in slack.received)


def rows(folder: pathlib.Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "data" / "stock_data.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("name", ASKED)
def test_what_luigi_asks(market: SmallMarket, tmp_path: pathlib.Path, slack: Receiver, name: str) -> None:
    place, task = ASKED[name]
    code, said = run(market, tmp_path, slack, place)
    assert code in (30, 35, 40), said
    assert REASON in told(slack)
    assert ("failed",) in rows(tmp_path, "SELECT status FROM task_runs") or ("not started",) in rows(
        tmp_path, "SELECT status FROM task_runs"
    )
    alerts = rows(tmp_path, "SELECT task, message FROM alerts WHERE resolved_at IS NULL")
    assert any(one == task and REASON in message for one, message in alerts), alerts
    assert "run again:" in said


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_recorded(market: SmallMarket, tmp_path: pathlib.Path, slack: Receiver, name: str) -> None:
    place, words = RECORDED[name]
    code, said = run(market, tmp_path, slack, place, words)
    assert code == 40, said
    assert REASON in told(slack)
    assert REASON in said
    code, said = run(market, tmp_path, slack, "pipeline.text:shown", "never")  # mended: the same command
    assert code == 0, said
    assert rows(tmp_path, "SELECT task, message FROM alerts WHERE resolved_at IS NULL") == []
