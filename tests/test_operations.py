"""The exit codes of docs/operations.md, each through the command line, and the commands against a bad day."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from pipeline.runs import lock as runlock
from tests.support.fake_market import Fault
from tests.support.runs import LUIGI, ROOT, environment, options, processes_of, run_luigi, start_luigi, wait_until
from tests.support.small_market import SmallMarket

DOCUMENT = ROOT / "docs" / "operations.md"
DAY = "2024-02-16"
PIPELINE = pathlib.Path(sys.executable).with_name("pipeline")

Luigi = Callable[..., tuple[int, str]]


@pytest.fixture
def luigi(market: SmallMarket, tmp_path: pathlib.Path) -> Luigi:
    """`luigi("DailyPipeline", "--date", DAY)` over the fake market: exit code and output."""
    return lambda task, *arguments, **more: run_luigi(
        task, *options(market, tmp_path / "data"), "--scheduler-retry-delay", "0", *arguments, home=tmp_path, **more
    )


def pipeline(tmp_path: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PIPELINE), *arguments, "--data-dir", str(tmp_path / "data")],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def documented_codes() -> set[int]:
    table = DOCUMENT.read_text(encoding="utf-8").split("## Exit codes")[1].split("\n## ")[0]
    return {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}


def test_every_documented_code_is_tested_here() -> None:
    source = pathlib.Path(__file__).read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"def test_exit_(\d+)_", source)} == documented_codes()


def test_exit_0_a_day_without_a_session(luigi: Luigi, market: SmallMarket) -> None:
    for day in ("2024-02-17", "2024-02-19"):  # a Saturday, a holiday
        code, said = luigi("DailyPipeline", "--date", day)
        assert code == 0, said
        assert f"{day} is no session of XNAS: nothing to do (sessions around it: 2024-02-16 and 2024-02-20)" in said
    assert (market.total, market.listings) == (0, 0)


def test_exit_1_a_task_that_does_not_exist(luigi: Luigi) -> None:
    code, said = luigi("DailyPipelin", "--date", DAY)
    assert code == 1
    assert "DailyPipeline" in said


def test_exit_1_a_command_that_found_something_wrong(tmp_path: pathlib.Path) -> None:
    answer = pipeline(tmp_path, "doctor", "--json")
    assert answer.returncode == 1
    failed = {finding["check"] for finding in json.loads(answer.stdout) if finding["level"] == "failure"}
    assert {"database", "sessions", "replica"} <= failed


def test_exit_2_a_command_that_is_written_wrong(tmp_path: pathlib.Path) -> None:
    answer = pipeline(tmp_path, "reset", DAY, "--from", "CollectPrice")
    assert answer.returncode == 2
    assert "CollectPrices" in answer.stderr


def test_exit_10_another_run_is_at_work(luigi: Luigi, data_dir: pathlib.Path) -> None:
    with runlock.acquire(shared=False):
        code, said = luigi("DailyPipeline", "--date", DAY)
    assert code == 10
    assert f"process {os.getpid()}, since" in said


def test_exit_20_data_of_other_people_is_missing(luigi: Luigi, tmp_path: pathlib.Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "import luigi\nimport pipeline\n\n\nclass Theirs(luigi.ExternalTask):\n    def output(self):\n"
        "        return luigi.LocalTarget('/nonexistent/file')\n\n\nclass Ours(luigi.WrapperTask):\n"
        "    def requires(self):\n        return Theirs()\n",
        encoding="utf-8",
    )
    code, _ = luigi(
        "Ours", "--module", "theirs", PYTHONPATH=f"{ROOT}:{tmp_path}", LUIGI_CONFIG_PATH=str(impatient(tmp_path))
    )
    assert code == 20


def test_exit_25_nothing_may_run(luigi: Luigi, tmp_path: pathlib.Path) -> None:
    config = impatient(tmp_path, ("duckdb = 1", "duckdb = 0"))
    assert luigi("DailyPipeline", "--date", DAY, LUIGI_CONFIG_PATH=str(config))[0] == 25


def impatient(tmp_path: pathlib.Path, *changes: tuple[str, str]) -> pathlib.Path:
    """Our configuration, for a run that does not stay for what may never come."""
    text = (ROOT / "config" / "luigi.cfg").read_text(encoding="utf-8")
    for old, new in (("keep_alive = true", "keep_alive = false"), *changes):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "luigi.cfg").write_text(text, encoding="utf-8")
    return tmp_path / "luigi.cfg"


def test_exit_30_a_stage_failed(luigi: Luigi, market: SmallMarket) -> None:
    """And says which date, which stage, why, and what to run."""
    market.every = Fault("500")
    code, said = luigi("DailyPipeline", "--date", DAY, "--yahoo-retries", "0")
    assert code == 30, said
    closing = said[said.rindex("===== Luigi Execution Summary =====") :]
    assert re.search(
        rf"{DAY}: CollectPrices failed: Yahoo is out of order: of the first 5 symbols asked, 5 failed", closing
    )
    assert f"run again: luigi --module pipeline DailyPipeline --date {DAY}" in closing
    assert "Traceback" not in said


def refused(luigi: Luigi, market: SmallMarket, code: int, says: str, *arguments: str) -> None:
    ended, said = luigi(*arguments)
    assert ended == code, said
    assert says in said
    assert "Traceback" not in said
    assert (market.total, market.listings) == (0, 0)


@pytest.mark.parametrize(
    ("date", "says"),
    [
        ("2999-01-04", "2999-01-04 lies in the future; the latest session that has settled is "),
        pytest.param(
            "1950-01-03",
            "1950-01-03 lies before 1990-01-02, the first session of calendar XNAS",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_exit_35_a_session_that_no_run_can_serve(luigi: Luigi, market: SmallMarket, date: str, says: str) -> None:
    refused(luigi, market, 35, says, "DailyPipeline", "--date", date)


@pytest.mark.parametrize(("start", "stop"), [("2999-01-04", "2999-02-04"), ("2024-02-17", "2024-02-20")])
def test_exit_35_a_range_that_no_run_can_serve(luigi: Luigi, market: SmallMarket, start: str, stop: str) -> None:
    words = ("RangeTradingDays", "--of", "DailyPipeline", "--start", start, "--stop", stop)
    refused(luigi, market, 35, start, *words)


@pytest.mark.parametrize(
    ("date", "says"),
    [
        (
            "2024-02-30",
            "--date 2024-02-30 is no date (day is out of range for month); write it as YYYY-MM-DD, for example",
        ),
        pytest.param("16.02.2024", "--date 16.02.2024 is no date", marks=pytest.mark.slow),
        ("2024-02-16,2024-02-20", "--date 2024-02-16,2024-02-20 names several sessions, and takes one"),
    ],
)
def test_exit_40_a_date_that_is_none(luigi: Luigi, market: SmallMarket, date: str, says: str) -> None:
    refused(luigi, market, 40, says, "DailyPipeline", "--date", date)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("closed", "2024-13-01", "[market] closed = 2024-13-01: month must be in 1..12; write days as 2025-01-09"),
        pytest.param(
            "calendar", "XNSA", "[market] calendar = XNSA: exchange_calendars has no such", marks=pytest.mark.slow
        ),
    ],
)
def test_exit_40_settings_of_which_no_latest_session_follows(
    luigi: Luigi, market: SmallMarket, name: str, value: str, says: str
) -> None:
    """The command of each day, without a date: one line, and no traceback of Luigi's."""
    refused(luigi, market, 40, f"DailyPipeline failed: {says}", "DailyPipeline", f"--market-{name}", value)


