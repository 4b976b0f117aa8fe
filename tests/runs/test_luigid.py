"""Our central scheduler, real: what it serves and remembers, and two workers, a dead one and a restart of its own."""

from __future__ import annotations

import datetime as dt
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from pipeline.database.connection import reading
from pipeline.runs import central
from tests.support.fake_market import Fault
from tests.support.luigid import Luigid
from tests.support.runs import environment, options, run_luigi, start_luigi, wait_until
from tests.support.small_market import SmallMarket
from tests.support.spark_submit import stand_in

DAYS = ("2024-02-15", "2024-02-16")


@pytest.fixture
def luigid(tmp_path: pathlib.Path, settings) -> Iterator[Luigid]:
    served = Luigid(tmp_path, scheduler={"worker_disconnect_delay": 6}, spark={"spark-submit": stand_in(tmp_path)})
    settings("core", scheduler_url=f"{served.url}/")
    served.start()
    yield served
    if served.process.poll() is None:
        served.stop(signal.SIGKILL)


def arguments(luigid: Luigid, market: SmallMarket) -> list[str]:
    return [*options(market, luigid.folder / "data"), "--scheduler-url", f"{luigid.url}/"]


def run(luigid: Luigid, market: SmallMarket, day: str, *more: str) -> tuple[int, str]:
    return run_luigi(
        "DailyPipeline",
        "--date",
        day,
        *arguments(luigid, market),
        *more,
        home=luigid.folder,
        **luigid.settings,
    )


def start(luigid: Luigid, market: SmallMarket, day: str, log: str) -> subprocess.Popen[bytes]:
    return start_luigi(
        "DailyPipeline", "--date", day, *arguments(luigid, market),
        home=luigid.folder, log=luigid.folder / log, **luigid.settings,
    )  # fmt: skip


def finished(data_dir: pathlib.Path) -> set[str]:
    with reading(data_dir / "stock_data.duckdb") as connection:
        rows = connection.execute(
            "SELECT update_id FROM table_updates WHERE update_id LIKE 'CloseSession:%'"
        ).fetchall()
    return {update.split(":")[1] for (update,) in rows}


def test_it_listens_on_the_loopback_alone(luigid: Luigid) -> None:
    listening = [
        c.laddr.ip for c in psutil.Process(luigid.process.pid).net_connections() if c.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_it_serves_pages_history_and_metrics(luigid: Luigid) -> None:
    assert "Luigi" in luigid.page("/static/visualiser/index.html")
    assert "luigi_" in luigid.page("/metrics")
    pytest.importorskip("sqlalchemy")
    assert "<table" in luigid.page("/history")


@pytest.mark.slow
def test_a_task_that_was_given_up_is_enabled_again_by_retry(luigid: Luigid, market: SmallMarket) -> None:
    market.every = Fault("500")
    code, said = run(luigid, market, DAYS[0], "--yahoo-retries", "0")
    assert code == 30, said
    (task,) = central.known_tasks("DISABLED")
    assert (task.family, task.sessions) == ("CollectPrices", (dt.date.fromisoformat(DAYS[0]),))
    assert run(luigid, market, DAYS[0], "--yahoo-retries", "0")[0] == 30  # another run: it is tried again at once
    command = [
        str(pathlib.Path(sys.executable).with_name("pipeline")),
        "retry",
        DAYS[0],
        *arguments(luigid, market),
        "--yahoo-retries",
        "0",
    ]
    answer = subprocess.run(
        command,
        cwd=luigid.folder,
        env=environment(luigid.folder, **luigid.settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"CollectPrices of {DAYS[0]} is enabled again" in answer.stderr
    assert answer.returncode == 30, answer.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_it_knows_its_tasks_after_a_restart(luigid: Luigid, market: SmallMarket, signum: int) -> None:
    market.every = Fault("500")
    run(luigid, market, DAYS[0], "--yahoo-retries", "0")
    before = {task.task_id for task in central.known_tasks("DISABLED")}
    state = luigid.folder / "data" / "luigid" / "state.pickle"
    if signum == signal.SIGKILL:  # what was saved is what is known
        saved = state.stat().st_mtime_ns if state.exists() else 0
        wait_until(lambda: state.exists() and state.stat().st_mtime_ns > saved, luigid.process)
    luigid.stop(signum)
    luigid.start()
    assert before == {task.task_id for task in central.known_tasks("DISABLED")} != set()


@pytest.mark.slow
def test_two_workers_do_two_dates_at_once(luigid: Luigid, market: SmallMarket) -> None:
    market.latency = 0.02
    runs = [start(luigid, market, day, f"{day}.log") for day in DAYS]
    assert [process.wait(timeout=240) for process in runs] == [0, 0]
    assert finished(luigid.folder / "data") == set(DAYS)


@pytest.mark.slow
def test_a_restart_in_the_middle_of_a_run_does_not_end_it(luigid: Luigid, market: SmallMarket) -> None:
    market.latency = 0.2
    process = start(luigid, market, DAYS[0], "run.log")
    wait_until(lambda: market.total, process)
    luigid.stop()
    luigid.start()
    market.latency = 0.0
    assert process.wait(timeout=240) == 0, (luigid.folder / "run.log").read_text()
    assert finished(luigid.folder / "data") == {DAYS[0]}


@pytest.mark.slow
def test_the_tasks_of_a_killed_worker_are_free_for_the_next_one(luigid: Luigid, market: SmallMarket) -> None:
    market.latency = 0.2
    process = start(luigid, market, DAYS[0], "run.log")
    wait_until(lambda: market.total, process)
    process.kill()
    process.wait()
    market.latency = 0.0
    code, said = run(luigid, market, DAYS[0])
    assert code in (0, 10), said  # 10: for a while the task was in the hands of the dead one
    assert finished(luigid.folder / "data") == {DAYS[0]}
    assert run(luigid, market, DAYS[0])[0] == 0
