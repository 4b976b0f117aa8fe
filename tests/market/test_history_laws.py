"""Laws of the price history, over small random markets: what a source answers last is what is stored, in any order."""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import luigi
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import calendar
from pipeline.database.connection import duplicated_rows, reading
from pipeline.market import listings
from pipeline.sources.answers import ANSWER_SCHEMA
from pipeline.sources.batches import collect_in_batches
from pipeline.sources.protocol import BarRequest, Company, Listing, Progress
from pipeline.tasks import prices, symbols
from tests.conftest import forget

DAYS = calendar.sessions_between(dt.date(2023, 12, 1), dt.date(2024, 3, 8))
RUN = DAYS[-8:]
SYMBOLS = ("AAA", "BBB", "CCC", "NA")
TABLES = {
    "stock_data": "symbol, date, open, high, low, close, volume",
    "corporate_actions": "symbol, date, kind, value",
    "price_coverage": "symbol, date, state",
    "price_ranges": "symbol, first_asked, last_asked",
    "rejected_bars": "symbol, date, rule",
}


@dataclasses.dataclass
class Market:
    """Closes as they were traded; the source restates them, and the volumes, for splits up to `as_of`."""

    traded: dict[str, dict[dt.date, float]]
    splits: dict[str, dict[dt.date, float]]
    as_of: dt.date = DAYS[-1]
    name = "yahoo"
    keeps_listings = False

    def listing(self, session: dt.date) -> Listing:
        listed = tuple(Company(symbol, f"{symbol} Inc.", market_cap=1e9) for symbol in self.traded)
        return Listing(self.as_of, listed, b"")

    def collect(self, requests: Sequence[BarRequest], folder: Path, progress: Progress) -> None:
        collect_in_batches(requests, folder, progress, self.answer)

    def answer(self, requests: Sequence[BarRequest]) -> pa.Table:
        return pa.Table.from_pylist([row for request in requests for row in self.rows(request)], schema=ANSWER_SCHEMA)

    def rows(self, request: BarRequest) -> Iterable[dict[str, Any]]:
        asked = {"symbol": request.symbol, "asked_from": request.first, "asked_to": request.last, "status": "ok",
                 "fetched_at": dt.datetime.now(dt.UTC)}  # fmt: skip
        yield asked
        for day, bar in self.history(request.symbol).items():
            if request.first <= day <= request.last:
                split = self.splits[request.symbol].get(day)
                yield {**asked, "date": day, **dict(zip(("open", "high", "low", "close", "volume"), bar, strict=True)),
                       "split_ratio": split}  # fmt: skip

    def history(self, symbol: str) -> dict[dt.date, tuple[float, float, float, float, int]]:
        """What the source answers on `as_of`: bars by session, restated."""
        bars = {}
        for day, close in self.traded[symbol].items():
            ratio = 1.0
            for effective, split in self.splits[symbol].items():
                ratio *= split if day < effective <= self.as_of else 1.0
            if day <= self.as_of:
                price = close / ratio
                bars[day] = (price, price * 1.01, price * 0.99, price, round(1_000_000 * ratio))
        return bars


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Random walks with gaps, and up to one split a symbol among the sessions that are run."""
    traded, splits = {}, {}
    for symbol in SYMBOLS:
        level, walk = draw(st.floats(5, 500)), {}
        moves = draw(st.lists(st.sampled_from((0.97, 0.99, 1.0, 1.01, 1.04)), min_size=len(DAYS), max_size=len(DAYS)))
        absent = draw(st.sets(st.sampled_from(DAYS[5:]), max_size=6))
        effective = draw(st.none() | st.sampled_from(RUN[1:]))
        ratio = draw(st.sampled_from((4.0, 2.0, 1.5, 0.1)))
        for day, move in zip(DAYS, moves, strict=True):
            level *= move / (ratio if day == effective else 1)
            if day not in absent or day == effective:
                walk[day] = level
        traded[symbol] = walk
        splits[symbol] = {effective: ratio} if effective else {}
    return Market(traded, splits)


@contextmanager
def installation(market: Market) -> Iterator[None]:
    """An empty data_dir whose source is `market`."""
    config = luigi.configuration.get_config()
    changed = {
        ("storage", "data_dir"): "",  # the folder
        ("market", "history_sessions"): "30",
        ("quality", "audit_per_day"): "0",  # the laws hold without a second look; and an audit would ask the real Yahoo
    }
    with tempfile.TemporaryDirectory() as folder, \
            mock.patch.object(listings, "configured_source", lambda: market), \
            mock.patch.object(prices, "configured_source", lambda: market):  # fmt: skip
        before = {name: config.get(*name, None) for name in changed}
        for name, value in changed.items():
            config.set(*name, value or folder)
        forget()
        try:
            yield
        finally:
            for name, value in before.items():
                config.remove_option(*name) if value is None else config.set(*name, value)
            forget()


def collect(*days: dt.date) -> None:
    """The first two stages of one session, or of several in one combined run."""
    date = days[0] if len(days) == 1 else days
    symbols.CollectSymbols(date=date).run()
    prices.CollectPrices(date=date).run()


def tables() -> dict[str, list[tuple[Any, ...]]]:
    with reading() as connection:
        assert duplicated_rows(connection) == {}
        return {
            table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()
            for table, columns in TABLES.items()
        }


def after_the_last_day_the_stored_history_is_what_the_source_answers(market: Market) -> None:
    with installation(market):
        for day in RUN[1::2]:
            market.as_of = day
            collect(day)
        stored = tables()["stock_data"]
    for symbol in SYMBOLS:
        found = {row[1]: row[2:] for row in stored if row[0] == symbol}
        wanted = {day: bar for day, bar in market.history(symbol).items() if day >= min(found)}
        assert found == wanted


def any_order_of_sessions_and_one_combined_run_give_the_same_tables(market: Market, order: list[dt.date]) -> None:
    with installation(market):
        for day in order:
            collect(day)
        one_by_one = tables()
    with installation(market):
        collect(*RUN[-4:])
        assert tables() == one_by_one


def a_rerun_changes_nothing(market: Market) -> None:
    with installation(market):
        market.as_of = RUN[-1]
        collect(RUN[-1])
        before = tables()
        for task in (symbols.CollectSymbols, prices.CollectPrices):
            Path(task(date=RUN[-1]).marker(RUN[-1]).path).unlink()
        forget()
        collect(RUN[-1])
        assert tables() == before


def a_split_and_its_inverse_leave_the_history_as_it_was(market: Market) -> None:
    market.splits = {symbol: {} for symbol in SYMBOLS}
    with installation(market):
        market.as_of = RUN[0]
        collect(RUN[0])
        before = [row for row in tables()["stock_data"]]
        market.splits["AAA"] = {RUN[3]: 2.0, RUN[6]: 0.5}
        for day in set(RUN[3:6]) & market.traded["AAA"].keys():  # what was paid between the two is half of it
            market.traded["AAA"][day] /= 2
        for day in (RUN[3], RUN[6]):
            market.as_of = day
            collect(day)
        after = [row for row in tables()["stock_data"] if row[1] <= RUN[0]]
        assert after == before


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
#: A few markets with all other tests, and many of them where tests may take long.
few, many = settings(patient, max_examples=2), settings(patient, max_examples=4)

test_after_the_last_day_the_stored_history_is_what_the_source_answers = few(
    given(markets())(after_the_last_day_the_stored_history_is_what_the_source_answers)
)
test_a_rerun_changes_nothing = few(given(markets())(a_rerun_changes_nothing))
test_a_split_and_its_inverse_leave_the_history_as_it_was = few(
    given(markets())(a_split_and_its_inverse_leave_the_history_as_it_was)
)

test_after_the_last_day_the_stored_history_is_what_the_source_answers_in_many_markets = pytest.mark.slow(
    many(given(markets())(after_the_last_day_the_stored_history_is_what_the_source_answers))
)
test_any_order_of_sessions_and_one_combined_run_give_the_same_tables_in_many_markets = pytest.mark.slow(
    many(given(markets(), st.permutations(RUN[-4:]))(any_order_of_sessions_and_one_combined_run_give_the_same_tables))
)
test_a_rerun_changes_nothing_in_many_markets = pytest.mark.slow(many(given(markets())(a_rerun_changes_nothing)))
test_a_split_and_its_inverse_leave_the_history_as_it_was_in_many_markets = pytest.mark.slow(
    many(given(markets())(a_split_and_its_inverse_leave_the_history_as_it_was))
)
