"""A back-fill by the command people type: one of each for all sessions, whoever schedules it; a bad one fails alone."""

from __future__ import annotations

import datetime as dt
import pathlib

import pytest

from pipeline.database.connection import reading
from tests.runs.test_luigid import finished, luigid
from tests.support.luigid import Luigid, changed_settings
from tests.support.runs import options, processes_of, run_luigi, stray_files
from tests.support.small_market import SESSIONS, SmallMarket
from tests.support.spark_submit import stand_in

__all__ = ["luigid"]

DAYS = SESSIONS[-5:]
BAD = DAYS[2]


def work(data_dir: pathlib.Path) -> dict[str, tuple[int, int]]:
    """How many runs of each stage ended well, and how many sessions the largest of them served."""
    with reading(data_dir / "stock_data.duckdb") as connection:
        rows = connection.execute(
            "SELECT task, count(DISTINCT run_id), max(combined) FROM task_runs WHERE status = 'done' GROUP BY task"
        ).fetchall()
    return {task: (runs, combined) for task, runs, combined in rows}


@pytest.mark.long
@pytest.mark.parametrize(
    ("is_central", "workers"),
    [
        (False, 1),
        pytest.param(True, 2, marks=pytest.mark.slow),
    ],
)
def test_one_collection_one_spark_job_and_one_replica(
    market: SmallMarket,
    request: pytest.FixtureRequest,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    is_central: bool,
) -> None:
    days = SmallMarket.days
    monkeypatch.setattr(SmallMarket, "days", lambda market, symbol: [day for day in days(market, symbol) if day != BAD])
    more, scheduler = changed_settings(tmp_path, spark={"spark-submit": stand_in(tmp_path)}), []
    if is_central:
        central: Luigid = request.getfixturevalue("luigid")
        more, scheduler = central.settings, ["--scheduler-url", f"{central.url}/"]
    code, said = run_luigi(
        "RangeTradingDays", "--of", "DailyPipeline",
        "--start", str(DAYS[0]), "--stop", str(DAYS[-1] + dt.timedelta(days=1)),
        *options(market, tmp_path / "data"), *scheduler, "--workers", str(workers), home=tmp_path, **more,
    )  # fmt: skip
    assert code == 30, said
    assert f"{BAD}: CollectPrices failed" in said
    assert finished(tmp_path / "data") == {str(day) for day in DAYS if day != BAD}
    done = work(tmp_path / "data")
    assert done["CollectPrices"] == (1, len(DAYS))
    assert done["ComputeIndicators"] == (1, len(DAYS))
    assert done["ReplicateDatabase"][0] == 1
    assert done["ScanWatchlist"] == (1, len(DAYS))
    assert [
        process for process in processes_of(tmp_path / "data") if "pipeline.runs.luigid" not in process.cmdline()
    ] == []
    assert stray_files(tmp_path / "data") == []