def test_exit_40_the_scheduler_that_was_named_does_not_answer(luigi: Luigi) -> None:
    code, _ = luigi(
        "DailyPipeline", "--date", DAY, "--scheduler-url", "http://127.0.0.1:9", LUIGI_CORE_RPC_RETRY_WAIT="0"
    )
    assert code == 40


@pytest.mark.parametrize(
    "signum",
    [signal.SIGTERM, *(pytest.param(signum, marks=pytest.mark.slow) for signum in (signal.SIGINT, signal.SIGHUP))],
)
def test_exit_130_a_run_was_told_to_stop(market: SmallMarket, tmp_path: pathlib.Path, signum: int) -> None:
    """SIGTERM, as of systemd or a shutdown, Ctrl-C, or a terminal that is gone; nothing outlives the run."""
    assert ended_by(signum, market, tmp_path) == 130
    assert processes_of(tmp_path / "data") == []


@pytest.mark.slow
def test_exit_0_a_run_under_nohup_outlives_its_terminal(market: SmallMarket, tmp_path: pathlib.Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ended_by(signal.SIGHUP, market, tmp_path, "CollectPrices") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_exit_0_a_run_without_standard_streams(market: SmallMarket, tmp_path: pathlib.Path) -> None:
    command = [LUIGI, "--module", "pipeline", "DailyPipeline", "--date", DAY, "--local-scheduler"]
    run = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command, *options(market, tmp_path / "data")]
    assert subprocess.run(run, cwd=tmp_path, env=environment(tmp_path), timeout=240, check=False).returncode == 0


