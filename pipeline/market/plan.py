"""Which bars to ask for: the history of a new symbol, the last sessions of a known one, nothing twice.

`price_ranges` remembers for each symbol the span of sessions that the source has answered for. A request extends that
span so that it reaches from the history that the look-back needs to the session that is collected. The wanted span
depends on the sessions alone, and spans are joined; so the order in which sessions are collected does not matter.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import market
from pipeline.market.finality import early_absences, final_at, provisional
from pipeline.market.gaps import widen
from pipeline.market.staleness import correctable_since
from pipeline.market.universe import expected_symbols
from pipeline.sources.protocol import BarRequest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Span = tuple[dt.date, dt.date]


def plan(connection: DuckDBPyConnection, sessions: Sequence[dt.date], is_standing: bool = False) -> list[BarRequest]:
    """The requests that the sessions need, companies of the newest session first, each in order of size.

    A standing source is compared with the store as a whole (`deliveries.with_changes`): what it said first needs no
    second answer.
    """
    wanted: dict[str, Span] = {}
    for session in sorted(sessions, reverse=True):
        for symbol in expected_symbols(connection, session):
            wanted[symbol] = (session, wanted[symbol][1] if symbol in wanted else session)
    known = known_spans(connection)
    again = sessions_asked_again(connection, sessions)
    for symbol, (first, last) in known.items():  # what came then is not counted as an answer
        if again and first < again[0] <= last:
            known[symbol] = (first, calendar.session_before(again[0]))
    doubtful = set() if is_standing else late_histories(connection)
    cases = {symbol: (span, known.get(symbol), symbol in doubtful) for symbol, span in wanted.items()}
    asked = {case: span_to_ask(*case) for case in set(cases.values())}  # few, and each costs looks at the calendar
    answers = ((symbol, asked[case]) for symbol, case in cases.items())
    requests = [BarRequest(symbol, *span) for symbol, span in answers if span is not None]
    return with_age(connection, widen(connection, reach_back(connection, requests)))


def confirmations(connection: DuckDBPyConnection, session: dt.date) -> list[BarRequest]:
    """Requests for what is provisional of the session, bars first, then those that were absent early."""
    return _asked_late(session, [*provisional(connection, session), *early_absences(connection, session)])


def _asked_late(session: dt.date, symbols: Sequence[str]) -> list[BarRequest]:
    """Requests for the session and the overlap before it that take only late answers."""
    first = calendar.session_before(session, market().overlap_sessions - 1)
    return [BarRequest(symbol, first, session, not_before=final_at(session)) for symbol in symbols]


def left_provisional(
    connection: DuckDBPyConnection, session: dt.date, planned: Sequence[BarRequest]
) -> list[BarRequest]:
    """Requests for provisional bars of the overlap before the session whose symbols its plan leaves out.

    A company that has fallen below `[market] min_market_cap`, or has left the listing, would keep them for good.
    """
    days = calendar.sessions_between(
        calendar.session_before(session, market().overlap_sessions), calendar.session_before(session)
    )
    asked = {request.symbol for request in planned}
    left: dict[str, BarRequest] = {}
    for day in days:
        if final_at(day) <= calendar.now():
            left |= {r.symbol: r for r in _asked_late(day, provisional(connection, day)) if r.symbol not in asked}
    return [*left.values()]


def known_spans(connection: DuckDBPyConnection) -> dict[str, Span]:
    """The span of sessions that the source has answered for, and been believed, by symbol."""
    rows = connection.execute("SELECT symbol, first_asked, last_asked FROM price_ranges").fetchall()
    return {symbol: (first, last) for symbol, first, last in rows}


def late_histories(connection: DuckDBPyConnection) -> set[str]:
    """The symbols whose first history began late: they are asked for once more, whole."""
    rows = connection.execute("SELECT symbol FROM price_ranges WHERE NOT is_confirmed").fetchall()
    return {symbol for (symbol,) in rows}


def reach_back(connection: DuckDBPyConnection, requests: Sequence[BarRequest]) -> list[BarRequest]:
    """The requests, those begun earlier whose span shares no bar with the store, or does not reach behind a new basis.

    An answer is held against stored bars: there has to be one in its span. A split whose effect on the closes before
    it has not been seen (`unconfirmed_splits`) may show it any day; and for `[quality] split_patience` sessions behind
    the overlap a ratio may be corrected, whether an event told of it or the closes alone.
    """
    rows = connection.execute(
        """
        SELECT symbol, min(date) FROM (
            SELECT s.symbol, max(s.date) AS date FROM stock_data s JOIN price_ranges r USING (symbol)
            WHERE s.symbol IN (SELECT unnest($symbols::VARCHAR[])) AND s.date <= r.last_asked GROUP BY s.symbol
            UNION ALL
            SELECT symbol, date_before FROM unconfirmed_splits
            UNION ALL
            SELECT symbol, last_date FROM basis_changes WHERE last_date >= $since
            UNION ALL
            SELECT a.symbol, max(s.date) FROM corporate_actions a JOIN stock_data s USING (symbol)
            WHERE a.kind = 'split' AND a.date > $since AND s.date < a.date GROUP BY a.symbol, a.date
        ) GROUP BY symbol
        """,
        {"symbols": [request.symbol for request in requests], "since": _may_be_corrected_since(requests)},
    ).fetchall()
    earliest: dict[str, dt.date] = dict(rows)
    return [dataclasses.replace(r, first=min(r.first, earliest.get(r.symbol, r.first))) for r in requests]


def _may_be_corrected_since(requests: Sequence[BarRequest]) -> dt.date | None:
    """The first session after which a split counts as new for the newest of the requests."""
    newest = max((request.last for request in requests), default=None)
    return newest and correctable_since(newest)


def with_age(connection: DuckDBPyConnection, requests: Sequence[BarRequest]) -> list[BarRequest]:
    """The requests with the moment from which they take answers: their last session settled, and no dispute since."""
    rows = connection.execute("SELECT symbol, session, fetched_at FROM disputed_answers").fetchall()
    disputed = {symbol: (session, moment + dt.timedelta(microseconds=1)) for symbol, session, moment in rows}
    settled = {last: calendar.settled_at(last) for last in {request.last for request in requests}}

    def moment(request: BarRequest) -> dt.datetime:
        session, after = disputed.get(request.symbol, (None, None))
        return (
            max(settled[request.last], after)
            if session and after and session >= request.last
            else settled[request.last]
        )

    return [dataclasses.replace(request, not_before=moment(request)) for request in requests]


def sessions_asked_again(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> list[dt.date]:
    """Those of the sessions that an operator, or an outage of the source, wants to be collected anew."""
    rows = connection.execute(
        "SELECT date FROM recollections WHERE date IN (SELECT unnest(?::DATE[])) ORDER BY date", [list(sessions)]
    ).fetchall()
    return [session for (session,) in rows]


def span_to_ask(sessions: Span, known: Span | None, is_doubtful: bool = False) -> Span | None:
    """What to ask for so that the span known of a symbol serves the first and the last session wanted.

    A history is asked for whole where earlier bars are wanted, or the first answer is to be confirmed: two answers
    could be adjusted for different splits.
    """
    first, last = sessions
    start = history_start(first)
    if known is None:
        return start, last
    if start < known[0] or is_doubtful:
        return min(start, known[0]), max(last, known[1])
    if last <= known[1]:
        return None
    overlap = market().overlap_sessions - 1
    return max(known[0], calendar.session_before(calendar.session_after(known[1]), overlap)), last


def history_start(session: dt.date) -> dt.date:
    """The first session of the quarter in which the history that `session` needs begins.

    Quarters keep neighbouring sessions on the same start, so that collecting an earlier one rarely asks for more.
    """
    day = calendar.session_before(session, market().history_sessions)
    quarter = dt.date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)
    return calendar.session_after(quarter - dt.timedelta(days=1))
