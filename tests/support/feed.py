"""A database and its replica for the Redis feed: watchlists by session, and bars that follow from symbol and date.

    feed = FeedData()
    feed.scans[DAY] = ["AAA", "BBB"]
    feed.publish(DAY)

`corrections` replaces bars, `splits` restates a symbol's history; `publish` writes everything anew.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import duckdb
import exchange_calendars
import pyarrow as pa

from pipeline.database import connection as database
from pipeline.database.markers import RowTarget
from pipeline.database.replica import manifest_path, replica_path
from pipeline.host.files import write_text
from pipeline.report.places import report_path
from tests.support.runs import mark_done

SESSIONS = [
    stamp.date()
    for stamp in exchange_calendars.get_calendar("XNAS", start="2023-01-03").sessions
    if stamp.date() <= dt.date(2024, 3, 15)
]
DAY = dt.date(2024, 2, 15)  # a Thursday
NEXT = dt.date(2024, 2, 16)
SATURDAY = dt.date(2024, 2, 17)
TUESDAY = dt.date(2024, 2, 20)

Bar = tuple[float, float, float, float, int]


class FeedData:
    def __init__(self, symbols: int = 12) -> None:
        self.symbols = [f"S{number:03d}" for number in range(symbols)]
        self.scans: dict[dt.date, list[str]] = {}
        self.corrections: dict[tuple[str, dt.date], Bar] = {}
        self.splits: dict[str, float] = {}
        self.first: dict[str, dt.date] = {}
        self.last: dict[str, dt.date] = {}

    def bar(self, symbol: str, day: dt.date) -> Bar:
        if (symbol, day) in self.corrections:
            return self.corrections[symbol, day]
        draw = random.Random(f"{symbol} {day}")
        close, factor = draw.uniform(10, 500), self.splits.get(symbol, 1.0)
        prices = (close * draw.uniform(0.99, 1.01), close * 1.02, close * 0.98, close)
        opened, high, low, close = (price / factor for price in prices)
        return opened, high, low, close, int(draw.uniform(1e5, 5e9))

    def days(self, symbol: str, day: dt.date, count: int = 60) -> list[dt.date]:
        """The newest sessions up to `day` on which the symbol has a bar, oldest first."""
        first, last = self.first.get(symbol, SESSIONS[0]), self.last.get(symbol, day)
        return [session for session in SESSIONS if first <= session <= min(day, last)][-count:]

    def hash_of(self, symbol: str, day: dt.date, count: int = 30) -> dict[str, Any]:
        """The bars that Redis should hold, by their date: what the tables were filled with, by another way."""
        names = ("open", "high", "low", "close", "volume")
        return {str(d): dict(zip(names, self.bar(symbol, d), strict=True)) for d in self.days(symbol, day, count)}

    def publish(self, day: dt.date) -> None:
        """Fill the replica with everything up to `day`."""
        path = replica_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with database._opened(path, read_only=False) as connection:
            connection.begin()
            database.migrate(connection)
            self._fill(connection, day)
            connection.commit()

    def finish(self, day: dt.date) -> None:
        """`publish`, and mark the daily pipeline of the day as done."""
        self.publish(day)
        manifest_path().write_text(json.dumps({"bytes": replica_path().stat().st_size}))
        write_text(report_path(day), "")
        mark_done(day)

    def _fill(self, connection: duckdb.DuckDBPyConnection, day: dt.date) -> None:
        for name in ("stock_data", "technical_indicators", "daily_watchlist"):
            connection.execute(f"DELETE FROM {name}")
        bars = [(symbol, d, *self.bar(symbol, d)) for symbol in self.symbols for d in self.days(symbol, day)]
        names = ("symbol", "date", "open", "high", "low", "close", "volume")
        connection.register("bars", pa.table(dict(zip(names, map(list, zip(*bars, strict=True)), strict=True))))
        connection.execute("INSERT INTO stock_data BY NAME SELECT *, now() AS fetched_at FROM bars")
        connection.execute(_INDICATORS)
        connection.unregister("bars")
        for scan_date, symbols in self.scans.items():
            if scan_date <= day:
                RowTarget("ScanWatchlist", scan_date).touch(connection, "daily_watchlist")
                for symbol in symbols:
                    connection.execute(_SCAN, [scan_date, symbol, f"{symbol} <Inc.>", f"scan {scan_date}"])


_INDICATORS = """
    INSERT INTO technical_indicators BY NAME
    SELECT symbol, date, 28.5 AS rsi_14, close * 0.9 AS bb_lower, close AS bb_middle, close * 1.1 AS bb_upper,
           0.5 AS bb_position, 1000001.0 AS avg_volume_30 FROM bars
"""
_SCAN = """
    INSERT INTO daily_watchlist BY NAME
    SELECT ? AS scan_date, ? AS symbol, ? AS name, 'Technology' AS sector, 2.5e9 AS market_cap, ? AS scan_reason,
           1 AS priority, 10.0 AS close_price, 1 AS volume, 3 AS market_cap_tier
"""


def bars_in(fields: dict[str, str]) -> dict[str, Any]:
    """The bars of a symbol's hash, parsed."""
    return {name: json.loads(value) for name, value in fields.items() if name[0].isdigit()}
