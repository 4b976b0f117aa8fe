"""Listings of several exchanges in the tables: each judged on its own, and symbols that move between them."""

from __future__ import annotations

import datetime as dt

import pytest

from pipeline.database.connection import writing
from pipeline.errors import ListingShrunkError
from pipeline.market.listings import check_size, received, store
from pipeline.sources.protocol import Company, Listing
from pipeline.tasks.daily import DailyPipeline
from tests.support.runs import run_here
from tests.support.small_market import SmallMarket

FIRST, SECOND = dt.date(2024, 2, 15), dt.date(2024, 2, 16)


def listing(session: dt.date, **counts: int) -> Listing:
    companies = [
        Company(f"{exchange[:2].upper()}{number}", "Inc.", market_cap=1e9, exchange=exchange)
        for exchange, count in counts.items()
        for number in range(count)
    ]
    return Listing(session, tuple(companies), b"{}")


@pytest.fixture
def connection(data_dir):
    with writing() as opened:
        yield opened


def test_an_exchange_that_shrank_does_not_hide_behind_the_others(connection, settings):
    settings("market", exchanges="nasdaq,amex")
    store(connection, listing(FIRST, nasdaq=1000, amex=10))
    check_size(connection, listing(SECOND, nasdaq=1000, amex=8))
    with pytest.raises(ListingShrunkError, match="listing of NYSE American of 2024-02-16 has 7 symbols, 30% fewer"):
        check_size(connection, listing(SECOND, nasdaq=1000, amex=7))


def test_an_exchange_that_is_missing_is_one_that_shrank(connection, settings):
    settings("market", exchanges="nasdaq,amex")
    store(connection, listing(FIRST, nasdaq=1000, amex=10))
    with pytest.raises(ListingShrunkError, match="has 0 symbols"):
        check_size(connection, listing(SECOND, nasdaq=1000))


def test_an_exchange_may_be_added_and_taken_away_by_the_setting(connection, settings):
    store(connection, listing(FIRST, nasdaq=10))
    settings("market", exchanges="nasdaq,nyse")
    check_size(connection, listing(SECOND, nasdaq=10, nyse=30))
    store(connection, listing(SECOND, nasdaq=10, nyse=30))
    settings("market", exchanges="nasdaq")
    check_size(connection, listing(dt.date(2024, 2, 20), nasdaq=10))


def test_where_a_symbol_moved_is_a_view(connection):
    store(connection, Listing(FIRST, (Company("AAA", "A Inc.", exchange="nyse"),), b""))
    store(connection, Listing(SECOND, (Company("AAA", "A Inc.", exchange="nasdaq"),), b""))
    moves = connection.execute("SELECT date, moved_from, exchange FROM symbol_moves ORDER BY date").fetchall()
    assert moves == [(FIRST, None, "nyse"), (SECOND, "nyse", "nasdaq")]
    assert connection.execute("SELECT exchange FROM nasdaq_symbols").fetchall() == [("nasdaq",)]


def test_a_listing_kept_before_there_were_exchanges_is_nasdaqs(data_dir):
    import pyarrow.parquet as pq

    from pipeline.market.listings import as_table, folder_of

    folder_of(FIRST).mkdir(parents=True)
    old = as_table(listing(FIRST, nasdaq=1)).drop_columns("exchange")
    pq.write_table(old, folder_of(FIRST) / "20240215T220000.000000Z.parquet")
    assert [company.exchange for company in received(FIRST).companies] == ["nasdaq"]


def test_a_symbol_that_moves_keeps_its_history(here: SmallMarket, settings, monkeypatch):
    settings("market", exchanges="nasdaq,nyse")
    here.as_of = FIRST
    assert run_here(DailyPipeline(date=FIRST))
    here.requests.clear()
    here.as_of, here.exchanges = SECOND, {"S05": "nyse"}
    assert run_here(DailyPipeline(date=SECOND))
    with writing() as connection:
        bars = connection.execute("SELECT count(*) FROM stock_data WHERE symbol = 'S05'").fetchone()
        others = connection.execute("SELECT count(*) FROM stock_data WHERE symbol = 'S06'").fetchone()
        (kept,) = connection.execute("SELECT count(*) FROM closed_histories").fetchone()
        states = connection.execute("SELECT state FROM price_coverage WHERE symbol = 'S05' ORDER BY date").fetchall()
        (where,) = connection.execute("SELECT exchange FROM nasdaq_symbols WHERE symbol = 'S05'").fetchone()
    assert bars == others
    assert kept == 0
    assert states == [("stored",), ("stored",)]
    assert where == "nyse"
    assert here.requests["S05"] == 1, "no history is asked for anew"
