"""A small seeded market, served over HTTP as NASDAQ and Yahoo serve the real one, with a history to notice.

    with SmallMarket() as market:
        market.as_of = dt.date(2024, 2, 16)   # nothing later exists for a client

60 companies over the last 430 sessions of the exchange up to 2024-02-21; sessions and holidays are real. Prices are a
random walk of each symbol's own. Prices and volumes before a split are restated from the day on which it takes effect,
as Yahoo does.
"""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import exchange_calendars

from tests.support.fake_market import FakeMarket

LAST = dt.date(2024, 2, 21)
SESSIONS = [
    stamp.date()
    for stamp in exchange_calendars.get_calendar("XNAS", start="2022-01-03").sessions
    if stamp.date() <= LAST
][-430:]
#: The week whose tables, collected when it is over, are in tests/frozen/week.json.
FROZEN_WEEK = SESSIONS[-5:]

SPLIT, SPLIT_DAY, SPLIT_RATIO = "S07", dt.date(2024, 2, 20), 4
THIN = "S11"  # trades in each third session
UNKNOWN = "S13"  # listed, and Yahoo has no such symbol
NEW, NEW_DAY = "S17", dt.date(2024, 2, 15)  # its first session
GONE, GONE_DAY = "S19", dt.date(2024, 2, 15)  # its last session
SMALL = "S23"  # a market cap below $100 M: its bars are not collected
WARRANT = "S29W"
TICKERS = ("NA", "TRUE", "BRK/B")  # names that readers like to turn into something else; a share class
MARKUP = "S31"  # its name is markup
DIVIDEND, DIVIDEND_DAY = "S37", dt.date(2024, 2, 16)

SYMBOLS = [*TICKERS, *(f"S{number:02d}" for number in range(1, 57)), WARRANT]
NAMES = {MARKUP: "<img src=x onerror=alert(1)> & Sons Inc. Common Stock", WARRANT: "S29 Acquisition Corp. Warrant"}

#: The share of a volume that is there two hours after the close.
EARLY = 0.9

Bar = tuple[float, float, float, float, int]


def walk(symbol: str) -> dict[dt.date, Bar]:
    """The bars as they were traded, before any restatement: a random walk, two sessions with a crash on high volume."""
    draw = random.Random(f"small market, {symbol}")
    close = draw.uniform(20, 300)
    bars = {}
    for day in SESSIONS:
        jump = draw.choice((-0.12, 0.06)) if draw.random() < 0.02 else 0.0
        opened, close = close * (1 + draw.gauss(0, 0.004)), close * (1 + draw.gauss(0.0002, 0.012) + jump)
        high, low = max(opened, close) * (1 + draw.random() / 100), min(opened, close) * (1 - draw.random() / 100)
        volume = int(draw.uniform(0.6, 1.4) * 3e6) * (4 if jump else 1)
        bars[day] = (opened, high, low, close, volume + (2**31 if symbol == "S01" else 0))
    return bars


WALKS = {symbol: walk(symbol) for symbol in SYMBOLS}


class SmallMarket(FakeMarket):
    """`as_of` is the newest session that the market has seen; move it to let days pass."""

    def __init__(self, as_of: dt.date = LAST, latency: float = 0.0) -> None:
        super().__init__(SYMBOLS, SESSIONS, latency)
        self.as_of = as_of
        self.corrections: dict[tuple[str, dt.date], float] = {}  # factor of a bar that the source has put right since
        self.early: set[dt.date] = set()  # sessions whose volumes are not all there yet
        self.exchanges: dict[str, str] = {}  # of the symbols that NASDAQ does not list
        self.dividends[DIVIDEND] = {DIVIDEND_DAY: 0.5}
        self.splits[SPLIT] = {SPLIT_DAY: (SPLIT_RATIO, 1)}

    def yahoo_name(self, symbol: str) -> str:
        return symbol.replace("/", "-")

    def nasdaq_name(self, symbol: str) -> str:
        return symbol.replace("-", "/")

    def knows(self, symbol: str) -> bool:
        return self.nasdaq_name(symbol) in WALKS and symbol != UNKNOWN and bool(self.days(symbol))

    def days(self, symbol: str) -> list[dt.date]:
        days = [day for day in SESSIONS if day <= self.as_of]
        if symbol == THIN:
            return [day for day in days if SESSIONS.index(day) % 3 == 0]
        if symbol == NEW:
            return [day for day in days if day >= NEW_DAY]
        if symbol == GONE:
            return [] if self.as_of > GONE_DAY else days
        return days

    def chart(self, symbol: str, first: dt.date, last: dt.date, kind: str = "") -> dict[str, Any]:
        return super().chart(symbol, first, min(last, self.as_of), kind)

    def bar(self, symbol: str, day: dt.date) -> Bar:
        factor = self.corrections.get((symbol, day), 1.0)
        if symbol == SPLIT and self.as_of >= SPLIT_DAY:
            factor /= SPLIT_RATIO
        opened, high, low, close, volume = WALKS[self.nasdaq_name(symbol)][day]
        volume = round(volume / factor * (EARLY if day in self.early else 1))
        return opened * factor, high * factor, low * factor, close * factor, volume

    def listed(self) -> list[str]:
        """What the exchange lists on `as_of`."""
        absent = {NEW} if self.as_of < NEW_DAY else set()
        return [symbol for symbol in SYMBOLS if symbol not in absent | ({GONE} if self.as_of > GONE_DAY else set())]

    def screener(self, exchange: str = "nasdaq") -> dict[str, Any]:
        newest = [day for day in SESSIONS if day <= self.as_of][-2:]
        listed = [symbol for symbol in self.listed() if self.exchanges.get(symbol, "nasdaq") == exchange]
        rows = [self._row(symbol, newest) for symbol in listed]
        data = {
            "asof": f"Last price as of {self.as_of:%b} {self.as_of.day}, {self.as_of.year}",
            "headers": {}, "totalrecords": len(rows), "rows": rows,
        }  # fmt: skip
        return {"data": data, "message": None, "status": {"rCode": 200, "bCodeMessage": None, "developerMessage": None}}

    def _row(self, symbol: str, newest: list[dt.date]) -> dict[str, str]:
        before, bar = (self.bar(symbol, day) for day in newest)
        cap = 5e7 if symbol == SMALL else 2e12 / 1.17 ** SYMBOLS.index(symbol)
        return {
            "symbol": symbol, "name": NAMES.get(symbol, f"{symbol} Inc. Common Stock"), "lastsale": f"${bar[3]:.2f}",
            "netchange": f"{bar[3] - before[3]:.2f}", "pctchange": f"{100 * (bar[3] / before[3] - 1):.3f}%",
            "volume": str(bar[4] if symbol != THIN or SESSIONS.index(newest[-1]) % 3 == 0 else 0),
            "marketCap": f"{cap:.2f}", "country": "United States", "ipoyear": "2001",
            "industry": "Software", "sector": "Technology", "url": f"/market-activity/stocks/{symbol.lower()}",
        }  # fmt: skip
