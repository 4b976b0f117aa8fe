"""The day as a whole: it follows from its stages, so that what is gone, and nothing else, is made again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import luigi
import pytest

from pipeline.database.connection import writing
from pipeline.database.replica import manifest_path, replica_path
from pipeline.report.places import report_path
from pipeline.tasks.base import SessionTask
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.report import GenerateReport
from pipeline.tasks.stages import STAGES, stage_names
from tests.conftest import forget
from tests.support.runs import mark_done, run_here
from tests.support.small_market import LAST, SmallMarket


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each stage has done its work."""
    found: Counter[str] = Counter()
    for stage in STAGES:
        monkeypatch.setattr(stage, "process", counted(stage, found))
    return found


def counted(stage: type[SessionTask], found: Counter[str]) -> Callable[..., object]:
    process = stage.process

    def process_counted(task: SessionTask, sessions: object) -> object:
        found[stage.__name__] += 1
        return process(task, sessions)  # type: ignore[arg-type]

    return process_counted


def remove_row(stage: str) -> None:
    with writing() as connection:
        connection.execute("DELETE FROM table_updates WHERE update_id = ?", [f"{stage}:{LAST}"])


LOSSES: dict[str, tuple[Callable[[], object], list[str]]] = {
    "replica": (lambda: replica_path().unlink(), ["ReplicateDatabase"]),
    "manifest": (lambda: manifest_path().unlink(), ["ReplicateDatabase"]),
    "page": (lambda: report_path(LAST).unlink(), ["GenerateReport"]),
    "row of a stage in the middle": (lambda: remove_row("ScanWatchlist"), ["ScanWatchlist"]),
    "row of the last stage": (lambda: remove_row("CloseSession"), ["CloseSession"]),
    "marker file, its row being there": (lambda: Path(GenerateReport.marker(LAST).path).unlink(), []),
}


def test_what_is_gone_is_made_again_and_nothing_else(here: SmallMarket, worked: Counter[str]) -> None:
    assert run_here(DailyPipeline(date=LAST))
    assert worked == Counter(stage_names())
    for loss, (lose, made) in LOSSES.items():
        lose()
        forget()
        worked.clear()
        assert DailyPipeline.bulk_complete([LAST]) == [], loss
        assert run_here(DailyPipeline(date=LAST)), loss
        assert worked == Counter(made), loss
        assert DailyPipeline.bulk_complete([LAST]) == [LAST], loss


def test_it_is_one_of_luigis_wrapper_tasks_and_keeps_no_record(here: SmallMarket) -> None:
    task = DailyPipeline(date=LAST)
    assert isinstance(task, luigi.WrapperTask)
    assert task.output() == []
    assert [type(stage) for stage in task.requires()] == list(STAGES)


def test_a_stage_stands_behind_all_that_it_follows() -> None:
    for place, stage in enumerate(STAGES):
        assert set(stage.follows) <= set(STAGES[:place])


@pytest.mark.parametrize(("days", "is_done"), [(9.9, False), (10.1, True)])
def test_a_page_that_was_cleaned_up_for_its_age_is_not_missed(
    data_dir: Path, settings: Callable[..., None], days: float, is_done: bool
) -> None:
    settings("retention", report_days=10)
    mark_done(LAST)
    marker = Path(GenerateReport.marker(LAST).path)
    moment = marker.stat().st_mtime - days * 86400
    os.utime(marker, (moment, moment))
    assert GenerateReport(date=LAST).is_done(LAST) is is_done
