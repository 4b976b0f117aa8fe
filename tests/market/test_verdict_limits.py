"""Limits of the verdicts on whole histories, at their edge: steps, common factors, splits, repeated answers, age."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Callable, Mapping

import duckdb
import pytest

from pipeline import calendar
from tests.support.judging import EVENING, answer, judged, list_symbol, store_bars, verdict

DAYS = calendar.sessions_between(dt.date(2023, 9, 1), dt.date(2024, 2, 16))[-100:]
CLOSE = 100.0
Verdict = Callable[..., tuple[str, str]]


@pytest.fixture
def said(tables: duckdb.DuckDBPyConnection, tmp_path: pathlib.Path) -> Verdict:
    """The rule and the verdict for a whole history of which each stored close is now `ratio` times what it was.

    The newest of the DAYS is not stored. A ratio of None stands for a bar that the answer lacks.
    """

    def judge(
        ratios: Mapping[dt.date, float | None], splits: Mapping[dt.date, float] | None = None, at: dt.datetime = EVENING
    ) -> tuple[str, str]:
        bars = {day: CLOSE * ratio for day, ratio in ratios.items() if ratio is not None}
        found = judged(tables, tmp_path, [answer("AAA", bars, first=DAYS[0], last=DAYS[-1], splits=splits, at=at)])
        rule, what, _ = verdict(found)
        return rule, what

    store_bars(tables, "AAA", dict.fromkeys(DAYS[:-1], CLOSE), answered_at=EVENING)
    return judge


def pieces(steps: int, low: float = 1.5, high: float = 1.6) -> dict[dt.date, float]:
    """Ratios that change from bar to bar as often as `steps` says, among the oldest bars."""
    return {day: (low, high)[min(place, steps) % 2] for place, day in enumerate(DAYS)}


@pytest.mark.parametrize(("steps", "is_restated"), [(4, True), (5, False)])
def test_a_restated_history_changes_its_ratio_at_few_bars(said: Verdict, steps: int, is_restated: bool) -> None:
    """At most at 5 % of the 99 bars that are compared."""
    assert said(pieces(steps)) == (("restated", "replace") if is_restated else ("no_common_factor", "keep"))


@pytest.mark.parametrize(("steps", "is_restated"), [(3, True), (4, False)])
def test_three_steps_are_few_in_a_short_history_too(
    tables: duckdb.DuckDBPyConnection, tmp_path: pathlib.Path, steps: int, is_restated: bool
) -> None:
    days = DAYS[-20:]
    store_bars(tables, "AAA", dict.fromkeys(days[:-1], CLOSE))
    bars = {day: CLOSE * (1.5, 1.6)[min(place, steps) % 2] for place, day in enumerate(days)}
    rule, _, _ = verdict(judged(tables, tmp_path, [answer("AAA", bars)]))
    assert rule == ("restated" if is_restated else "no_common_factor")


@pytest.mark.parametrize(("step", "is_restated"), [(1.0098, True), (1.0102, False)])
def test_ratios_within_one_percent_are_one_factor(said: Verdict, step: float, is_restated: bool) -> None:
    rule, _ = said(pieces(50, 1.5, 1.5 * step))
    assert (rule == "restated") == is_restated


@pytest.mark.parametrize(("ratio", "is_restated"), [(0.525, True), (0.527, False), (0.4757, True), (0.4755, False)])
def test_a_split_accounts_for_a_factor_that_it_nearly_equals(
    said: Verdict, tables: duckdb.DuckDBPyConnection, ratio: float, is_restated: bool
) -> None:
    """Within e to the power of 0.05 of one half for 2 for 1. Else the listing, which disagrees, is believed."""
    list_symbol(tables, "AAA", DAYS[-1], CLOSE)
    rule, _ = said(dict.fromkeys(DAYS, ratio), splits={DAYS[-1]: 2.0})
    assert rule == ("restated" if is_restated else "disagrees_with_all")


@pytest.mark.parametrize(("before", "is_repeated"), [(1.0009, True), (1.0011, False), (1 / 1.0011, False)])
def test_another_evening_bears_out_what_it_said_alike(
    said: Verdict, tables: duckdb.DuckDBPyConnection, before: float, is_repeated: bool
) -> None:
    """A thousandth of each close."""
    claimed = pieces(30)
    closes = {day: CLOSE * claimed[day] / before for day in DAYS[-11:-1]}
    tables.execute(
        """
        INSERT INTO disputed_answers (symbol, session, fetched_at, since, verdict, reason, closes)
        VALUES ('AAA', $day, $at, $day, 'keep', '', map($days::DATE[], $closes::DOUBLE[]))
        """,
        {
            "day": DAYS[-2],
            "at": EVENING - dt.timedelta(days=1),
            "days": list(closes),
            "closes": list(closes.values()),
        },
    )
    rule, _ = said(claimed)
    assert rule == ("restated" if is_repeated else "no_common_factor")


@pytest.mark.parametrize(("late", "rule"), [(0, "plain"), (1, "older")])
def test_an_answer_is_older_that_was_taken_before_the_one_taken_over(said: Verdict, late: int, rule: str) -> None:
    assert said(dict.fromkeys(DAYS, 1.0), at=EVENING - dt.timedelta(microseconds=late))[0] == rule
