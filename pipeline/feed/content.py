"""What should be in Redis: the watchlist of the last days with the newest bars of each symbol, read from the replica.

One query brings it all, whatever the number of symbols, and the replica is closed before Redis is talked to.
"""

from __future__ import annotations

import bisect
import dataclasses
import datetime as dt
import functools
import hashlib
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import redis
from pipeline.database.connection import reading
from pipeline.database.replica import replica_path
from pipeline.errors import FeedOutdatedError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Characters of a date, with which each line of bars begins.
DATE_WIDTH = 10


@dataclasses.dataclass(frozen=True)
class Entry:
    """What one symbol's hash should hold.

    `facts` are those of its newest scan, as a JSON object; `lines` its bars, oldest first, each a date and the bar as
    JSON. The last `count` of them are fed, those before let an earlier feed be recognized.
    """

    symbol: str
    facts: str
    lines: list[str]
    count: int

    @functools.cached_property
    def fed(self) -> range:
        """The lines that are fed, by their numbers."""
        return range(max(0, len(self.lines) - self.count), len(self.lines))

    def fed_on(self, day: str) -> range:
        """The lines that were fed as of `day`, if none of them has changed since."""
        end = bisect.bisect_right(self.lines, day + "~")  # a bar begins with a brace, which sorts before a tilde
        return range(max(0, end - self.count), end)

    def digest(self, lines: range, *more: str) -> str:
        """The SHA-1 of the bars of these lines and of more, one after the other, as the server computes it."""
        texts = [line[DATE_WIDTH:] for line in self.lines[lines.start : lines.stop]]
        return hashlib.sha1("".join([*texts, *more]).encode(), usedforsecurity=False).hexdigest()

    def date(self, number: int) -> str:
        return self.lines[number][:DATE_WIDTH]

    def dates(self, lines: range) -> tuple[str, ...]:
        return tuple([line[:DATE_WIDTH] for line in self.lines[lines.start : lines.stop]])

    def bar(self, number: int) -> str:
        """A bar as JSON."""
        return self.lines[number][DATE_WIDTH:]

    def bars(self) -> dict[str, str]:
        """The bars that are fed, as JSON, by their dates."""
        fed = self.fed
        return {line[:DATE_WIDTH]: line[DATE_WIDTH:] for line in self.lines[fed.start : fed.stop]}

    @functools.cached_property
    def meta(self) -> str:
        """The facts, and the number and the dates of the bars that are fed, as JSON."""
        fed = self.fed
        first, last = self.date(fed[0]), self.date(fed[-1])
        return f'{self.facts[:-1]},"bars":{len(fed)},"first_date":"{first}","last_date":"{last}"}}'


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
        values = {"day": day, "days": settings.watch_days, "bars": settings.bars + settings.watch_days}
        rows = connection.execute(_FEED, values).fetchall()
    entries = {symbol: Entry(symbol, facts, lines.split("\n"), settings.bars) for symbol, facts, lines in rows if lines}
    return Feed(day, session, entries, len(rows))


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
        FROM stock_data SEMI JOIN listed USING (symbol) WHERE date <= $day
        QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY date DESC) <= $bars
    ), bars AS (
        SELECT symbol, date, date || json_object(
            'open', open, 'high', high, 'low', low, 'close', close, 'volume', volume
        )::VARCHAR AS line FROM recent
    ), fed AS (
        SELECT symbol, string_agg(line, chr(10) ORDER BY date) AS lines FROM bars GROUP BY symbol
    )
    SELECT symbol, json_object(
        'name', name, 'exchange', exchange, 'sector', sector, 'market_cap', market_cap,
        'market_cap_tier', market_cap_tier,
        'scan_date', scan_date, 'scan_reason', scan_reason, 'priority', priority
    )::VARCHAR, lines
    FROM listed LEFT JOIN fed USING (symbol) ORDER BY symbol
"""
