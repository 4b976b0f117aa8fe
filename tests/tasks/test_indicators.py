"""What Spark has computed is stored with the bars that it was computed from, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.database.connection import reading, writing
from pipeline.errors import BarsChangedError
from pipeline.indicators.spark.submit import SparkJob
from pipeline.tasks.base import SessionTask
from pipeline.tasks.indicators import ComputeIndicators
from pipeline.tasks.prices import CollectPrices
from tests.support.runs import run_here
from tests.support.small_market import LAST, SmallMarket
from tests.support.spark_submit import compute_here


def run_beside(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """Have Spark's work take as long as what another run does meanwhile."""

    def submit(job: SparkJob, arguments: list[str]) -> None:
        compute_here(job, arguments)
        meanwhile()

    monkeypatch.setattr(SparkJob, "submit", submit)


def collects_again() -> None:
    """Another run corrects the bars of the session."""
    with writing() as connection:
        connection.execute("UPDATE stock_data SET close = close * 1.05 WHERE date = ?", [LAST])
        CollectPrices.row(LAST).touch(connection, CollectPrices.table)


def computes_as_well() -> None:
    """Another run has this stage behind it."""
    with writing() as connection:
        ComputeIndicators.row(LAST).touch(connection, ComputeIndicators.table)


def reports() -> None:
    """Another run has a stage behind it that writes neither bars nor indicators."""
    with writing() as connection:
        SessionTask.row(LAST).touch(connection, "reports")


def takes_it_back() -> None:
    """Another run has confirmed the session, whose later stages are to be done anew."""
    with writing() as connection:
        connection.execute("DELETE FROM table_updates WHERE update_id = ?", [CollectPrices.row(LAST).update_id])


def rows() -> int:
    with reading() as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM technical_indicators").fetchall()
    return int(count)


@pytest.mark.parametrize("meanwhile", [collects_again, computes_as_well, takes_it_back])
def test_nothing_is_stored_where_another_run_has_written_while_spark_worked(
    here: SmallMarket, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]
) -> None:
    assert run_here(CollectPrices(date=LAST))
    run_beside(monkeypatch, meanwhile)
    with pytest.raises(BarsChangedError, match="another run has written bars or indicators"):
        ComputeIndicators(date=LAST).process([LAST])
    assert rows() == 0
    monkeypatch.setattr(SparkJob, "submit", compute_here)
    assert ComputeIndicators(date=LAST).process([LAST])[LAST]["rows"] == rows() > 50


def test_what_stages_beside_it_have_done_meanwhile_changes_nothing(
    here: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_here(CollectPrices(date=LAST))
    run_beside(monkeypatch, reports)
    assert run_here(ComputeIndicators(date=LAST))
    assert rows() > 50
