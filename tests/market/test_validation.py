"""The rules of a bar, one by one, and what they must let pass."""

import datetime as dt

import duckdb
import pytest

from pipeline.market.load import _EMPTY_ANSWERS
from pipeline.market.validation import RULES, split_by_rules

#: A week of ordinary bars: date -> open, high, low, close, volume.
GOOD = {
    "2024-02-12": (10.0, 10.5, 9.8, 10.2, 1000), "2024-02-13": (10.2, 10.4, 9.9, 10.0, 1100),
    "2024-02-14": (10.0, 10.9, 10.0, 10.8, 1200), "2024-02-15": (10.8, 11.0, 10.6, 10.7, 900), "2024-02-16": (10.7, 10.7, 10.1, 10.3, 0),
}  # fmt: skip
NAN, INFINITE = float("nan"), float("inf")


def judge(bars, dividends=None, splits=None):
    """Rule by date of the bars that were rejected, and the dates of those that pass."""
    connection = duckdb.connect()
    connection.execute(_EMPTY_ANSWERS)
    connection.execute("CREATE TEMP TABLE answered_bars AS FROM empty_answers")
    for date, values in bars:
        row = ["AAA", dt.date.fromisoformat(date), *values, (dividends or {}).get(date), (splits or {}).get(date)]
        connection.execute(
            "INSERT INTO answered_bars (symbol, date, open, high, low, close, volume, dividend, split_ratio) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    split_by_rules(connection)
    bad = connection.execute("SELECT date, rule FROM bad_bars ORDER BY ALL").fetchall()
    good = connection.execute("SELECT date FROM good_bars ORDER BY ALL").fetchall()
    return {str(date): rule for date, rule in bad}, [str(date) for (date,) in good]


def changed(**bars):
    """The ordinary week, some of its bars replaced: `changed(d14=(...))`."""
    return [*{**GOOD, **{f"2024-02-{name[1:]}": bar for name, bar in bars.items()}}.items()]


def test_an_ordinary_week_passes():
    assert judge(GOOD.items()) == ({}, [*GOOD])


@pytest.mark.parametrize(
    ("rule", "bar"),
    [
        ("value_missing", (10.0, 10.9, None, 10.8, 1200)),
        ("value_missing", (10.0, 10.9, 10.0, 10.8, None)),
        ("price_not_positive", (10.0, 10.9, 0.0, 10.8, 1200)),
        ("price_not_positive", (10.0, 10.9, -10.0, 10.8, 1200)),
        ("price_not_positive", (10.0, INFINITE, 10.0, 10.8, 1200)),
        ("price_not_positive", (NAN, 10.9, 10.0, 10.8, 1200)),
        ("volume_negative", (10.0, 10.9, 10.0, 10.8, -1)),
        ("high_too_low", (10.0, 10.4, 10.0, 10.8, 1200)),
        ("high_too_low", (10.9, 10.8, 10.0, 10.1, 1200)),
        ("low_too_high", (10.0, 10.9, 10.3, 10.8, 1200)),
        ("low_too_high", (10.8, 10.9, 10.3, 10.0, 1200)),
        ("move_too_large", (210.0, 211.0, 209.0, 210.0, 1200)),
        ("move_too_large", (0.4, 0.5, 0.3, 0.4, 1200)),
    ],
)
def test_a_bar_that_breaks_a_rule_is_rejected_under_its_name(rule, bar):
    """And it alone: the bars around it pass."""
    assert judge(changed(d14=bar)) == ({"2024-02-14": rule}, [date for date in GOOD if date != "2024-02-14"])


@pytest.mark.parametrize("date", ["2024-02-17", "2024-02-19", "1980-01-02"])
def test_a_bar_of_a_day_without_a_session(date):
    rejected, passed = judge([*GOOD.items(), (date, GOOD["2024-02-16"])])
    assert rejected == {date: "not_a_session"}
    assert passed == [*GOOD]


def test_a_session_that_comes_twice_is_rejected_whole():
    rejected, passed = judge([*GOOD.items(), ("2024-02-14", (10.0, 11.0, 10.0, 10.9, 1))])
    assert rejected == {"2024-02-14": "session_twice"}
    assert "2024-02-14" not in passed


def test_a_session_without_any_value_is_neither_good_nor_bad():
    rejected, passed = judge(changed(d14=(None, None, None, None, None)))
    assert rejected == {}
    assert passed == [date for date in GOOD if date != "2024-02-14"]


@pytest.mark.parametrize("action", ["dividends", "splits"])
def test_a_large_move_with_a_corporate_action_passes(action):
    moved = {date: (400.0, 410.0, 395.0, 402.0, 50) for date in ("2024-02-14", "2024-02-15", "2024-02-16")}
    rejected, _ = judge([*({**GOOD, **moved}).items()], **{action: {"2024-02-14": 0.02}})
    assert rejected == {}


def test_prices_that_were_rounded_one_by_one_pass():
    assert judge(changed(d14=(10.0, 10.8, 10.0, 10.805, 1200)))[0] == {}


@pytest.mark.parametrize(
    ("bar", "rejected"),
    [
        ((10.0, 10.8 * 0.9991, 10.0, 10.8, 1), {}),
        ((10.0, 10.8 * 0.9989, 10.0, 10.8, 1), {"2024-02-14": "high_too_low"}),
        ((10.0, 10.9, 10.0 * 1.0009, 10.8, 1), {}),
        ((10.0, 10.9, 10.0 * 1.0011, 10.8, 1), {"2024-02-14": "low_too_high"}),
    ],
)
def test_the_four_prices_may_disagree_by_a_thousandth(bar, rejected):
    assert judge(changed(d14=bar))[0] == rejected


def test_the_second_bar_of_all_has_no_earlier_one_that_could_excuse_it():
    first, second = "2024-02-12", "2024-02-13"
    assert judge([(first, GOOD[first]), (second, (210.0, 211.0, 209.0, 210.0, 1))])[0] == {second: "move_too_large"}


def test_no_volume_is_a_fact():
    assert judge(changed(d14=(10.0, 10.0, 10.0, 10.0, 0)))[0] == {}


def test_every_rule_is_tested_here():
    tested = {
        "value_missing",
        "price_not_positive",
        "volume_negative",
        "not_a_session",
        "session_twice",
        "high_too_low",
        "low_too_high",
        "move_too_large",
    }
    assert tested == set(RULES)
