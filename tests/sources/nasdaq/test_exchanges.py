"""Several exchanges' listings as one universe."""

from __future__ import annotations

import datetime as dt

import exchange_calendars
import pytest

from pipeline.errors import ConfigurationError, ListingDatesError, ListingTooShortError
from pipeline.sources.exchanges import configured_exchanges, market_name
from pipeline.sources.nasdaq.exchanges import ask_exchanges, joined
from pipeline.sources.protocol import Company, Listing
from tests.support.fake_market import FakeMarket, bar

FRIDAY, THURSDAY = dt.date(2024, 2, 16), dt.date(2024, 2, 15)


def listing(exchange: str, *symbols: str, session: dt.date = FRIDAY) -> Listing:
    companies = tuple(Company(symbol, f"{symbol} Inc.", exchange=exchange) for symbol in symbols)
    return Listing(session, companies, exchange.encode())


def test_the_three_exchanges_keep_the_same_sessions():
    nasdaq, nyse = (exchange_calendars.get_calendar(code, start="1990-01-02") for code in ("XNAS", "XNYS"))
    assert nasdaq.sessions.equals(nyse.sessions)
    assert nasdaq.closes.equals(nyse.closes)


def test_exchanges_are_a_setting(settings):
    settings("market", exchanges="nyse, NASDAQ,amex,nyse")
    assert configured_exchanges() == ("nyse", "nasdaq", "amex")
    assert market_name() == "NYSE, NASDAQ and NYSE American"


@pytest.mark.parametrize("value", ["nasdaq,otc", "", " , "])
def test_an_exchange_that_is_none_is_said(settings, value):
    settings("market", exchanges=value)
    with pytest.raises(ConfigurationError, match="nasdaq, nyse, amex"):
        configured_exchanges()


def test_each_company_says_its_exchange():
    both = joined({"nasdaq": listing("nasdaq", "AAA"), "nyse": listing("nyse", "BRK/B")})
    assert [(company.symbol, company.exchange) for company in both.companies] == [("AAA", "nasdaq"), ("BRK/B", "nyse")]
    assert both.raw == b"nasdaq\nnyse"


def test_of_a_symbol_that_two_exchanges_list_the_first_counts(caplog):
    both = joined({"nyse": listing("nyse", "AAA"), "nasdaq": listing("nasdaq", "AAA", "BBB")})
    assert [(company.symbol, company.exchange) for company in both.companies] == [("AAA", "nyse"), ("BBB", "nasdaq")]
    assert "AAA is listed by NYSE and by NASDAQ" in caplog.text


def test_listings_of_two_sessions_are_no_universe():
    listings = {"nasdaq": listing("nasdaq", "AAA"), "nyse": listing("nyse", "BBB", session=THURSDAY)}
    with pytest.raises(ListingDatesError, match="NASDAQ 2024-02-16, NYSE 2024-02-15"):
        joined(listings)


class ThreeExchanges(FakeMarket):
    """Lists other symbols for each exchange that is asked for."""

    lists = {"nasdaq": ["AAA", "BBB"], "nyse": ["BAC^L", "BRK/B", "CCC"], "amex": ["DDD"]}  # noqa: RUF012

    def screener(self, exchange: str = "nasdaq") -> dict:
        self.symbols = self.lists[exchange]
        return super().screener()


def test_the_screener_is_asked_for_each(settings):
    with ThreeExchanges() as market:
        settings("nasdaq", base_url=market.url, min_symbols=1)
        settings("market", exchanges="nasdaq,nyse,amex")
        listed = {company.symbol: company.exchange for company in ask_exchanges(FRIDAY).companies}
    assert listed == {
        "AAA": "nasdaq", "BBB": "nasdaq", "BAC^L": "nyse", "BRK/B": "nyse", "CCC": "nyse", "DDD": "amex"
    }  # fmt: skip
    assert bar("AAA", FRIDAY)  # what the market lists has prices


def test_one_exchange_that_is_short_fails_though_the_others_are_long(settings):
    with ThreeExchanges() as market:
        settings("nasdaq", base_url=market.url, min_symbols=2)
        settings("market", exchanges="nasdaq,nyse,amex")
        with pytest.raises(ListingTooShortError, match="1 symbols of NYSE American"):
            ask_exchanges(FRIDAY)
