"""A loopback server that answers as NASDAQ's screener and Yahoo's chart API do, and fails when told to.

    with FakeMarket(["AAA", "BBB"]) as market:
        market.faults["BBB"] = Fault("500", times=2)
        ...            # point [yahoo] base_url and [nasdaq] base_url at market.url
        assert market.requests["BBB"] == 3

Every symbol has a bar in each session; prices and volumes follow from symbol and date alone (`bar`), so that a test
knows what has to arrive without asking the code that it tests.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
CHART = "/v8/finance/chart/"
SCREENER = "/api/screener/stocks"


@dataclasses.dataclass
class Fault:
    """What a symbol answers instead of its chart, the first `times` times (None: always).

    `kind`: an HTTP status ("404", "400", "401", "429", "500", ...), or hang, reset, garbage, html, empty (no session in
    the range), null (the newest session has no values) or live (one more row, of the day after the range).
    """

    kind: str
    times: int | None = None
    retry_after: str | None = None
    says: str = ""  # instead of Yahoo's words, where the answer is JSON

    def strikes(self) -> bool:
        """Whether it applies to this request; counts it."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


def weekdays(first: dt.date, last: dt.date) -> list[dt.date]:
    days = (first + dt.timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if day.weekday() < 5]


def opening(day: dt.date) -> int:
    """Epoch seconds of 09:30 in New York, which Yahoo stamps a daily bar with."""
    return int(dt.datetime.combine(day, dt.time(9, 30), NEW_YORK).timestamp())


def bar(symbol: str, day: dt.date) -> tuple[float, float, float, float, int]:
    """Open, high, low, close, volume; the volume passes 2^31 for some symbols."""
    draw = zlib.crc32(f"{symbol}/{day}".encode())
    close = 10 + draw % 9000 / 100
    return close - 0.25, close + 0.5, close - 0.75, close, 1_000_000 + draw


