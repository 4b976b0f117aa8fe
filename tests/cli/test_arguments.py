"""What a shell completes, and dates and symbols as people type them."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.database.connection import database_path, writing
from pipeline.database.replica import replica_path
from pipeline.report.places import report_path
from tests.support.stored_market import LAST, SESSIONS, fill


@pytest.fixture
def stored(data_dir: pathlib.Path) -> pathlib.Path:
    with writing() as connection:
        fill(connection, [LAST])
        connection.execute(
            """
            INSERT INTO nasdaq_symbols (symbol, name, is_active, first_seen, last_seen, updated_at)
            SELECT symbol, any_value(name), true, min(date), max(date), now() FROM symbol_snapshots GROUP BY symbol
            """
        )
    replica_path().parent.mkdir()
    shutil.copyfile(database_path(), replica_path())
    report_path(LAST).parent.mkdir()
    for session in SESSIONS[-3:]:
        report_path(session).touch()
    return data_dir


def completed(words: str) -> list[str]:
    """What the shell is told to offer for the last word."""
    _, *before, last = words.split(" ")
    shell = BashComplete(main, {}, "pipeline", "_PIPELINE_COMPLETE")
    return [item.value for item in shell.get_completions(before, last)]


def test_a_symbol_is_completed_from_the_replica(stored: pathlib.Path) -> None:
    offered = completed("pipeline show k0")
    assert offered == sorted(offered) and offered[:3] == ["K00", "K01", "K02"] and "K10" not in offered
    assert completed(f"pipeline explain {LAST} K01") == ["K01"]


@pytest.mark.parametrize(
    "command", ["watchlist", "status", "show K01", "explain", "retry", "evaluate", "backfill", "try x"]
)
def test_a_date_is_completed_from_the_pages_the_newest_first(stored: pathlib.Path, command: str) -> None:
    assert completed(f"pipeline {command} 2024") == [str(day) for day in reversed(SESSIONS[-3:])]
    assert completed(f"pipeline {command} {LAST}") == [str(LAST)]


def test_a_setting_is_completed(stored: pathlib.Path) -> None:
    assert completed("pipeline status --set yahoo.req") == ["yahoo.requests_per_second="]
    assert completed("pipeline --set market.off") == ["market.offline="]


def test_nothing_is_completed_where_nothing_is_stored(data_dir: pathlib.Path) -> None:
    assert completed("pipeline show K") == []
    assert completed("pipeline watchlist 2024") == []


def test_a_day_that_is_none_is_told_how_to_be_written(data_dir: pathlib.Path) -> None:
    answer = CliRunner().invoke(main, ["watchlist", "20.2.2024"])
    assert answer.exit_code == 2
    assert "'20.2.2024' is no date; write year, month and day as in 2024-02-20" in answer.output
