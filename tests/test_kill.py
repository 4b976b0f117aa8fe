"""SIGKILL in the middle of each stage, then the same command again: the tables of a run that nobody disturbed."""

import datetime as dt
import os
import signal

import duckdb
import psutil
import pytest

from tests.support.luigid import changed_settings
from tests.support.runs import (
    assert_same,
    options,
    processes_of,
    results,
    run_luigi,
    start_luigi,
    stray_files,
    wait_until,
)
from tests.support.small_market import UNKNOWN, SmallMarket
from tests.support.spark_submit import stand_in

pytestmark = [pytest.mark.spark, pytest.mark.slow]

DAY = "2024-02-16"
AS_OF = dt.date(2024, 2, 16)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The tables, and the requests, of a run that was left in peace."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with SmallMarket(as_of=AS_OF) as market:
        code, said = run_luigi("DailyPipeline", "--date", DAY, *options(market, folder / "data"), home=folder)
        assert code == 0, said
        return results(folder / "data"), dict(market.requests)


def spark_job(data):
    """The Spark driver or worker that is at work for this folder."""
    return any("indicators/job.py" in " ".join(process.cmdline()) for process in alive(data))


def alive(data):
    return [process for process in processes_of(data) if process.is_running()]


#: When the run is killed: a name, and the condition waited for. Spark itself runs in the moments named after it.
MOMENTS = {
    "prices": lambda data, market: market.total > 25,
    "spark-starts": lambda data, market: spark_job(data),
    "spark-works": lambda data, market: spark_job(data) and list((data / "logs").glob("*")) and java(data),
    "spark-result": lambda data, market: list((data / "work" / "indicators").glob("*/*/output/*.parquet")),
    "watchlist-load": lambda data, market: (data / "markers" / "ComputeIndicators" / f"{DAY}.json").exists(),
    "replica-published": lambda data, market: (data / "replica" / "stock_data_replica.duckdb").exists(),
    "end": lambda data, market: (data / "markers" / "NotifySuccess" / f"{DAY}.json").exists(),
}


def java(data):
    return any(process.name() == "java" for process in alive(data))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_costs_nothing_but_time(undisturbed, tmp_path, moment):
    data, tables, log = tmp_path / "data", undisturbed[0], tmp_path / "killed.log"
    spark = {} if moment.startswith("spark") else changed_settings(tmp_path, spark={"spark-submit": stand_in(tmp_path)})
    with SmallMarket(as_of=AS_OF, latency=0.05 if moment == "prices" else 0.0) as market:
        command = ("DailyPipeline", "--date", DAY, *options(market, data), "--yahoo-threads", "4")
        killed = start_luigi(*command, home=tmp_path / "home", log=log, **spark)
        wait_until(lambda: MOMENTS[moment](data, market), killed)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        left = alive(data)
        assert psutil.wait_procs(left, timeout=20)[1] == [], "orphans"
        answered = dict(market.requests)
        market.latency = 0.0
        code, said = run_luigi(*command, home=tmp_path / "home", **spark)
        assert code == 0, said
        twice = {symbol for symbol, count in market.requests.items() if count > 1 and symbol != UNKNOWN}
    assert_same(results(data), tables)
    assert stray_files(data) == []
    assert alive(data) == []
    if moment == "prices":
        assert 0 < len(answered) < 58
        assert len(twice) <= 8, "more than what was under way: four threads, and what waits for them"
    else:
        assert twice == set()
        assert market.listings == 2  # the first page and the download, once
    with duckdb.connect(str(data / "stock_data.duckdb"), read_only=True) as connection:
        killed_runs = connection.execute("SELECT count(*) FROM task_runs WHERE status = 'killed'").fetchone()[0]
    assert killed_runs <= 1
    if moment not in ("watchlist-load", "replica-published", "end"):  # there the kill may fall between two tasks
        assert killed_runs == 1
