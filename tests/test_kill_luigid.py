"""Runs under the central scheduler that are ended while Spark works: nothing is left, and the same command goes on."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from tests.support.runs import (
    environment,
    options,
    processes_of,
    results,
    run_luigi,
    start_luigi,
    stray_files,
    wait_until,
)
from tests.support.small_market import SmallMarket

pytestmark = [pytest.mark.spark, pytest.mark.slow]

DAY = "2024-02-16"


class Scheduler:
    """What luigid says of its tasks."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def task(self, family: str) -> dict:
        """The task of this family in whatever state, {} when there is none."""
        with urllib.request.urlopen(f"{self.url}/api/task_list?data=%7B%7D", timeout=10) as answer:
            tasks = json.load(answer)["response"]
        return next((task for task in tasks.values() if task["name"] == family), {})


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture
def scheduler(tmp_path) -> Iterator[Scheduler]:
    """Forgets a worker that is silent for five seconds; in config/luigi.cfg it is fifteen."""
    folder = tmp_path / "luigid"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "luigi.cfg").write_text(
        "[scheduler]\nretry_count = 1\nworker_disconnect_delay = 5\nprune_on_get_work = true\n"
        "[resources]\nduckdb = 1\nspark = 1\n"
    )
    command = [sys.executable, "-m", "pipeline.runs.luigid", "--port", str(port), "--data-dir", str(folder)]
    variables = environment(folder, LUIGI_CONFIG_PATH=str(folder / "luigi.cfg"))
    with (folder / "luigid.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
    wait_until(lambda: answers(port), server)
    yield Scheduler(port)
    server.terminate()
    server.wait(timeout=30)


@pytest.mark.parametrize(("signum", "workers"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2)])
def test_an_ended_run_leaves_nothing_and_is_taken_up(scheduler, tmp_path, signum, workers):
    data = tmp_path / "data"
    with SmallMarket(as_of=dt.date(2024, 2, 16)) as market:
        # Pings each half second, so that the scheduler above knows that it lives.
        limits = ("--worker-ping-interval", "0.5", "--workers", str(workers), "--scheduler-url", scheduler.url)
        command = ("DailyPipeline", "--date", DAY, *limits, *options(market, data))
        run = start_luigi(*command, home=tmp_path / "home", log=tmp_path / "ended.log")
        wait_until(lambda: scheduler.task("ComputeIndicators").get("tracking_url"), run)
        family = psutil.Process(run.pid).children(recursive=True)
        assert any(process.name() == "java" for process in family)
        page = scheduler.task("ComputeIndicators")
        assert (page["status"], page["tracking_url"][:17]) == ("RUNNING", "http://127.0.0.1:")
        run.send_signal(signum)
        run.wait(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []
        assert processes_of(data) == []

        code, said = run_luigi(*command, home=tmp_path / "home")
        assert code == 0, said
    assert len(results(data)["technical_indicators"]) == 56
    assert scheduler.task("ComputeIndicators")["status"] == "DONE"
    assert stray_files(data) == []
