"""The pipeline as people run it: `luigi --module pipeline ...`, with real clients, real Spark, and real exit codes."""

import datetime as dt
import subprocess
import sys

import duckdb
import pytest

from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.stages import stage_names
from tests.support.fake_market import Fault
from tests.support.runs import (
    environment,
    keep_trading_hours,
    options,
    processes_of,
    results,
    run_here,
    run_luigi,
    start_luigi,
    stray_files,
    wait_until,
)
from tests.support.small_market import DIVIDEND, GONE, NEW, SMALL, THIN, UNKNOWN

DAY = "2024-02-16"


@pytest.fixture
def run(market, tmp_path):
    """`run("2024-02-16", "--workers", "2")`: exit code and output of DailyPipeline over the fake market."""
    market.as_of = dt.date(2024, 2, 16)

    def daily(date, *arguments, **environment):
        return run_luigi(
            "DailyPipeline",
            "--date",
            date,
            *options(market, tmp_path / "data"),
            *arguments,
            home=tmp_path / "home",
            **environment,
        )

    return daily


def asked(market):
    return market.total, market.listings


@pytest.mark.spark
def test_a_session_from_the_listing_to_the_report(run, market, tmp_path):
    code, said = run(DAY)
    assert code == 0, said
    tables = results(tmp_path / "data")
    states = {symbol: state for symbol, _, state in tables["price_coverage"]}
    assert len(states) == 58
    assert {symbol: state for symbol, state in states.items() if state != "stored"} == {
        UNKNOWN: "unknown",
        THIN: "not_traded",
    }
    assert {SMALL, GONE} & states.keys() == set()
    assert {"NA", "TRUE", "BRK/B", NEW} <= states.keys()
    assert (DIVIDEND, dt.date(2024, 2, 16), "dividend", 0.5) in tables["corporate_actions"]
    assert len(tables["technical_indicators"]) == 56
    data = tmp_path / "data"
    assert (data / "replica" / "stock_data_replica.duckdb").exists()
    assert "&lt;img src=x" not in said
    assert stray_files(data) == []
    assert processes_of(data) == []

    before = asked(market)
    code, said = run(DAY)  # once more
    assert code == 0, said
    assert asked(market) == before
    assert "1 complete ones were encountered" in said
    assert "running" not in said

    page = (data / "reports" / f"{DAY}.html").read_text()
    assert "<img src=x" not in page

    with duckdb.connect(str(data / "stock_data.duckdb"), read_only=True) as connection:
        recorded = connection.execute(
            "SELECT task, date, status, try_number, duration_seconds >= 0 FROM task_runs"
        ).fetchall()
    assert [task for task, *_ in recorded].count("CollectPrices") == 1
    assert {task for task, *_ in recorded} == {*stage_names(), "DailyPipeline"}
    assert {run[1:] for run in recorded} == {(dt.date(2024, 2, 16), "done", 1, True)}


@pytest.mark.slow
def test_too_few_symbols_fail_the_session_and_the_next_run_asks_for_the_rest(run, market, tmp_path):
    for symbol in ("S01", "S02", "S03", "S04", "S05", "S06"):
        market.faults[symbol] = Fault("500")
    code, said = run(DAY, "--yahoo-retries", "0")
    assert code == 30, said
    closing = said[said.rindex("===== Luigi Execution Summary =====") :]
    assert (
        "CollectPrices failed: session 2024-02-16: 89.5% of the expected symbols were delivered, 95.0% are needed"
        in closing
    )
    market.faults.clear()
    before = dict(market.requests)
    code, said = run_luigi("CollectPrices", "--date", DAY, *options(market, tmp_path / "data"), home=tmp_path / "home")
    assert code == 0, said
    again = {symbol for symbol, count in market.requests.items() if count > before.get(symbol, 0)}
    assert again == {"S01", "S02", "S03", "S04", "S05", "S06"}


def test_a_listing_that_fails_leaves_everything_as_it_was(run, market, tmp_path):
    code, said = run(DAY, "--nasdaq-min-symbols", "5000")
    assert code == 30, said
    assert "[nasdaq] min_symbols wants 5,000" in said
    assert results(tmp_path / "data")["nasdaq_symbols"] == []


def test_a_second_run_is_told_of_the_first(run, market, tmp_path):
    market.latency = 0.2
    log = tmp_path / "first.log"
    first = start_luigi(
        "DailyPipeline", "--date", DAY, *options(market, tmp_path / "data"), home=tmp_path / "home", log=log
    )
    wait_until(lambda: market.total, first)
    code, said = run(DAY)
    first.kill()
    first.wait()
    assert code == 10, said
    assert f"process {first.pid}, since" in said
    assert "--date 2024-02-16" in said


#: Luigi's command line, which says at its end what of the heavy packages it has imported; every file counts as rested.
RERUN = """
import atexit, sys
heavy = {"duckdb", "pandas", "numpy", "pyspark", "yfinance", "pyarrow", "exchange_calendars", "jinja2"}
atexit.register(lambda: print("heavy:", *sorted(heavy & set(sys.modules))))
import luigi.cmdline
import pipeline
from pipeline.database import query_cache
query_cache.REST = 0
luigi.cmdline.luigi_run()
"""


def test_the_rerun_of_a_finished_date_imports_nothing_heavy(here, data_dir, tmp_path):
    """Its time is that of Luigi itself, from the second one on: the first keeps what it finds in the database."""
    here.as_of = dt.date.fromisoformat(DAY)
    keep_trading_hours(data_dir)
    assert run_here(DailyPipeline(date=here.as_of))
    words = ["--module", "pipeline", "DailyPipeline", "--date", DAY, "--local-scheduler"]
    rerun = [sys.executable, "-c", RERUN, *words, "--storage-data-dir", data_dir]
    imported = []
    for _ in range(2):
        ended = subprocess.run(rerun, capture_output=True, text=True, env=environment(tmp_path), cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        imported.append(ended.stdout.splitlines()[-1])
    assert imported == ["heavy: duckdb", "heavy:"]
