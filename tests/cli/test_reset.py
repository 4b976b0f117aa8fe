"""Undoing stages: exactly the later ones run again, and the source is asked anew when prices are among them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import reset
from pipeline.cli.main import main
from pipeline.database.connection import reading, writing
from pipeline.errors import EmptyRangeError, MixedSourcesError, RunInProgressError
from pipeline.runs import lock as runlock
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.lake import PublishLake
from pipeline.tasks.stages import STAGES, stage_names, stages_from
from tests.conftest import forget
from tests.support.beginnings import Begun
from tests.support.collecting import collect
from tests.support.runs import assert_same, results, run_here
from tests.support.small_market import LAST, SESSIONS, SmallMarket

BEFORE = SESSIONS[-2]


@pytest.fixture
def done(here: SmallMarket, data_dir: Path, begun: Begun) -> SmallMarket:
    """A market whose last two sessions are done."""
    begun("two sessions", data_dir, lambda: collect(here, BEFORE, LAST, task=DailyPipeline))
    return here


def updates() -> dict[str, object]:
    with reading() as connection:
        return dict(connection.execute("SELECT update_id, inserted FROM table_updates").fetchall())


def undo(session: dt.date, stage: str) -> None:
    reset.carry_out(reset.plan([session], stage))
    forget()


def test_the_stages_are_known_from_what_they_follow() -> None:
    assert stage_names()[0] == "CollectSymbols"
    assert stage_names()[-1] == "CloseSession"
    assert stages_from("CollectSymbols") == list(STAGES)
    later = [stage.__name__ for stage in stages_from("NotifySuccess")]
    assert later[0] == "NotifySuccess"
    assert {"GenerateReport", "CleanUpFiles", "CloseSession"} <= set(later)
    assert "ReplicateDatabase" not in later


@pytest.mark.parametrize("first", ["CollectPrices", "ScanWatchlist", "CloseSession"])
def test_exactly_the_stage_and_those_after_it_run_again(done: SmallMarket, tmp_path: Path, first: str) -> None:
    tables, before = results(tmp_path / "data"), updates()
    undo(LAST, first)
    assert run_here(DailyPipeline(date=LAST))
    again = {update for update, moment in updates().items() if before.get(update) != moment}
    assert again == {f"{stage.__name__}:{LAST}" for stage in stages_from(first)} & before.keys()
    assert_same(results(tmp_path / "data"), tables)


def test_a_reset_of_the_prices_asks_the_source_anew(done: SmallMarket) -> None:
    done.corrections["S05", LAST] = 1.01
    asked = done.requests["S05"]
    undo(LAST, "CollectPrices")
    assert run_here(DailyPipeline(date=LAST))
    assert done.requests["S05"] == asked + 1
    with reading() as connection:
        stored = connection.execute("SELECT close FROM stock_data WHERE symbol = 'S05' AND date = ?", [LAST]).fetchone()
    assert stored == (done.bar("S05", LAST)[3],)


def test_a_reset_offline_uses_what_was_received(
    done: SmallMarket, settings: Callable[..., None], tmp_path: Path
) -> None:
    tables, asked = results(tmp_path / "data"), done.total
    settings("market", offline="true")
    undo(LAST, "CollectPrices")
    assert run_here(DailyPipeline(date=LAST))
    assert done.total == asked
    assert_same(results(tmp_path / "data"), tables)


def test_a_reset_of_the_listing_asks_for_that_of_the_latest_session(
    done: SmallMarket, clock: Callable[..., None]
) -> None:
    clock(LAST.year, LAST.month, LAST.day, 20)
    asked = done.listings
    undo(LAST, "CollectSymbols")
    assert run_here(DailyPipeline(date=LAST))
    assert done.listings == asked + 1
    undo(BEFORE, "CollectSymbols")  # a past listing cannot be asked for: the stored one stays
    assert run_here(DailyPipeline(date=BEFORE))
    assert done.listings == asked + 1


def test_a_reset_has_the_session_published_again(done: SmallMarket) -> None:
    with writing() as connection:
        for session in (BEFORE, LAST):
            PublishLake.row(session).touch(connection, PublishLake.table)
    undo(LAST, "CloseSession")
    assert not PublishLake.row(LAST).exists()
    assert PublishLake.row(BEFORE).exists()


def test_a_reset_for_another_source_sets_no_answer_aside(
    done: SmallMarket, data_dir: Path, settings: Callable[..., None]
) -> None:
    before = sorted((data_dir / "raw" / "prices").iterdir())
    settings("market", source="simulated")
    with pytest.raises(MixedSourcesError):
        undo(LAST, "CollectPrices")
    assert sorted((data_dir / "raw" / "prices").iterdir()) == before


def test_a_reset_touches_no_other_session(done: SmallMarket) -> None:
    before = {update: moment for update, moment in updates().items() if update.endswith(str(BEFORE))}
    undo(LAST, "CollectSymbols")
    assert before.items() <= updates().items()
    assert DailyPipeline.bulk_complete([BEFORE, LAST]) == [BEFORE]


def test_a_reset_waits_for_no_run_but_names_it(done: SmallMarket) -> None:
    with runlock.acquire(shared=True), pytest.raises(RunInProgressError, match="process"):
        reset.carry_out(reset.plan([LAST], "ScanWatchlist"))
    assert LAST in DailyPipeline.bulk_complete([LAST])


def test_a_day_without_a_session_has_nothing_to_reset(data_dir: Path) -> None:
    with pytest.raises(EmptyRangeError, match="2024-02-16 and 2024-02-20"):
        reset.plan([dt.date(2024, 2, 17)], "ScanWatchlist")


def test_the_command_asks_first(done: SmallMarket) -> None:
    arguments = ["reset", str(LAST), "--from", "ScanWatchlist"]
    answer = CliRunner().invoke(main, arguments, input="n\n")
    assert answer.exit_code == 1
    assert "daily_watchlist" in answer.output
    assert DailyPipeline.bulk_complete([LAST]) == [LAST]
    assert CliRunner().invoke(main, [*arguments, "--yes"]).exit_code == 0
    forget()
    assert DailyPipeline.bulk_complete([LAST]) == []


def test_a_kill_between_rows_and_files_leaves_the_stage_undone(done: SmallMarket) -> None:
    plan = reset.plan([LAST], "ScanWatchlist")
    with writing() as connection:
        reset._forget(connection, plan)
    forget()
    assert DailyPipeline.bulk_complete([LAST]) == []
    assert run_here(DailyPipeline(date=LAST))
