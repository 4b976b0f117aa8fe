"""A day on which the exchange was closed, and nobody had known."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.database.connection import reading, writing
from pipeline.market.closures import REASON, ROWS, forget_closed
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.indicators import ComputeIndicators
from pipeline.watchlist.day_view import create_day_view
from tests.conftest import forget
from tests.support.beginnings import Begun
from tests.support.collecting import ask, collect
from tests.support.runs import run_here
from tests.support.small_market import SESSIONS, SmallMarket

BEFORE, CLOSED, AFTER = SESSIONS[-6:-3]


@pytest.fixture
def closed(here: SmallMarket, monkeypatch: pytest.MonkeyPatch) -> SmallMarket:
    """A source without a bar of CLOSED."""
    days = here.days
    monkeypatch.setattr(here, "days", lambda symbol: [day for day in days(symbol) if day != CLOSED])
    return here


@pytest.fixture
def before(closed: SmallMarket, data_dir: Path, begun: Begun) -> SmallMarket:
    """The same, with the session before done."""
    begun("the session before", data_dir, lambda: collect(closed, BEFORE, task=DailyPipeline))
    return closed


def test_the_error_of_an_absent_session_names_the_setting_that_ends_it(
    before: SmallMarket, settings: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "luigi-interface"):
        assert not collect(before, CLOSED)
    assert f"[market] closed = {CLOSED}" in caplog.text

    settings("market", closed=str(CLOSED))
    forget()
    assert run_here(DailyPipeline(date=CLOSED)), "a day without a session is done"
    assert collect(before, AFTER)
    rows = {table: ask(f"SELECT count(*) FROM {table} WHERE {column} = ?", CLOSED)[0][0] for table, column in ROWS}
    assert rows == dict.fromkeys(rows, 0), "neither gaps nor states nor a wish to ask again stay of it"


def test_bars_that_a_source_made_up_for_the_day_go_and_their_indicators_are_computed_anew(
    here: SmallMarket, data_dir: Path, begun: Begun, settings: Callable[..., None]
) -> None:
    begun("the session before", data_dir, lambda: collect(here, BEFORE, task=DailyPipeline))
    assert collect(here, CLOSED, task=DailyPipeline)
    settings("market", closed=str(CLOSED))
    forget()
    with writing() as connection:
        forget_closed(connection)
    assert ask("SELECT count(*) FROM stock_data WHERE date = ?", CLOSED) == [(0,)]
    assert ask("SELECT count(*) FROM table_updates WHERE update_id LIKE ?", f"%:{CLOSED}") == [(0,)]
    assert ask("SELECT DISTINCT reason FROM bar_versions WHERE date = ?", CLOSED) == [(REASON,)]
    told = ask("SELECT body->>'change', body->'bars' FROM outbox WHERE kind = 'corrections' ORDER BY key")
    assert {change for change, _ in told} == {"deleted"}
    assert len(told) == ask("SELECT count(*) FROM bar_versions WHERE date = ?", CLOSED)[0][0]
    assert ask("SELECT count(DISTINCT symbol) FROM stale_indicators")[0][0] > 50


def test_its_list_is_kept_as_a_version_and_each_hit_told_as_removed(
    here: SmallMarket, data_dir: Path, begun: Begun, settings: Callable[..., None]
) -> None:
    begun("the session before", data_dir, lambda: collect(here, BEFORE, task=DailyPipeline))
    assert collect(here, CLOSED, task=DailyPipeline)
    hits = ask("SELECT symbol, scan_reason FROM daily_watchlist WHERE scan_date = ? ORDER BY ALL", CLOSED)
    assert hits
    settings("market", closed=str(CLOSED))
    forget()
    assert collect(here, AFTER)
    assert ask("SELECT count(*) FROM daily_watchlist WHERE scan_date = ?", CLOSED) == [(0,)]
    kept = "SELECT symbol, scan_reason FROM watchlist_versions WHERE scan_date = ? ORDER BY ALL"
    assert ask(kept, CLOSED) == hits
    told = """
        SELECT body->>'symbol', body->>'scan' FROM outbox
        WHERE kind = 'watchlist' AND body->>'session' = ? AND body->>'event' = 'removed' AND body->>'reason' = ?
        ORDER BY ALL
    """
    assert ask(told, str(CLOSED), REASON) == hits


def test_the_values_before_are_those_of_the_session_before_that_has_bars(before: SmallMarket) -> None:
    assert not collect(before, CLOSED, task=DailyPipeline)
    assert collect(before, AFTER, task=ComputeIndicators)
    with reading() as connection:
        create_day_view(connection, AFTER)
        (row,) = connection.execute(
            """
            SELECT count(*), count(prev_close), count(prev_rsi_14),
                   count(*) FILTER (
                       prev_close = (SELECT close FROM stock_data s WHERE s.symbol = v.symbol AND date = ?)
                   )
            FROM day_view v
            """,
            [BEFORE],
        ).fetchall()
    assert row[0] > 50
    assert row[1] == row[3] >= row[0] - 2, "all but symbols that did not trade"
    assert row[2] >= row[0] - 3


def test_a_few_bars_of_a_day_do_not_make_it_the_session_before(
    before: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert collect(before, AFTER, task=ComputeIndicators)
    with writing() as connection:
        connection.execute(
            "INSERT INTO stock_data BY NAME SELECT * REPLACE (?::DATE AS date) FROM stock_data WHERE date = ? LIMIT 20",
            [CLOSED, AFTER],
        )
        create_day_view(connection, AFTER)
        assert connection.execute("SELECT count(prev_close) FROM day_view").fetchone() > (50,)
