"""The scans of many sessions in one go: the same lists as one by one, and a session that fails keeps no other back."""

from __future__ import annotations

import datetime as dt
import pathlib
from typing import Any

import pytest

from pipeline.database.connection import writing
from pipeline.errors import ScanError
from pipeline.tasks import watchlist as stage
from pipeline.tasks.watchlist import ScanWatchlist
from tests.support.stored_market import SESSIONS, fill

DAYS = SESSIONS[-5:]


@pytest.fixture(autouse=True)
def stored(data_dir: pathlib.Path) -> None:
    with writing() as connection:
        fill(connection, SESSIONS[-6:])


def lists() -> list[tuple[Any, ...]]:
    with writing() as connection:
        return connection.execute(
            "SELECT scan_date, * EXCLUDE (scan_date, stored_at) FROM daily_watchlist "
            "ORDER BY scan_date, priority, symbol"
        ).fetchall()


def done() -> list[dt.date]:
    return [day for day in DAYS if ScanWatchlist.row(day).exists()]


def mark_stale(day: dt.date) -> None:
    with writing() as connection:
        connection.execute("INSERT INTO stale_sessions (date, since, symbols, reason) VALUES (?, now(), 1, '')", [day])


@pytest.mark.parametrize("at_once", [1, 2, 40])
def test_together_as_one_by_one(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in DAYS:
        ScanWatchlist(date=day).process([day])
    alone = lists()
    with writing() as connection:
        connection.execute("DELETE FROM daily_watchlist")
        connection.execute("DELETE FROM table_updates")
    monkeypatch.setattr(stage, "AT_ONCE", at_once)
    outcomes = ScanWatchlist(date=tuple(DAYS)).process(DAYS)
    assert lists() == alone
    assert len({row[0] for row in alone}) > 1, "several sessions have hits"
    assert list(outcomes) == DAYS == done()
    assert sum(sum(outcome["hits"].values()) for outcome in outcomes.values()) == len(alone)


def test_a_rule_that_fails_on_one_session_leaves_the_others_their_lists(tmp_path: pathlib.Path, settings: Any) -> None:
    """Its order cannot be computed on the values of one day, which no check foresees."""
    rules = tmp_path / "scans.toml"
    rules.write_text(
        f"""[odd]
        description = "falls over one day"
        priority = 1
        condition = "true"
        order = "CAST(CASE WHEN date = '{DAYS[2]}' THEN name ELSE '1' END AS INTEGER)"
        limit = 1
        """
    )
    settings("scans", file=str(rules))
    outcomes = ScanWatchlist(date=tuple(DAYS)).process(DAYS)
    assert [day for day, outcome in outcomes.items() if isinstance(outcome, ScanError)] == [DAYS[2]]
    assert done() == [day for day in DAYS if day != DAYS[2]]


def test_marked_sessions_before_are_scanned_again_and_those_of_the_run_once(caplog: pytest.LogCaptureFixture) -> None:
    ScanWatchlist(date=tuple(DAYS[:3])).process(DAYS[:3])
    for day in DAYS[1:4]:
        mark_stale(day)
    with writing() as connection:
        connection.execute(
            "UPDATE stock_data SET close = 10 * close "
            "WHERE date = $day AND symbol = (SELECT min(symbol) FROM daily_watchlist WHERE scan_date = $day)",
            {"day": DAYS[2]},
        )
    caplog.set_level("INFO", "pipeline")
    outcomes = ScanWatchlist(date=tuple(DAYS[3:])).process(DAYS[3:])
    assert [str(day) for day in DAYS if f"{day}: " in caplog.text] == [str(day) for day in DAYS[1:]]
    assert [caplog.text.count(f"{day}: ") for day in DAYS[1:]] == [1] * 4
    assert list(outcomes) == DAYS[3:]
    assert all(list(outcome["amended"]) == [str(DAYS[2])] for outcome in outcomes.values())
    with writing() as connection:
        assert connection.execute("FROM stale_sessions").fetchall() == []
