"""Figures of the report against a plain calculation over the stored bars."""

from __future__ import annotations

import datetime as dt
import pathlib
import statistics
from typing import Any

import exchange_calendars
import pytest

from pipeline.database.connection import writing
from pipeline.report.breadth import breadth as breadth_of
from pipeline.report.breadth import prepare
from pipeline.watchlist.day_view import create_day_view
from tests.support.stored_market import LAST, SESSIONS, SYMBOLS, bars, fill


@pytest.fixture
def stored(data_dir: pathlib.Path) -> pathlib.Path:
    with writing() as connection:
        fill(connection, [SESSIONS[-2], LAST])
    return data_dir


def breadth(statement: str = "SELECT 1", values: list[Any] | None = None) -> dict[str, Any]:
    with writing() as connection:
        connection.execute(statement, values)
        create_day_view(connection, LAST)
        prepare(connection, [LAST])
        return breadth_of(connection, LAST)


def test_shares_above_the_averages_are_those_of_the_closes(stored: pathlib.Path) -> None:
    closes = {symbol: [row[5] for row in bars() if row[0] == symbol] for symbol in SYMBOLS}
    listed = [closes[row[0]] for row in bars() if row[1] == LAST]
    found = breadth()
    for length in (20, 50):
        above = [values[-1] > statistics.fmean(values[-length:]) for values in listed]
        assert found[f"above_sma_{length}"] == pytest.approx(statistics.fmean(above))
    assert found["above_sma_20"] != found["above_sma_50"]


@pytest.mark.parametrize(
    ("rsi", "oversold", "overbought"), [(29.99, 1, 0), (30.0, 0, 0), (70.0, 0, 0), (70.01, 0, 1), (None, None, None)]
)
def test_a_share_is_oversold_below_30_and_overbought_above_70(
    stored: pathlib.Path, rsi: float | None, oversold: int | None, overbought: int | None
) -> None:
    found = breadth("UPDATE technical_indicators SET rsi_14 = ? WHERE date = ?", [rsi, LAST])
    assert (found["oversold"], found["overbought"]) == (oversold, overbought)


@pytest.mark.parametrize(("sessions", "highs"), [(200, 0), (201, 1)])
def test_a_high_is_one_of_the_year_for_a_symbol_with_more_than_200_sessions(
    stored: pathlib.Path, sessions: int, highs: int
) -> None:
    """Of the others nobody knows; 139 sessions before LAST are stored of each."""
    older = exchange_calendars.get_calendar("XNAS", start="2022-01-03").sessions_window(
        str(SESSIONS[0]), -(sessions - 138)
    )
    days: list[dt.date] = [stamp.date() for stamp in older if stamp.date() < SESSIONS[0]]
    with writing() as connection:
        connection.execute(
            """
            INSERT INTO stock_data BY NAME
            SELECT 'K01' AS symbol, unnest(?::DATE[]) AS date, 1 AS open, 1 AS high, 1 AS low, 1 AS close, 1 AS volume,
                   now() AS fetched_at
            """,
            [days],
        )
        before = connection.execute(
            "SELECT count(*) FROM stock_data WHERE symbol = 'K01' AND date < ?", [LAST]
        ).fetchone()
    assert before == (sessions,)
    assert breadth("UPDATE stock_data SET high = 1e6 WHERE date = ?", [LAST])["new_highs"] == highs


@pytest.mark.parametrize("beside", [[0], [1], [0, 1, 2], [120], [0, 120, 138]])
def test_a_session_s_breadth_is_the_same_among_others(stored: pathlib.Path, beside: list[int]) -> None:
    """Near ones share most of a year with it, far ones a part; with one of another year there is nothing to share."""
    far = [dt.date(2019, 6, 3)] if 138 in beside else []
    with writing() as connection:
        create_day_view(connection, LAST)
        prepare(connection, [LAST])
        alone = breadth_of(connection, LAST)
        prepare(connection, [LAST, *far, *(SESSIONS[each] for each in beside)])
        assert breadth_of(connection, LAST) == alone
        assert alone["symbols"] > 0