def test_exit_137_a_run_was_killed(market: SmallMarket, tmp_path: pathlib.Path) -> None:
    assert 128 - ended_by(signal.SIGKILL, market, tmp_path) == 137
    for process in processes_of(tmp_path / "data"):
        process.wait(timeout=30)


def ended_by(signum: int, market: SmallMarket, tmp_path: pathlib.Path, task: str = "DailyPipeline") -> int:
    """The code of a run that got a signal while collecting prices; a shell says 128 + number for a negative one."""
    market.latency = 0.2
    run = start_luigi(task, "--date", DAY, *options(market, tmp_path / "data"), home=tmp_path, log=tmp_path / "log")
    wait_until(lambda: market.total, run)
    run.send_signal(signum)
    return run.wait(timeout=60)


@pytest.mark.slow
def test_status_tells_of_a_run_under_way_and_of_why_the_last_one_failed(
    market: SmallMarket, tmp_path: pathlib.Path
) -> None:
    market.latency = 10  # longer than the command that looks at it takes on a busy machine
    run = start_luigi(
        "DailyPipeline", "--date", DAY, *options(market, tmp_path / "data"), home=tmp_path, log=tmp_path / "log"
    )
    wait_until(lambda: market.total, run)
    (during,) = json.loads(pipeline(tmp_path, "status", "--date", DAY, "--json").stdout)
    run.kill()
    run.wait()
    for process in processes_of(tmp_path / "data"):
        process.wait(timeout=30)
    (after,) = json.loads(pipeline(tmp_path, "status", "--date", DAY, "--json").stdout)
    assert during["stages"]["CollectSymbols"]["state"] == "done"
    assert during["stages"]["CollectPrices"]["state"] == "running"
    assert during["stages"]["ComputeIndicators"]["state"] == "pending"
    assert after["stages"]["CollectPrices"]["state"] == "killed"
    assert after["reason"] == "CollectPrices: the process was killed"


def test_retry_runs_the_session_again_and_ends_with_luigis_code(market: SmallMarket, tmp_path: pathlib.Path) -> None:
    market.every = Fault("500")
    answer = pipeline(
        tmp_path,
        "retry",
        DAY,
        "--local-scheduler",
        *options(market, tmp_path / "data"),
        "--yahoo-retries",
        "0",
        "--scheduler-retry-delay",
        "0",
    )
    assert answer.returncode == 30, answer.stderr
    assert "2024-02-16: CollectPrices failed" in answer.stderr