class FakeMarket:
    """The server, for the time of a `with` block.

    `requests` counts the chart requests of each symbol, as Yahoo spells it.
    """

    def __init__(
        self, symbols: Sequence[str] = (), sessions: Sequence[dt.date] | None = None, latency: float = 0.0
    ) -> None:
        self.symbols = list(symbols)
        self.sessions = list(sessions or weekdays(dt.date(2024, 1, 2), dt.date(2024, 2, 16)))
        self.latency = latency
        self.limit = 0  # chart requests a second above which 429 is the answer; 0: none
        self.faults: dict[str, Fault] = {}
        self.every: Fault | None = None
        self.splits: dict[str, dict[dt.date, tuple[int, int]]] = {}
        self.dividends: dict[str, dict[dt.date, float]] = {}
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.moments: list[float] = []
        self.listings = 0  # requests of the screener
        self.others: list[str] = []  # paths asked for that are no chart
        self.lock = threading.Lock()
        self.closing = threading.Event()

    def __enter__(self) -> FakeMarket:
        handler = type("Handler", (_Handler,), {"market": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    @property
    def total(self) -> int:
        """Chart requests so far."""
        return sum(self.requests.values())

    def knows(self, symbol: str) -> bool:
        """Whether the symbol has a chart; the others are answered 404."""
        return symbol in self.symbols

    def note(self, symbol: str) -> bool:
        """Count a chart request; False when it is one too many in its second."""
        with self.lock:
            now = time.monotonic()
            self.requests[symbol] += 1
            self.moments.append(now)
            return not self.limit or sum(moment > now - 1 for moment in self.moments[-self.limit - 1 :]) <= self.limit

    def fault(self, symbol: str) -> Fault | None:
        with self.lock:
            return next((f for f in (self.faults.get(symbol), self.every) if f and f.strikes()), None)

    def days(self, symbol: str) -> list[dt.date]:
        """The sessions in which the symbol has a bar."""
        return self.sessions

    def bar(self, symbol: str, day: dt.date) -> tuple[float, float, float, float, int]:
        """Open, high, low, close, volume as they are given out now."""
        return bar(symbol, day)

    def chart(self, symbol: str, first: dt.date, last: dt.date, kind: str = "") -> dict[str, Any]:
        """Yahoo's answer for the sessions from `first` to `last`."""
        days = [] if kind == "empty" else [day for day in self.days(symbol) if first <= day <= last]
        rows: list[tuple[Any, ...]] = [self.bar(symbol, day) for day in days]
        if kind == "null":
            rows[-1] = (None,) * 5
        if kind == "live":
            days, rows = [*days, last + dt.timedelta(days=1)], [*rows, (1.0, 1.0, 1.0, 1.0, 1)]
        result: dict[str, Any] = {"meta": _meta(symbol), "indicators": {"quote": [{}]}}
        if days:
            names = ("open", "high", "low", "close", "volume")
            result["timestamp"] = [opening(day) for day in days]
            result["indicators"]["quote"] = [{name: [row[place] for row in rows] for place, name in enumerate(names)}]
            result["indicators"]["adjclose"] = [{"adjclose": [row[3] for row in rows]}]
        events = self._events(symbol, first, last)
        return {"chart": {"result": [result | ({"events": events} if events else {})], "error": None}}

    def _events(self, symbol: str, first: dt.date, last: dt.date) -> dict[str, Any]:
        splits = {
            str(opening(day)): {
                "date": opening(day),
                "numerator": new,
                "denominator": old,
                "splitRatio": f"{new}:{old}",
            }
            for day, (new, old) in self.splits.get(symbol, {}).items()
            if first <= day <= last
        }
        dividends = {
            str(opening(day)): {"date": opening(day), "amount": amount}
            for day, amount in self.dividends.get(symbol, {}).items()
            if first <= day <= last
        }
        return {name: events for name, events in (("splits", splits), ("dividends", dividends)) if events}

    def screener(self, exchange: str = "nasdaq") -> dict[str, Any]:
        """The listing of the newest session, of any exchange: companies in the order of `symbols`, largest first."""
        rows = []
        for place, symbol in enumerate(self.symbols):
            close, before = (bar(symbol, day)[3] for day in (self.sessions[-1], self.sessions[-2]))
            rows.append({
                "symbol": symbol, "name": f"{symbol} Inc. Common Stock", "lastsale": f"${close:.2f}",
                "netchange": f"{close - before:.2f}", "pctchange": f"{100 * (close - before) / before:.3f}%",
                "volume": str(bar(symbol, self.sessions[-1])[4]), "marketCap": f"{2e12 / (place + 1):.2f}",
                "country": "United States", "ipoyear": "", "industry": "Software", "sector": "Technology",
                "url": f"/market-activity/stocks/{symbol.lower()}",
            })  # fmt: skip
        status = {"rCode": 200, "bCodeMessage": None, "developerMessage": None}
        return {"data": {"asOf": None, "headers": {}, "rows": rows}, "message": None, "status": status}


def _meta(symbol: str) -> dict[str, Any]:
    return {
        "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "instrumentType": "EQUITY", "gmtoffset": -18000,
        "timezone": "EST", "exchangeTimezoneName": "America/New_York", "regularMarketPrice": 1.0, "priceHint": 2,
        "firstTradeDate": 345479400, "dataGranularity": "1d", "range": "", "validRanges": ["1d", "max"],
    }  # fmt: skip


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed in the middle of an answer are what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True  # and at once, however long
    market: FakeMarket

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: str, content_type: str = "application/json", **headers: str) -> None:
        with self.market.lock:
            self.market.statuses[status] += 1
        payload = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(payload)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(payload)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith(CHART):
            self.chart(unquote(url.path.removeprefix(CHART)), parse_qs(url.query))
        elif url.path == SCREENER:
            self.market.listings += 1
            exchange = parse_qs(url.query)["exchange"][0]
            self.answer(200, json.dumps(self.market.screener(exchange)))
        else:
            self.market.others.append(url.path)
            self.answer(404, "", "text/html")

    def chart(self, symbol: str, query: dict[str, list[str]]) -> None:
        is_in_time = self.market.note(symbol)
        self.market.closing.wait(self.market.latency)
        if not is_in_time:
            return self.fail(Fault("429"))
        fault = self.market.fault(symbol)
        if fault and fault.kind not in ("null", "empty", "live"):
            return self.fail(fault)
        if not self.market.knows(symbol):
            return self.fail(Fault("404"))
        if "range" in query:  # yfinance asks for one day first, for the time zone
            first = last = self.market.days(symbol)[-1]
        else:
            first = dt.datetime.fromtimestamp(int(query["period1"][0]), NEW_YORK).date()
            last = dt.datetime.fromtimestamp(int(query["period2"][0]) - 1, NEW_YORK).date()
        self.answer(200, json.dumps(self.market.chart(symbol, first, last, fault.kind if fault else "")))

    def fail(self, fault: Fault) -> None:
        words = {
            "404": "No data found, symbol may be delisted",
            "400": "Data doesn't exist for startDate = 1, endDate = 2",
        }
        if fault.kind == "hang":
            self.market.closing.wait(60)
            self.close_connection = True
        elif fault.kind == "reset":
            self.close_connection = True
        elif fault.kind == "garbage":
            self.answer(200, '{"chart":{"result":[{"meta":{"symbol":"')
        elif fault.kind == "html":
            self.answer(200, "<html><body>Will be right back</body></html>", "text/html")
        elif fault.kind in words:
            error = {"code": "Not Found", "description": fault.says or words[fault.kind]}
            self.answer(int(fault.kind), json.dumps({"chart": {"result": None, "error": error}}))
        else:
            headers = {"Retry_After": fault.retry_after} if fault.retry_after else {}
            self.answer(int(fault.kind), "Edge: Too Many Requests", "text/plain", **headers)
