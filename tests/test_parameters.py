"""The date parameter: one session, or several inside a combined task."""

import datetime as dt

import luigi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidDateError
from pipeline.parameters import SessionParameter, merge

DATES = st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1))


class Dated(luigi.Task):
    date = SessionParameter()


@given(st.lists(DATES, min_size=1, max_size=5))
def test_what_is_written_is_read_again(days):
    parameter = SessionParameter()
    value = parameter.normalize(tuple(days))
    assert parameter.parse(parameter.serialize(value)) == value


@given(st.lists(DATES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_order_or_grouping(days, draw):
    wanted = tuple(sorted(set(days)))
    shuffled = draw.sample(days, len(days))
    cut = draw.randint(0, len(days) - 1)
    groups = [merge(part) for part in (shuffled[:cut], shuffled[cut:]) if part]
    assert merge(groups) == (wanted[0] if len(wanted) == 1 else wanted)


@pytest.mark.parametrize("text", ["2024-02-30", "yesterday", "2024-2-1", "16.02.2024", "2024-02-16,", ""])
def test_what_is_no_date(text):
    with pytest.raises(InvalidDateError, match="write it as YYYY-MM-DD, for example --date 2024-02-20"):
        SessionParameter().parse(text)


def test_left_out_it_is_the_latest_settled_session(clock):
    clock(2024, 2, 20, 8, 0)
    assert Dated().date == dt.date(2024, 2, 16)


def test_given_it_asks_no_clock(monkeypatch):
    monkeypatch.delattr("pipeline.calendar.latest_session")
    assert Dated(date=dt.date(2024, 2, 16)).date == dt.date(2024, 2, 16)


def test_a_moment_becomes_its_date():
    assert Dated(date=dt.datetime(2024, 2, 16, 9, 30)).date == dt.date(2024, 2, 16)  # noqa: DTZ001


def test_a_combined_task_names_all_its_dates():
    task = Dated(date=(dt.date(2024, 2, 20), dt.date(2024, 2, 16), dt.date(2024, 2, 16)))
    assert task.date == (dt.date(2024, 2, 16), dt.date(2024, 2, 20))
    assert str(task) == "Dated(date=2024-02-16,2024-02-20)"


def test_the_family_can_be_combined():
    assert Dated.batch_param_names() == ["date"]
