"""Sessions of the exchange; every question about days and closes is asked here."""

from __future__ import annotations

import datetime as dt
import functools
import logging
from zoneinfo import ZoneInfo

from pipeline.config import market
from pipeline.errors import ClockError, ConfigurationError, SessionNotSettledError, SessionOutOfRangeError
from pipeline.trading_hours import Hours, trading_hours

NEW_YORK = ZoneInfo("America/New_York")

logger = logging.getLogger("pipeline")


def now() -> dt.datetime:
    """The present moment in UTC; the only clock of the project, so that tests replace this alone."""
    return dt.datetime.now(dt.UTC)


def local(moment: dt.datetime) -> str:
    """A moment for people: in New York's time, and in the operator's own where that is another."""
    there, here = moment.astimezone(NEW_YORK), moment.astimezone()
    text = f"{there:%Y-%m-%d %H:%M} New York"
    return text if there.utcoffset() == here.utcoffset() else f"{text} ({here:%Y-%m-%d %H:%M %Z})"


@functools.cache
def _hours(code: str) -> dict[dt.date, Hours]:
    return trading_hours(code, now().date())


@functools.cache
def _session_list(code: str, closed: frozenset[dt.date]) -> tuple[dt.date, ...]:
    return tuple(day for day in _hours(code) if day not in closed)


@functools.cache
def _session_set(code: str, closed: frozenset[dt.date]) -> frozenset[dt.date]:
    return frozenset(_session_list(code, closed))


@functools.cache
def _closed(text: str) -> frozenset[dt.date]:
    try:
        return frozenset(dt.date.fromisoformat(day.strip()) for day in text.split(",") if day.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"[market] closed = {text}: {error}; write days as 2025-01-09, with commas between them"
        ) from error


def closed_days() -> frozenset[dt.date]:
    """The days of `[market] closed`. Raises ConfigurationError for one that is no date."""
    return _closed(market().closed)


def _exchange_days() -> tuple[str, frozenset[dt.date]]:
    """The calendar's code, and the days of `closed`.

    Asked for so often that reading the whole section for them was a tenth of the time that a report page takes.
    """
    code, closed = (getattr(market, name).task_value("market", name) for name in ("calendar", "closed"))
    return code, _closed(closed)


def sessions() -> tuple[dt.date, ...]:
    """All sessions that the calendar knows, past and (for about a year) future, oldest first; no day of `closed`."""
    return _session_list(*_exchange_days())


def is_session(day: dt.date) -> bool:
    """True when the exchange trades on `day`, whatever the year."""
    return day in _session_set(*_exchange_days())


def sessions_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """The sessions from `first` to `last`, both included."""
    import bisect

    known = sessions()
    return list(known[bisect.bisect_left(known, first) : bisect.bisect_right(known, last)])


def session_before(day: dt.date, count: int = 1) -> dt.date:
    """The session `count` sessions before `day` (for a day without a session: counted from the next one).

    The calendar's first session is the answer where it does not reach back so far.
    """
    import bisect

    known = sessions()
    return known[max(0, bisect.bisect_left(known, day) - count)]


def session_after(day: dt.date) -> dt.date:
    """The first session after `day`."""
    import bisect

    known = sessions()
    return known[min(len(known) - 1, bisect.bisect_right(known, day))]


def around(first: dt.date, last: dt.date | None = None) -> str:
    """The sessions before a day, or a span of days, and after it, for people: `2024-02-16 and 2024-02-20`."""
    return f"{session_before(first)} and {session_after(last or first)}"


def session_distance(first: dt.date, last: dt.date) -> int:
    """The number of sessions after `first` up to and with `last`; negative when `last` is the earlier one."""
    if last < first:
        return -session_distance(last, first)
    return len(sessions_between(first + dt.timedelta(days=1), last))


def settled_at(session: dt.date) -> dt.datetime:
    """When the session's bars count as settled: its close (early closes included) plus the margin, in UTC."""
    close = dt.datetime.fromtimestamp(_hours(market().calendar)[session].closes, dt.UTC)
    return close + dt.timedelta(minutes=market().settle_minutes)


def opens_at(session: dt.date) -> dt.datetime:
    """When trading of the session begins, in UTC."""
    return dt.datetime.fromtimestamp(_hours(market().calendar)[session].opens, dt.UTC)


def latest_session() -> dt.date:
    """The latest session that has closed and settled. Raises ClockError when there is none in the last two weeks."""
    today = now().astimezone(NEW_YORK).date()
    recent = sessions_between(today - dt.timedelta(days=15), today)
    settled = [session for session in recent if settled_at(session) <= now()]
    if not settled:
        raise ClockError(
            f"the clock of this host says {today}, and calendar {market().calendar} has sessions from {sessions()[0]} "
            f"to {sessions()[-1]}; set the clock right: timedatectl shows it"
        )
    return settled[-1]


def check_session(day: dt.date) -> bool:
    """True for a settled session, False for a day without one that the calendar covers.

    Raises SessionOutOfRangeError before the calendar's first session and SessionNotSettledError for a day that has
    not happened, or whose bars are not settled yet.
    """
    if day < sessions()[0]:
        raise SessionOutOfRangeError(
            f"{day} lies before {sessions()[0]}, the first session of calendar {market().calendar} here; "
            f"ask for that session or a later one"
        )
    latest = latest_session()
    if day > latest and (is_session(day) or day > now().astimezone(NEW_YORK).date()):
        raise SessionNotSettledError(_not_settled(day, latest))
    return is_session(day)


def _not_settled(day: dt.date, latest: dt.date) -> str:
    if not is_session(day):
        return f"{day} lies in the future; the latest session that has settled is {latest}: --date {latest}"
    local = settled_at(day).astimezone(NEW_YORK)
    return (
        f"session {day} settles on {local:%Y-%m-%d at %H:%M} New York time "
        f"(close + {market().settle_minutes} minutes); the latest session that has settled is {latest}: --date {latest}"
    )


@functools.cache
def say_no_session(day: dt.date) -> None:
    """Log once a process that there is nothing to do on `day`, and which sessions lie around it."""
    logger.info("%s is no session of %s: nothing to do (sessions around it: %s)", day, market().calendar, around(day))
