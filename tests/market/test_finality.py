"""When an answer makes a bar final: at the edge of the moment, for a new bar and for one that is said again."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Callable

import duckdb
import pytest

from pipeline.market.finality import final_at
from pipeline.market.load import store_answers
from tests.support.judging import answer, judged

BEFORE, DAY = dt.date(2024, 2, 15), dt.date(2024, 2, 16)
#: Eight hours after the close at 16:00 in New York.
MOMENT = dt.datetime(2024, 2, 17, 5, 0, tzinfo=dt.UTC)
EDGES = [(dt.timedelta(microseconds=-1), False), (dt.timedelta(0), True)]


@pytest.fixture
def is_final(
    tables: duckdb.DuckDBPyConnection, tmp_path: pathlib.Path, clock: Callable[..., None]
) -> Callable[[dt.datetime], bool]:
    """Whether the bar of DAY is final after an answer of this moment."""
    clock(2024, 2, 17, 20, 0)

    def take(at: dt.datetime) -> bool:
        store_answers(judged(tables, tmp_path, [answer("AAA", {BEFORE: 10.0, DAY: 11.0}, at=at)]))
        ((found,),) = tables.execute("SELECT is_final FROM stock_data WHERE date = ?", [DAY]).fetchall()
        return bool(found)

    return take


def test_the_moment_is_hours_after_the_close() -> None:
    assert final_at(DAY) == MOMENT


@pytest.mark.parametrize(("after", "is_late"), EDGES)
def test_a_new_bar_is_final_when_it_comes_late_enough(
    is_final: Callable[..., bool], after: dt.timedelta, is_late: bool
) -> None:
    assert is_final(MOMENT + after) == is_late


@pytest.mark.parametrize(("after", "is_late"), EDGES)
def test_a_bar_is_final_when_it_is_said_again_late_enough(
    is_final: Callable[..., bool], after: dt.timedelta, is_late: bool
) -> None:
    assert not is_final(MOMENT - dt.timedelta(hours=6))
    assert is_final(MOMENT + after) == is_late


@pytest.mark.parametrize("weeks", [3, 100])
@pytest.mark.parametrize(("after", "is_late"), EDGES)
def test_the_age_of_an_answer_counts_however_long_ago_it_came(
    is_final: Callable[..., bool], clock: Callable[..., None], weeks: int, after: dt.timedelta, is_late: bool
) -> None:
    """A host that was away for weeks, or the session rebuilt from what was received then."""
    now = MOMENT + dt.timedelta(weeks=weeks)
    clock(now.year, now.month, now.day)
    assert not is_final(MOMENT - dt.timedelta(hours=6))
    assert is_final(MOMENT + after) == is_late
