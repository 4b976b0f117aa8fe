"""Runs under the central scheduler that are ended while Spark works: nothing is left, and the same command goes on."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import psutil
import pytest

from pipeline.tasks.stages import STAGES
from tests.support.luigid import Luigid
from tests.support.runs import (
    options,
    processes_of,
    results,
    run_luigi,
    start_luigi,
    stray_files,
    wait_until,
)
from tests.support.small_market import SmallMarket
from tests.support.spark_submit import stand_in

pytestmark = [pytest.mark.spark, pytest.mark.slow]

DAY = "2024-02-16"

#: Seconds that luigid is away: a restart by systemd, and of a host that is slow to come back.
AWAY = (1, 60)


@pytest.fixture
def luigid(tmp_path) -> Iterator[Luigid]:
    """Forgets a worker that is silent for five seconds; in config/luigi.cfg it is fifteen."""
    folder = tmp_path / "luigid"
    folder.mkdir()
    served = Luigid(folder, scheduler={"worker_disconnect_delay": 5})
    served.start()
    yield served
    served.stop()


@pytest.mark.parametrize(("signum", "workers"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2)])
def test_an_ended_run_leaves_nothing_and_is_taken_up(luigid, tmp_path, signum, workers):
    data = tmp_path / "data"
    with SmallMarket(as_of=dt.date(2024, 2, 16)) as market:
        # Pings each half second, so that luigid knows that it lives.
        limits = ("--worker-ping-interval", "0.5", "--workers", str(workers), "--scheduler-url", luigid.url)
        command = ("DailyPipeline", "--date", DAY, *limits, *options(market, data))
        run = start_luigi(*command, home=tmp_path / "home", log=tmp_path / "ended.log")
        wait_until(lambda: luigid.task("ComputeIndicators").get("tracking_url"), run)
        family = psutil.Process(run.pid).children(recursive=True)
        assert any(process.name() == "java" for process in family)
        page = luigid.task("ComputeIndicators")
        assert (page["status"], page["tracking_url"][:17]) == ("RUNNING", "http://127.0.0.1:")
        run.send_signal(signum)
        run.wait(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []
        assert processes_of(data) == []

        code, said = run_luigi(*command, home=tmp_path / "home")
        assert code == 0, said
    assert len(results(data)["technical_indicators"]) == 56
    assert luigid.task("ComputeIndicators")["status"] == "DONE"
    assert stray_files(data) == []


def restart_in_each_stage(luigid: Luigid, run: subprocess.Popen[bytes], log: pathlib.Path, seconds: float) -> list[str]:
    """Take the scheduler away for so long each time that a stage begins; returns the stages, once the run has ended."""
    stages: list[str] = []
    deadline = time.monotonic() + 240 + 20 * seconds
    while run.poll() is None and time.monotonic() < deadline:
        begun = re.findall(r"running +(\w+)\(", log.read_text())
        if len(begun) > len(stages):
            stages = begun
            luigid.stop(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(timeout=seconds)
            luigid.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=0.02)
    return stages


# More seconds: RESTART_SECONDS=60 scripts/test tests/test_kill_luigid.py -k every_stage
@pytest.mark.timeout(1800)
def test_a_run_goes_on_though_luigid_is_restarted_in_every_stage(tmp_path):
    data, seconds = tmp_path / "data", float(os.environ.get("RESTART_SECONDS", "1"))
    (tmp_path / "luigid").mkdir()
    luigid = Luigid(tmp_path / "luigid", spark={"spark-submit": stand_in(tmp_path)})
    luigid.start()
    with SmallMarket(as_of=dt.date(2024, 2, 16)) as market:
        command = ("DailyPipeline", "--date", DAY, "--scheduler-url", luigid.url, *options(market, data))
        log = tmp_path / "run.log"
        run = start_luigi(*command, home=tmp_path / "home", log=log, **luigid.settings)
        stages = restart_in_each_stage(luigid, run, log, seconds)
    luigid.stop()
    assert run.poll() == 0, log.read_text()
    assert set(stages) == {stage.__name__ for stage in STAGES}, log.read_text()
    assert len(results(data)["technical_indicators"]) == 56
    assert stray_files(data) == []


@pytest.mark.parametrize("seconds", AWAY)
def test_a_run_goes_on_when_luigid_comes_back(tmp_path, seconds):
    data = tmp_path / "data"
    (tmp_path / "luigid").mkdir()
    luigid = Luigid(tmp_path / "luigid", spark={"spark-submit": stand_in(tmp_path)})
    luigid.start()
    with SmallMarket(as_of=dt.date(2024, 2, 16), latency=0.2) as market:
        command = ("DailyPipeline", "--date", DAY, "--scheduler-url", luigid.url, *options(market, data))
        log = tmp_path / "run.log"
        run = start_luigi(*command, home=tmp_path / "home", log=log, **luigid.settings)
        wait_until(lambda: market.total > 5, run)
        luigid.stop(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert run.wait(timeout=seconds) is None, log.read_text()
        luigid.start()
        assert run.wait(timeout=240) == 0, log.read_text()
    luigid.stop()
    assert len(results(data)["technical_indicators"]) == 56
    assert stray_files(data) == []
