"""A damaged database: put back from a backup, what came after made anew from what was received, and nothing else."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import luigi
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import restore
from pipeline.cli.commands import restore as restore_command
from pipeline.cli.main import main
from pipeline.database.backups import backup_paths
from pipeline.database.connection import database_path
from pipeline.errors import RunInProgressError
from pipeline.runs import lock as runlock
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.ranges import RangeTradingDays
from tests.conftest import forget
from tests.support.beginnings import Begun
from tests.support.collecting import collect
from tests.support.runs import assert_same, results, run_here, stray_files
from tests.support.small_market import LAST, SESSIONS, SmallMarket

FIRST, SECOND, THIRD = SESSIONS[-4:-1]


@pytest.fixture
def done(here: SmallMarket, data_dir: Path, begun: Begun) -> SmallMarket:
    """A session of its own, which the only backup holds; then two at once, and one more."""

    def make() -> bool:
        assert collect(here, FIRST, task=DailyPipeline)
        kept = backup_paths()[0].read_bytes()
        here.as_of = THIRD
        assert run_here(RangeTradingDays(of=DailyPipeline, start=SECOND, stop=THIRD + dt.timedelta(days=1)))
        assert collect(here, LAST, task=DailyPipeline)
        for path in (data_dir / "backup").iterdir():
            path.unlink()
        (data_dir / "backup" / "stock_data-20240101T000000.000000Z.duckdb").write_bytes(kept)
        return True

    begun("four sessions", data_dir, make)
    return here


@pytest.fixture
def runs(settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The runs of the command, done in this process."""
    seen: list[list[str]] = []

    def run(words: list[str]) -> int:
        seen.append(words)
        assert words[-2:] == ["--market-offline", "true"]
        settings("market", offline="true")
        task = luigi.task_register.Register.get_task_cls(words[0])
        options = dict(zip(words[1:-2:2], words[2:-2:2], strict=True))
        values = {name.lstrip("-"): dt.date.fromisoformat(v) for name, v in options.items() if name != "--of"}
        return 0 if run_here(task(**({"of": DailyPipeline} if "--of" in options else {}), **values)) else 30

    monkeypatch.setattr(restore_command, "run", run)
    return seen


def called(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["restore", *arguments], catch_exceptions=False)


def spoil() -> None:
    os.truncate(database_path(), database_path().stat().st_size // 2)
    forget()


def test_the_tables_are_those_of_before(done: SmallMarket, data_dir: Path, runs: list[list[str]]) -> None:
    before, asked = results(data_dir), dict(done.requests)
    spoil()
    answer = called("--yes")
    assert answer.exit_code == 0, answer.output
    assert f"4 sessions from {FIRST} to {LAST}" in answer.output
    assert [words[:3] for words in runs] == [
        ["DailyPipeline", "--date", str(FIRST)],  # in the middle of which the backup was made
        ["RangeTradingDays", "--of", "DailyPipeline"],  # as they were collected: at once
        ["DailyPipeline", "--date", str(LAST)],
    ]
    assert_same(results(data_dir), before)
    assert all(DailyPipeline(date=day).complete() for day in (FIRST, SECOND, THIRD, LAST))
    assert done.requests == asked, "a source was asked"
    assert stray_files(data_dir) == []
    assert len(list(data_dir.glob("stock_data.duckdb.replaced-*"))) == 1


@pytest.mark.slow
def test_a_second_restore_has_one_session_to_finish(done: SmallMarket, runs: list[list[str]]) -> None:
    assert called("--yes").exit_code == 0
    assert len(runs) == 3
    runs.clear()
    answer = called("--yes")
    assert answer.exit_code == 0
    assert f"it lacks:  {LAST}, or stages of it" in answer.output
    assert [words[:3] for words in runs] == [["DailyPipeline", "--date", str(LAST)]]
    assert DailyPipeline(date=LAST).complete()


def test_what_is_replaced_is_kept_with_its_log(done: SmallMarket, data_dir: Path) -> None:
    database_path().write_bytes(b"damaged")
    Path(f"{database_path()}.wal").write_bytes(b"its log")
    aside = restore.put_back(backup_paths()[0])
    assert aside is not None
    assert (aside.read_bytes(), Path(f"{aside}.wal").read_bytes()) == (b"damaged", b"its log")
    assert not Path(f"{database_path()}.wal").exists()
    assert database_path().read_bytes() == backup_paths()[0].read_bytes()
    assert os.access(database_path(), os.W_OK)


def test_a_kill_before_the_rename_leaves_the_database_in_its_place(
    done: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = database_path().read_bytes()

    def killed(source: object, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        restore.put_back(backup_paths()[0])
    assert database_path().read_bytes() == before


def test_a_backup_is_chosen_by_name_and_unknown_ones_are_not(done: SmallMarket, runs: list[list[str]]) -> None:
    (backup,) = backup_paths()
    assert called(backup.name, "--only", "--yes").exit_code == 0
    answer = called("stock_data-2023.duckdb", "--yes")
    assert answer.exit_code == 1
    assert f"there is no backup stock_data-2023.duckdb; there are in {backup.parent}: {backup.name}" in answer.output


def test_without_a_good_backup_nothing_is_replaced(done: SmallMarket, runs: list[list[str]]) -> None:
    (backup,) = backup_paths()
    backup.write_bytes(b"no database")
    before = database_path().read_bytes()
    answer = called("--yes")
    assert answer.exit_code == 1
    assert f"{backup.name}: " in answer.output
    assert "market.offline=true" in answer.output
    assert database_path().read_bytes() == before
    assert runs == []


def test_nothing_is_replaced_without_a_yes_or_under_a_run(done: SmallMarket, runs: list[list[str]]) -> None:
    before = database_path().stat().st_ino
    answer = CliRunner().invoke(main, ["restore"], input="n\n")
    assert answer.exit_code == 1
    held = runlock.acquire(shared=True)
    with pytest.raises(RunInProgressError):
        restore.put_back(backup_paths()[0])
    held.close()
    assert database_path().stat().st_ino == before
    assert runs == []
