"""What should be in Redis: the watchlist of the last days with the newest bars of each symbol, read from the replica.

One query brings it all, whatever the number of symbols, and the replica is closed before Redis is talked to.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import redis
from pipeline.database.connection import reading
from pipeline.database.replica import replica_path
from pipeline.errors import FeedOutdatedError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclasses.dataclass(frozen=True)
class Entry:
    """What one symbol's hash should hold.

    `meta` is a JSON object: the facts of its newest scan, and the number and dates of the bars that are fed. `dates`
    are those of its bars, oldest first, one object for all symbols that have the same; `text` has these bars as Redis
    answers them, a line for the length ("$98") and a line of JSON each. The last `count` bars are fed, those before let
    an earlier feed be recognized.
    """

    symbol: str
    meta: str
    dates: tuple[str, ...]
    text: bytes
    count: int

    def fed(self) -> dict[str, str]:
        """The bars that are fed, by their dates."""
        bars = self.text.decode().split("\r\n")[1::2]
        return dict(zip(self.dates[-self.count :], bars[-self.count :], strict=True))


@dataclasses.dataclass(frozen=True)
class Feed:
    """All that should be in Redis for a day. `session` is the newest scanned one up to it; the entries are by symbol.

    `on_list` counts the watchlist, also the symbols of it that have no bar.
    """

    day: dt.date
    session: dt.date
    entries: dict[str, Entry]
    on_list: int


def read_feed(day: dt.date) -> Feed:
    """The feed as of `day`, which may be a day without a session.

    Raises FeedOutdatedError when there is no replica, or nothing was scanned up to `day`.
    """
    if not replica_path().exists():
        raise FeedOutdatedError(
            f"there is no {replica_path()} to feed Redis from; run: luigi --module pipeline DailyPipeline --date {day}"
        )
    settings = redis()
    with reading(replica_path()) as connection:
        session = newest_scan(connection, day)
        values = {"day": day, "days": settings.watch_days, "count": settings.bars}
        rows = connection.execute(_FEED, values).fetchall()
    spans: dict[str, tuple[str, ...]] = {}
    entries = {
        symbol: Entry(symbol, meta, _span(spans, dates), text.encode(), settings.bars)
        for symbol, meta, dates, text in rows
        if text
    }
    return Feed(day, session, entries, len(rows))


def _span(spans: dict[str, tuple[str, ...]], text: str) -> tuple[str, ...]:
    """The dates of a text, one object for the same ones."""
    if text not in spans:
        spans[text] = tuple(text.split("\n"))
    return spans[text]


def newest_scan(connection: DuckDBPyConnection, day: dt.date) -> dt.date:
    """The newest session up to `day` whose watchlist the replica has, also when it is empty."""
    (session,) = connection.execute(
        "SELECT max(session) FROM finished_stages WHERE stage = 'ScanWatchlist' AND session <= ?", [day]
    ).fetchone() or (None,)
    if session is None:
        raise FeedOutdatedError(
            f"{replica_path()} has no watchlist of {day} or before; run: "
            f"luigi --module pipeline DailyPipeline --date {day}"
        )
    return session


def wanted_session(day: dt.date) -> dt.date:
    """The session that a feed as of `day` has to be of: the day, or the session before it when there is none."""
    return day if calendar.is_session(day) else calendar.session_before(day)


def check_session(feed: Feed) -> None:
    """Raises FeedOutdatedError when the replica lacks the session that the feed's day wants."""
    wanted = wanted_session(feed.day)
    if feed.session != wanted:
        raise FeedOutdatedError(
            f"{replica_path()} ends with the watchlist of {feed.session}, and {wanted} is wanted; "
            f"run: luigi --module pipeline DailyPipeline --date {wanted}"
        )


# Another release of DuckDB may write a number differently; the hashes in Redis are then written whole, once.
_FEED = """
    WITH listed AS MATERIALIZED (
        FROM fed_watchlist($day::DATE, $days)
    ), recent AS (
        SELECT *, row_number() OVER (PARTITION BY symbol ORDER BY date DESC) AS age
        FROM stock_data SEMI JOIN listed USING (symbol) WHERE date <= $day
        QUALIFY age <= $count + $days
    ), bars AS (
        SELECT symbol, date, age, json_object(
            'open', open, 'high', high, 'low', low, 'close', close, 'volume', volume
        )::VARCHAR AS bar FROM recent
    ), fed AS (
        SELECT symbol, string_agg(date::VARCHAR, chr(10) ORDER BY date) AS dates,
            string_agg('$' || strlen(bar) || chr(13) || chr(10) || bar || chr(13) || chr(10), '' ORDER BY date) AS text,
            count(*) FILTER (age <= $count) AS bars, min(date) FILTER (age <= $count) AS first_date,
            max(date) AS last_date
        FROM bars GROUP BY symbol
    )
    SELECT symbol, json_object(
        'name', name, 'exchange', exchange, 'sector', sector, 'market_cap', market_cap,
        'market_cap_tier', market_cap_tier,
        'scan_date', scan_date, 'scan_reason', scan_reason, 'priority', priority,
        'bars', bars, 'first_date', first_date, 'last_date', last_date
    )::VARCHAR, dates, text
    FROM listed LEFT JOIN fed USING (symbol) ORDER BY symbol
"""
