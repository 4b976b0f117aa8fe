"""Requests for bars: enough for every session, nothing twice, whatever the order."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from pipeline import calendar
from pipeline.config import market
from pipeline.market.load import store_answers
from pipeline.market.plan import history_start, late_histories, plan, span_to_ask
from tests.support.judging import answer, judged, store_bars
from tests.support.small_market import SESSIONS

LATE = SESSIONS[-25:]


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def ask(known, first, last):
    """The span that is asked for, and the one that is known once it was answered."""
    asked = span_to_ask((first, last), known)
    spans = [span for span in (asked, known) if span]
    return asked, (min(span[0] for span in spans), max(span[1] for span in spans))


def test_a_new_symbol_gets_its_history_from_the_start_of_a_quarter():
    first, last = span_to_ask((day("2024-02-16"), day("2024-02-16")), None)
    assert (first, last) == (day("2022-04-01"), day("2024-02-16"))
    assert calendar.session_distance(first, last) >= market().history_sessions


def test_a_known_symbol_is_asked_for_its_last_five_sessions():
    known = (day("2022-04-01"), day("2024-02-15"))
    first, last = span_to_ask((day("2024-02-16"), day("2024-02-16")), known)
    assert calendar.sessions_between(first, last) == [
        day("2024-02-12"), day("2024-02-13"), day("2024-02-14"), day("2024-02-15"), day("2024-02-16"),
    ]  # fmt: skip


def test_a_symbol_that_was_left_alone_for_weeks_gets_all_that_it_missed():
    known = (day("2022-04-01"), day("2024-01-19"))
    first, last = span_to_ask((day("2024-02-16"), day("2024-02-16")), known)
    assert first <= day("2024-01-19")
    assert last == day("2024-02-16")


def test_an_earlier_quarter_is_asked_for_with_the_whole_history():
    """Two answers of different moments could be adjusted for different splits."""
    first, last = span_to_ask((day("2023-11-01"), day("2023-11-01")), (day("2022-04-01"), day("2024-02-16")))
    assert (first, last) == (history_start(day("2023-11-01")), day("2024-02-16"))
    assert first < day("2022-04-01")


def test_a_history_that_is_to_be_confirmed_is_asked_for_up_to_its_newest_bar():
    known = (day("2022-04-01"), day("2024-02-16"))
    for first, last in (("2024-02-14", "2024-02-15"), ("2024-05-01", "2024-05-02")):
        asked = span_to_ask((day(first), day(last)), known, is_doubtful=True)
        assert asked == (day("2022-04-01"), max(day(last), day("2024-02-16")))


@given(st.permutations(LATE), st.integers(0, 10))
@limits(max_examples=40, deadline=None)
def test_every_session_is_served_and_nothing_is_asked_for_twice(order, spread):
    known = None
    for session in order:
        _, known = ask(known, session, session)
        assert known[0] <= history_start(session)
        assert known[1] >= session
        assert ask(known, session, session)[0] is None
    assert known == (history_start(min(order)), max(order))


@given(st.lists(st.lists(st.sampled_from(LATE), min_size=1), min_size=1, max_size=5))
@limits(deadline=None)
def test_combined_sessions_end_at_the_same_span_as_single_ones(groups):
    single = combined = None
    for group in groups:
        _, combined = ask(combined, min(group), max(group))
        for session in group:
            _, single = ask(single, session, session)
    assert single == combined


@pytest.fixture
def connection(tables, data_dir):
    tables.execute(
        """
        INSERT INTO symbol_snapshots (date, symbol, name, market_cap)
        VALUES ('2024-02-20', 'BIG', 'Big', 2e12), ('2024-02-20', 'MID', 'Mid', 2e10),
               ('2024-02-20', 'TINY', 'Tiny', 9e7)
        """
    )
    for date in ("2024-02-15", "2024-02-16", "2024-02-20"):
        tables.execute("INSERT INTO session_universe (date, snapshot_date) VALUES (?, '2024-02-20')", [day(date)])
    return tables


def test_the_plan_is_one_request_a_company_largest_first(connection):
    requests = plan(connection, [day("2024-02-16"), day("2024-02-20")])
    assert [request.symbol for request in requests] == ["BIG", "MID"]
    assert {(request.first, request.last) for request in requests} == {
        (history_start(day("2024-02-16")), day("2024-02-20"))
    }


def test_what_was_answered_is_not_planned_again(connection):
    connection.execute(
        "INSERT INTO price_ranges (symbol, first_asked, last_asked) VALUES ('BIG', '2022-01-03', '2024-02-20')"
    )
    assert [request.symbol for request in plan(connection, [day("2024-02-20")])] == ["MID"]


def test_a_session_to_be_collected_anew_is_planned_with_its_overlap(connection):
    connection.execute(
        "INSERT INTO price_ranges (symbol, first_asked, last_asked) VALUES ('BIG', '2022-01-03', '2024-02-20')"
    )
    connection.execute(
        "INSERT INTO recollections (date, reason) VALUES ('2024-02-20', 'the source lacked the session')"
    )
    request = next(one for one in plan(connection, [day("2024-02-20")]) if one.symbol == "BIG")
    assert (request.first, request.last) == (day("2024-02-13"), day("2024-02-20"))


@pytest.mark.parametrize(("late", "is_confirmed"), [(4, True), (5, False)])
def test_a_first_history_that_begins_late_is_asked_for_once_more(tables, tmp_path, late, is_confirmed):
    """It may lack four sessions: the source may not have had the whole of it."""
    asked = SESSIONS[-10:]
    said = answer("BIG", dict.fromkeys(asked[late:], 10.0), first=asked[0])
    store_answers(judged(tables, tmp_path, [said]))
    assert (late_histories(tables) == set()) == is_confirmed


@pytest.mark.parametrize("event", [True, False])
def test_requests_reach_behind_a_new_basis_while_its_ratio_may_be_corrected(connection, tmp_path, event):
    """A split on the eighth of the last 25 sessions: for 12 sessions, an overlap and the patience with splits."""
    before, effective = LATE[6], LATE[7]
    store_bars(connection, "BIG", dict.fromkeys(LATE[:7], 40.0))
    whole = answer("BIG", dict.fromkeys(LATE, 10.0), splits={effective: 4.0} if event else {})
    store_answers(judged(connection, tmp_path, [whole]))
    firsts = {}
    for age in (6, 11, 12):
        connection.execute("INSERT OR REPLACE INTO session_universe (date, snapshot_date) VALUES (?, '2024-02-20')",
                           [LATE[7 + age]])  # fmt: skip
        connection.execute("UPDATE price_ranges SET first_asked = '2022-01-03', last_asked = ?", [LATE[6 + age]])
        firsts[age] = next(one.first for one in plan(connection, [LATE[7 + age]]) if one.symbol == "BIG")
    assert firsts == {6: before, 11: before, 12: LATE[15]}


@given(st.dates(dt.date(1995, 1, 1), dt.date(2025, 12, 31)))
@limits(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_history_begins_with_a_quarter_and_is_long_enough(date):
    session = calendar.session_before(date, 0)
    start = history_start(session)
    assert calendar.is_session(start)
    assert (calendar.session_before(start).month - 1) // 3 != (start.month - 1) // 3
    assert market().history_sessions <= calendar.session_distance(start, session) <= market().history_sessions + 66
