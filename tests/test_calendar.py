"""Sessions and their settlement, against exchange_calendars' own answers and days that are known by heart."""

import datetime as dt

import exchange_calendars
import pytest

from pipeline import calendar
from pipeline.errors import ClockError, ConfigurationError, SessionNotSettledError, SessionOutOfRangeError

UTC = dt.UTC


@pytest.fixture(scope="module")
def xnas():
    return exchange_calendars.get_calendar("XNAS", start="1990-01-01")


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


@pytest.mark.parametrize(
    ("date", "why"),
    [
        ("2024-02-19", "Presidents' Day"), ("2024-03-29", "Good Friday"), ("2022-06-20", "Juneteenth, observed"),
        ("2012-10-29", "hurricane Sandy"), ("2001-09-12", "after the attacks"),
        ("2025-01-09", "mourning for President Carter"),
        ("2024-02-17", "a Saturday"), ("2024-02-18", "a Sunday"),
    ],
)  # fmt: skip
def test_days_without_a_session(date, why):
    assert not calendar.is_session(day(date)), why
    assert calendar.check_session(day(date)) is False


@pytest.mark.parametrize("date", ["2024-02-16", "2023-11-24", "2021-06-18", "1990-01-02", "2023-12-26"])
def test_days_with_a_session(date):
    assert calendar.is_session(day(date))
    assert calendar.check_session(day(date)) is True


def test_sessions_are_those_of_exchange_calendars(xnas):
    theirs = [stamp.date() for stamp in xnas.sessions_in_range("1995-01-01", "2024-12-31")]
    assert calendar.sessions_between(day("1995-01-01"), day("2024-12-31")) == theirs


@pytest.mark.parametrize(
    ("date", "close"),
    [
        ("2024-02-16", "2024-02-16 21:00"),  # 16:00 in winter time
        ("2024-03-08", "2024-03-08 21:00"),  # the last session before the clocks went forward
        ("2024-03-11", "2024-03-11 20:00"),  # and the first one after
        ("2024-11-01", "2024-11-01 20:00"),
        ("2024-11-04", "2024-11-04 21:00"),  # after they went back
        ("2023-11-24", "2023-11-24 18:00"),  # closes early, at 13:00
        ("2024-07-03", "2024-07-03 17:00"),
    ],
)
def test_a_session_settles_after_its_close(xnas, settings, date, close):
    settings("market", settle_minutes=45)
    moment = dt.datetime.fromisoformat(close).replace(tzinfo=UTC)
    assert calendar.settled_at(day(date)) == moment + dt.timedelta(minutes=45)
    assert xnas.session_close(date).to_pydatetime() == moment


def test_the_margin_runs_from_an_early_close(clock, settings):
    settings("market", settle_minutes=90)
    clock(2023, 11, 24, 14, 29)
    assert calendar.latest_session() == day("2023-11-22")  # Thanksgiving lies between
    with pytest.raises(
        SessionNotSettledError, match=r"settles on 2023-11-24 at 14:30 New York time .* --date 2023-11-22$"
    ):
        calendar.check_session(day("2023-11-24"))
    clock(2023, 11, 24, 14, 30)
    assert calendar.latest_session() == day("2023-11-24")
    assert calendar.check_session(day("2023-11-24"))


def test_before_the_market_opens_the_latest_session_is_the_one_before(clock):
    clock(2024, 2, 20, 7, 0)  # a Tuesday after a holiday
    assert calendar.latest_session() == day("2024-02-16")


def test_evening_in_new_york_is_tomorrow_in_utc(clock):
    clock(2024, 2, 20, 19, 30)
    assert calendar.now().date() == day("2024-02-21")
    assert calendar.latest_session() == day("2024-02-20")
    with pytest.raises(SessionNotSettledError):
        calendar.check_session(day("2024-02-21"))


@pytest.mark.parametrize("date", ["2024-02-21", "2024-02-24", "2024-12-25", "2031-01-01"])
def test_the_future_is_refused_with_the_latest_session(clock, date):
    clock(2024, 2, 20, 20, 0)
    with pytest.raises(
        SessionNotSettledError, match="the latest session that has settled is 2024-02-20: --date 2024-02-20"
    ):
        calendar.check_session(day(date))


def test_today_without_a_session_is_no_future(clock):
    clock(2024, 2, 19, 10, 0)
    assert calendar.check_session(day("2024-02-19")) is False


@pytest.mark.parametrize("date", ["1950-01-03", "1990-01-01", "0001-01-01"])
def test_before_the_calendar_begins(date):
    with pytest.raises(SessionOutOfRangeError, match=f"{date} lies before 1990-01-02"):
        calendar.check_session(day(date))
    assert not calendar.is_session(day(date))


@pytest.mark.parametrize("moment", [(1970, 1, 1, 0, 1), (1990, 1, 2, 16, 44)])
def test_a_clock_before_the_calendar_begins(clock, settings, moment):
    settings("market", settle_minutes=45)
    clock(*moment)
    with pytest.raises(ClockError, match=r"this host says 19.0-01-0\d, .* sessions from 1990-01-02 to 2.*timedatectl"):
        calendar.latest_session()
    clock(1990, 1, 2, 16, 45)
    assert calendar.latest_session() == day("1990-01-02")


def test_counting_sessions():
    assert calendar.session_before(day("2024-02-20")) == day("2024-02-16")
    assert calendar.session_before(day("2024-02-19")) == day("2024-02-16")  # a holiday counts from the next session
    assert calendar.session_before(day("2024-02-20"), 0) == day("2024-02-20")
    assert calendar.session_after(day("2024-02-16")) == day("2024-02-20")
    assert calendar.session_after(day("2024-02-17")) == day("2024-02-20")
    assert calendar.session_before(day("1990-01-03"), 400) == day("1990-01-02")  # where the calendar begins
    assert calendar.session_distance(day("2024-02-16"), day("2024-02-21")) == 2
    assert calendar.session_distance(day("2024-02-21"), day("2024-02-16")) == -2


def test_session_before_counts_as_exchange_calendars_does(xnas):
    session = xnas.date_to_session("2024-02-16")
    assert calendar.session_before(day("2024-02-16"), 419) == xnas.session_offset(session, -419).date()


def test_an_unknown_exchange(settings):
    settings("market", calendar="XNYX")
    with pytest.raises(ConfigurationError, match=r"calendar = XNYX.*NASDAQ's is XNAS"):
        calendar.sessions()


def test_a_day_that_was_closed_unscheduled_is_no_session(settings):
    before, closed, after = day("2024-02-15"), day("2024-02-16"), day("2024-02-20")
    assert calendar.session_before(after) == closed
    settings("market", closed="2012-10-29, 2024-02-16")
    assert not calendar.is_session(closed)
    assert calendar.check_session(closed) is False
    assert calendar.session_before(after) == before
    assert calendar.session_after(before) == after
    assert calendar.sessions_between(before, after) == [before, after]


def test_a_closed_day_that_is_no_date_is_refused(settings):
    settings("market", closed="2024-02-31")
    with pytest.raises(ConfigurationError, match=r"\[market\] closed = 2024-02-31.*write days as 2025-01-09"):
        calendar.is_session(day("2024-02-16"))
