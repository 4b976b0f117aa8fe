"""What a price history goes through: gaps, late bars, outages, tickers that change hands, reruns without a network."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.database.connection import writing
from pipeline.tasks.indicators import ComputeIndicators
from pipeline.tasks.prices import CollectPrices
from pipeline.tasks.watchlist import ScanWatchlist
from tests.conftest import forget
from tests.support.beginnings import Begun
from tests.support.collecting import ask, collect
from tests.support.runs import assert_same, results, run_here
from tests.support.small_market import SESSIONS, SPLIT, SPLIT_DAY, THIN, WALKS, SmallMarket

D16, D20, D21 = dt.date(2024, 2, 16), dt.date(2024, 2, 20), dt.date(2024, 2, 21)


@pytest.fixture
def kept(here: SmallMarket, data_dir: Path, begun: Begun) -> SmallMarket:
    """A market whose history up to D16 is collected."""
    begun("the first session", data_dir, lambda: collect(here, D16))
    here.as_of = D16
    return here


def test_a_session_that_a_symbol_lacks_is_asked_for_a_bounded_number_of_times(kept: SmallMarket) -> None:
    lacking = {day for (day,) in ask("SELECT date FROM gaps WHERE symbol = ?", THIN)}
    first = min(kept.days(THIN))
    assert lacking == {day for day in SESSIONS if first <= day <= D16} - set(kept.days(THIN))
    old = min(lacking)
    for day in (D20, D21):
        assert collect(kept, day)
    assert ask("SELECT times_asked FROM gaps WHERE symbol = ? AND date = ?", THIN, old) == [(3,)]
    with writing() as connection:
        from pipeline.market.gaps import widen
        from pipeline.sources.protocol import BarRequest

        request = BarRequest(THIN, D20, D21)
        widened = widen(connection, [request])[0]
    assert widened.first > old, "asked three times without a bar: left in peace"


def test_a_gap_that_the_source_fills_later_is_closed(here: SmallMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = SESSIONS[-60]
    days = here.days
    monkeypatch.setattr(here, "days", lambda symbol: [day for day in days(symbol) if (symbol, day) != ("S05", lost)])
    assert collect(here, D16)
    assert ask("SELECT date FROM gaps WHERE symbol = 'S05'") == [(lost,)]
    monkeypatch.setattr(here, "days", days)
    assert collect(here, D20)
    assert ask("SELECT count(*) FROM gaps WHERE symbol = 'S05'") == [(0,)]
    assert ask("SELECT close FROM stock_data WHERE symbol = 'S05' AND date = ?", lost) == [(WALKS["S05"][lost][3],)]


def test_a_bar_that_comes_late_is_stored_counted_and_computed(
    here: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = here.days
    monkeypatch.setattr(here, "days", lambda symbol: [day for day in days(symbol) if (symbol, day) != ("S05", D16)])
    assert collect(here, D16, task=ComputeIndicators)
    ((state, reason),) = ask("SELECT state, reason FROM price_coverage WHERE symbol = 'S05' AND date = ?", D16)
    assert (state, reason[:36]) == ("failed", "no bar, and the listing of the sessi"[:36])
    monkeypatch.setattr(here, "days", days)
    assert collect(here, D20, task=ComputeIndicators)
    assert ask("SELECT state FROM price_coverage WHERE symbol = 'S05' AND date = ?", D16) == [("stored",)]
    assert ask("SELECT count(*) FROM technical_indicators WHERE symbol = 'S05' AND date = ?", D16) == [(1,)]


def test_a_session_that_the_source_lacks_is_one_error_and_is_asked_for_again(
    kept: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = kept.days
    monkeypatch.setattr(kept, "days", lambda symbol: [day for day in days(symbol) if day != D20])
    kept.as_of = D20
    assert not run_here(CollectPrices(date=D20))
    assert ask("SELECT reason FROM recollections WHERE date = ?", D20) == [("the source lacked the session",)]
    monkeypatch.setattr(kept, "days", days)
    assert run_here(CollectPrices(date=D20))
    assert ask("SELECT count(*) FROM stock_data WHERE date = ?", D20)[0][0] > 50
    assert ask("SELECT count(*) FROM recollections") == [(0,)]


def test_a_split_replaces_the_whole_history_and_shows_in_no_return(kept: SmallMarket) -> None:
    assert collect(kept, SPLIT_DAY)
    rows = ask("SELECT date, open, high, low, close, volume FROM stock_data WHERE symbol = ? ORDER BY date", SPLIT)
    assert [(row[0], row[1:]) for row in rows] == [
        (day, kept.bar(SPLIT, day)) for day in kept.days(SPLIT) if day >= rows[0][0]
    ]
    closes = {row[0]: row[4] for row in rows}
    assert abs(closes[SPLIT_DAY] / closes[D16] - 1) < 0.2
    assert ask("SELECT kind, value FROM corporate_actions WHERE symbol = ?", SPLIT) == [("split", 4.0)]


def test_a_revised_bar_is_taken_over_and_says_when(kept: SmallMarket) -> None:
    (before,) = ask("SELECT close, fetched_at FROM stock_data WHERE symbol = 'S02' AND date = ?", D16)
    kept.corrections["S02", D16] = 1.02
    assert collect(kept, D20)
    (after,) = ask("SELECT close, fetched_at FROM stock_data WHERE symbol = 'S02' AND date = ?", D16)
    assert after[0] == pytest.approx(before[0] * 1.02)
    assert after[1] > before[1]


def test_a_ticker_that_another_company_takes_over_starts_anew(
    kept: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    screener, bar, days = kept.screener, kept.bar, kept.days

    def renamed(exchange: str = "nasdaq") -> dict[str, Any]:
        answer = screener()
        for row in answer["data"]["rows"]:
            if row["symbol"] == "S03":
                row.update(name="Quantum Beverage plc Ordinary Shares", lastsale="$7.00", netchange="0.10")
        return answer

    monkeypatch.setattr(kept, "screener", renamed)
    monkeypatch.setattr(kept, "days", lambda symbol: [D20] if symbol == "S03" else days(symbol))
    monkeypatch.setattr(
        kept, "bar", lambda symbol, day: (6.9, 7.1, 6.8, 7.0, 1000) if symbol == "S03" else bar(symbol, day)
    )
    assert collect(kept, D20)
    assert ask("SELECT date, close FROM stock_data WHERE symbol = 'S03'") == [(D20, 7.0)]
    closed = ask("SELECT name, closed_on, max(date), count(*) FROM closed_histories WHERE symbol = 'S03' GROUP BY ALL")
    assert [row[:3] for row in closed] == [("S03 Inc. Common Stock", D20, D16)]
    assert closed[0][3] > 400
    names = ask("SELECT name FROM symbol_names WHERE symbol = 'S03' ORDER BY first_seen")
    assert names == [("S03 Inc. Common Stock",), ("Quantum Beverage plc Ordinary Shares",)]


def test_a_company_that_only_renames_itself_keeps_its_history(
    kept: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    screener = kept.screener

    def renamed(exchange: str = "nasdaq") -> dict[str, Any]:
        answer = screener()
        for row in answer["data"]["rows"]:
            row["name"] = "Quantum Beverage plc Ordinary Shares" if row["symbol"] == "S03" else row["name"]
        return answer

    monkeypatch.setattr(kept, "screener", renamed)
    assert collect(kept, D20)
    assert ask("SELECT count(*) FROM closed_histories") == [(0,)]
    assert ask("SELECT count(*) FROM stock_data WHERE symbol = 'S03'")[0][0] > 400


def test_a_day_is_rebuilt_from_what_was_received_without_a_source(
    here: SmallMarket, data_dir: Path, settings: Callable[..., None]
) -> None:
    assert collect(here, D16, D20, task=ScanWatchlist)
    wanted, asked = results(data_dir), (here.listings, sum(here.requests.values()))
    (data_dir / "stock_data.duckdb").unlink()
    shutil.rmtree(data_dir / "markers")
    forget()
    settings("market", offline="true")
    assert collect(here, D16, D20, task=ScanWatchlist)
    assert_same(results(data_dir), wanted)
    assert (here.listings, sum(here.requests.values())) == asked


def test_offline_a_day_of_which_nothing_was_received_fails(here: SmallMarket, settings: Callable[..., None]) -> None:
    settings("market", offline="true")
    assert not run_here(CollectPrices(date=D16))
    assert here.listings == 0


def test_total_return_closes_follow_the_dividends_by_hand(kept: SmallMarket) -> None:
    kept.dividends["S02"] = {D20: 1.5}
    assert collect(kept, D20)
    rows = dict(
        ask("SELECT date, adjusted_close / close FROM stock_data_adjusted WHERE symbol = 'S02' AND date >= ?", D16)
    )
    assert rows[D20] == 1.0
    assert rows[D16] == pytest.approx(1 - 1.5 / WALKS["S02"][D16][3], rel=1e-12)


def test_a_dividend_as_large_as_the_close_before_scales_nothing(data_dir: Path) -> None:
    close = WALKS["S02"][D16][3]
    for amount, factor in ((close * 1.2, 1.0), (close, 1.0), (close * 0.9, 0.1)):
        with writing() as connection:
            connection.execute("DELETE FROM corporate_actions")
            connection.execute("DELETE FROM stock_data")
            connection.execute(
                "INSERT INTO corporate_actions (symbol, date, kind, value) VALUES ('S02', ?, 'dividend', ?)",
                [D20, amount],
            )
            connection.execute(
                "INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at)"
                " SELECT 'S02', unnest([?::DATE, ?::DATE]), 1, 1, 1, ?, 1, now()",
                [D16, D20, close],
            )
        adjusted = ask("SELECT adjusted_close FROM stock_data_adjusted ORDER BY date")
        assert [row[0] for row in adjusted] == [pytest.approx(close * factor), close]


def test_the_message_of_a_session_counts_what_it_corrected(kept: SmallMarket) -> None:
    from pipeline.tasks.notify import corrections

    assert corrections(D16) == ""
    kept.corrections["S02", D16] = 1.02
    assert collect(kept, SPLIT_DAY)
    assert corrections(SPLIT_DAY) == "; 1 revised bars, 1 restated histories"
