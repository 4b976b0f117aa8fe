"""Companies whose symbol changes, and symbols that stand for something else than they did."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.database.connection import duplicated_rows, writing
from pipeline.market.ticker_changes import carry_over
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.indicators import ComputeIndicators
from tests.conftest import forget
from tests.support import small_market
from tests.support.beginnings import Begun
from tests.support.collecting import ask, collect
from tests.support.runs import results, run_here
from tests.support.small_market import SESSIONS, WALKS, SmallMarket

OLD, NEW = "S05", "METX"
R = SESSIONS[-8:]
CHANGE = R[2]


@dataclasses.dataclass
class Change:
    """OLD becomes NEW on CHANGE. `joins`: the source gives NEW the bars from before it, too."""

    market: SmallMarket
    joins: bool = True
    name: str = f"{OLD} Inc. Common Stock"
    shares: float | None = None  # of both, None: two different numbers
    factor: float = 1.0  # what the new symbol's prices are multiplied with, in the listing and in the chart

    def is_new(self) -> bool:
        return self.market.as_of >= CHANGE

    def row(self, row: dict[str, str]) -> dict[str, str]:
        price = float(row["lastsale"].strip("$"))
        if row["symbol"] == NEW:
            row = row | {"name": self.name, "lastsale": f"${price}", "netchange": f"{price}"}  # as NASDAQ has it
        return row | {"marketCap": str(price * self.shares)} if self.shares else row

    def days(self, symbol: str, days: list[dt.date]) -> list[dt.date]:
        if symbol == OLD:
            return [] if self.is_new() else days
        return [day for day in days if self.is_new() and (self.joins or day >= CHANGE)]


@pytest.fixture
def change(here: SmallMarket, monkeypatch: pytest.MonkeyPatch) -> Change:
    change = Change(here)
    monkeypatch.setitem(WALKS, NEW, WALKS[OLD])
    monkeypatch.setattr(small_market, "SYMBOLS", [*small_market.SYMBOLS, NEW])
    here.symbols.append(NEW)
    listed, days, row, bar = here.listed, here.days, here._row, here.bar
    of_two = (OLD, NEW)
    monkeypatch.setattr(
        here, "listed", lambda: [s for s in [*listed(), NEW][: None if NEW not in listed() else -1]
                                 if s != (OLD if change.is_new() else NEW)])  # fmt: skip
    monkeypatch.setattr(here, "days", lambda s: change.days(s, days(s)) if s in of_two else days(s))
    monkeypatch.setattr(here, "_row", lambda s, newest: change.row(row(s, newest)) if s in of_two else row(s, newest))
    monkeypatch.setattr(
        here, "bar", lambda s, day: bar(s, day) if s != NEW else tuple(
            value * change.factor for value in bar(s, day)[:4]) + (bar(s, day)[4],))  # fmt: skip
    return change


def stored(symbol: str) -> dict[dt.date, tuple[float, ...]]:
    rows = ask("SELECT date, open, high, low, close, volume FROM stock_data WHERE symbol = ?", symbol)
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}


def up_to_the_change(change: Change, data_dir: Path, begun: Begun) -> None:
    """Have the last session before the change done."""
    begun(f"up to the change, {change.shares} shares", data_dir, lambda: collect(change.market, R[1]))


@pytest.mark.parametrize("joins", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_new_ticker_carries_the_history_over_once(change: Change, joins: bool) -> None:
    change.joins = joins
    assert collect(change.market, R[0], R[1], R[2], R[3], task=ComputeIndicators)
    assert stored(OLD) == {}
    bars = stored(NEW)
    assert bars == {day: WALKS[OLD][day] for day in SESSIONS if min(bars) <= day <= R[3]}
    assert len(bars) > 400
    assert ask("SELECT old_symbol, new_symbol, date FROM ticker_changes") == [(OLD, NEW, CHANGE)]
    blind = ask("SELECT date FROM technical_indicators WHERE symbol = ? AND (rsi_14 IS NULL OR sma_50 IS NULL)", NEW)
    assert blind == []
    assert ask("SELECT date FROM technical_indicators WHERE symbol = ? ORDER BY date", NEW) == [(day,) for day in R[:4]]
    for table in ("stock_data", "technical_indicators", "price_coverage", "price_ranges", "gaps"):
        assert ask(f"SELECT count(*) FROM {table} WHERE symbol = ?", OLD) == [(0,)]
    with writing() as connection:
        assert duplicated_rows(connection) == {}
        assert carry_over(connection, R[3]) == {}, "once"


def test_the_joined_history_costs_no_request_of_its_own(change: Change, data_dir: Path, begun: Begun) -> None:
    up_to_the_change(change, data_dir, begun)
    change.market.requests.clear()
    assert collect(change.market, R[2])
    assert change.market.requests[NEW] == 1
    assert ask("SELECT bars > 400, evidence FROM ticker_changes") == [
        (True, f"the same name, and {WALKS[OLD][R[2]][3] / WALKS[OLD][R[1]][3]:.2f} times the last price")
    ]


@pytest.mark.parametrize(
    ("shares", "factor", "is_same"),
    [
        (None, 1.0, True),
        (None, 1.4, True),
        (None, 0.5, False),
        (None, 2.0, False),
        (1e8, 1.76, True),
        (1e8, 15.0, True),
    ],
)
def test_the_price_or_the_number_of_shares_tells_that_it_is_the_same_company(
    change: Change, data_dir: Path, begun: Begun, shares: float | None, factor: float, is_same: bool
) -> None:
    change.shares, change.factor = shares, factor
    up_to_the_change(change, data_dir, begun)
    assert collect(change.market, R[2])
    assert bool(ask("FROM ticker_changes")) == is_same
    assert bool(stored(OLD)) != is_same


def test_another_name_is_another_company(change: Change, data_dir: Path, begun: Begun) -> None:
    up_to_the_change(change, data_dir, begun)
    change.name = f"{OLD} Incorporated Common Stock"
    assert collect(change.market, R[2])
    assert ask("FROM ticker_changes") == []
    assert len(stored(OLD)) > 400


@pytest.mark.slow
def test_a_session_before_the_change_is_run_again_under_the_new_ticker(change: Change) -> None:
    from pipeline.cli import reset

    assert collect(change.market, R[0], R[1], task=DailyPipeline)
    before = ask(
        "SELECT * EXCLUDE (source, rule_version, stored_at) FROM daily_watchlist WHERE scan_date = ? ORDER BY ALL", R[1]
    )
    assert collect(change.market, R[2], task=DailyPipeline)
    reset.carry_out(reset.plan([R[1]], "CollectPrices"))
    forget()
    assert run_here(DailyPipeline(date=R[1]))
    assert ask("SELECT state FROM price_coverage WHERE date = ? AND symbol = ?", R[1], NEW) == [("stored",)]
    assert ask("SELECT state FROM price_coverage WHERE date = ? AND symbol = ?", R[1], OLD) == []
    after = ask(
        "SELECT * EXCLUDE (source, rule_version, stored_at) FROM daily_watchlist WHERE scan_date = ? ORDER BY ALL", R[1]
    )
    assert [row[1] for row in after] == [NEW if row[1] == OLD else row[1] for row in before]
    assert [row[3:] for row in after] == [row[3:] for row in before]


@pytest.mark.slow
def test_a_range_over_the_change_gives_the_same_tables_as_its_sessions_one_by_one(
    change: Change, data_dir: Any, settings: Callable[..., None]
) -> None:
    from pipeline.tasks.prices import CollectPrices
    from pipeline.tasks.symbols import CollectSymbols

    assert collect(change.market, *R[:4])
    one_by_one = results(data_dir)
    settings("storage", data_dir=data_dir.with_name("again"))
    forget()
    for day in R[:4]:
        assert collect(change.market, day, task=CollectSymbols)
    forget()
    CollectPrices(date=tuple(R[:4])).run()
    again = results(data_dir.with_name("again"))
    of_both = {table: [row for row in rows if {OLD, NEW} & set(row[:2])] for table, rows in again.items()}
    for table in ("stock_data", "price_coverage"):
        assert of_both[table] == [row for row in one_by_one[table] if {OLD, NEW} & set(row[:2])]


@pytest.fixture
def away(here: SmallMarket, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """OLD is not listed from R[2] to R[4], and comes back at `factor` times its price; `joins`: with its old bars."""
    how: dict[str, Any] = {"factor": 15.0, "joins": False}
    listed, days, bar = here.listed, here.days, here.bar

    def is_back() -> bool:
        return here.as_of >= R[5]

    def days_of(symbol: str) -> list[dt.date]:
        if symbol != OLD:
            return days(symbol)
        return [
            day for day in days(symbol) if not R[2] <= day < R[5] and (day >= R[5] or how["joins"] or not is_back())
        ]

    def bar_of(symbol: str, day: dt.date) -> tuple[float, ...]:
        factor = how["factor"] if symbol == OLD and (day >= R[5] or is_back()) else 1.0
        return tuple(value * factor for value in bar(symbol, day)[:4]) + (bar(symbol, day)[4],)

    monkeypatch.setattr(here, "listed", lambda: [s for s in listed() if s != OLD or not R[2] <= here.as_of < R[5]])
    monkeypatch.setattr(here, "days", days_of)
    monkeypatch.setattr(here, "bar", bar_of)
    return how


@pytest.fixture
def gone(here: SmallMarket, away: dict[str, Any], data_dir: Path, begun: Begun) -> dict[str, Any]:
    """The same, with the sessions before it comes back done."""
    begun("gone", data_dir, lambda: collect(here, *R[:5]))
    return away


@pytest.mark.parametrize("joins", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_return_on_another_basis_is_not_spliced_on(here: SmallMarket, gone: dict[str, Any], joins: bool) -> None:
    gone["joins"] = joins
    assert collect(here, R[5], R[6])
    bars = stored(OLD)
    assert bars == {day: here.bar(OLD, day) for day in here.days(OLD) if day >= min(bars)}
    assert len(bars) > 400 if joins else sorted(bars) == R[5:7]
    assert ask("SELECT DISTINCT closed_on, reason LIKE 'comes back at %' FROM closed_histories") == [(R[5], True)]
    assert ask("SELECT state FROM price_coverage WHERE symbol = ? AND date = ?", OLD, R[5]) == [("stored",)]
    assert ask("SELECT count(*) FROM technical_indicators WHERE symbol = ?", OLD) == [(0,)]


def test_a_return_at_the_price_it_left_with_goes_on(here: SmallMarket, gone: dict[str, Any]) -> None:
    gone.update(factor=1.0, joins=True)
    assert collect(here, R[5])
    assert ask("FROM closed_histories") == []
    assert len(stored(OLD)) > 400


@pytest.mark.slow
def test_the_indicators_of_a_closed_history_go_with_it(here: SmallMarket, away: dict[str, Any]) -> None:
    assert collect(here, R[0], R[1], task=DailyPipeline)
    assert ask("SELECT count(*) FROM technical_indicators WHERE symbol = ?", OLD) == [(2,)]
    assert collect(here, R[3], R[5], task=DailyPipeline)
    assert ask("SELECT date, rsi_14 FROM technical_indicators WHERE symbol = ?", OLD) == [(R[5], None)]
