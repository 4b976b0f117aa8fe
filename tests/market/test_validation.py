"""The rules of a bar, one by one, and what they must let pass."""

import datetime as dt

import pytest

from pipeline.calendar import session_after
from pipeline.market.validation import RULES
from tests.support.judging import answer, judged, store_bars

#: A week of ordinary bars: date -> open, high, low, close, volume.
GOOD = {
    "2024-02-12": (10.0, 10.5, 9.8, 10.2, 1000), "2024-02-13": (10.2, 10.4, 9.9, 10.0, 1100),
    "2024-02-14": (10.0, 10.9, 10.0, 10.8, 1200), "2024-02-15": (10.8, 11.0, 10.6, 10.7, 900),
    "2024-02-16": (10.7, 10.7, 10.1, 10.3, 0),
}  # fmt: skip
NAN, INFINITE = float("nan"), float("inf")


@pytest.fixture
def judge(tables, tmp_path):
    """Rule by date of the bars that were rejected, and the dates of those that pass; `stored` are closes of before."""

    def rejected_and_passed(bars, dividends=None, splits=None, stored=None):
        actions = {
            name: {dt.date.fromisoformat(date): value for date, value in (given or {}).items()}
            for name, given in (("dividends", dividends), ("splits", splits))
        }
        said = answer("AAA", [(dt.date.fromisoformat(date), values) for date, values in bars], **actions)
        if stored:
            store_bars(tables, "AAA", {dt.date.fromisoformat(date): close for date, close in stored.items()})
        rows = judged(tables, tmp_path, [said]).execute("SELECT date, rule FROM judged_bars ORDER BY ALL")
        rejected = {str(date): rule for date, rule in rows if rule}
        return rejected, [str(date) for date, rule in rows if rule is None]

    return rejected_and_passed


def changed(**bars):
    """The ordinary week, some of its bars replaced: `changed(d14=(...))`."""
    return [*{**GOOD, **{f"2024-02-{name[1:]}": bar for name, bar in bars.items()}}.items()]


def test_an_ordinary_week_passes(judge):
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
        ("price_absurd", (10.0, 1.1e7, 10.0, 10.8, 1200)),
        ("volume_negative", (10.0, 10.9, 10.0, 10.8, -1)),
        ("volume_absurd", (10.0, 10.9, 10.0, 10.8, 1_000_000_000_001)),
        ("high_too_low", (10.0, 10.4, 10.0, 10.8, 1200)),
        ("high_too_low", (10.9, 10.8, 10.0, 10.1, 1200)),
        ("low_too_high", (10.0, 10.9, 10.3, 10.8, 1200)),
        ("low_too_high", (10.8, 10.9, 10.3, 10.0, 1200)),
        ("move_too_large", (210.0, 211.0, 209.0, 210.0, 1200)),
        ("move_too_large", (0.4, 0.5, 0.3, 0.4, 1200)),
    ],
)
def test_a_bar_that_breaks_a_rule_is_rejected_under_its_name(judge, rule, bar):
    """And it alone: the bars around it pass."""
    assert judge(changed(d14=bar)) == ({"2024-02-14": rule}, [date for date in GOOD if date != "2024-02-14"])


@pytest.mark.parametrize("date", ["2024-02-17", "2024-02-19", "1980-01-02"])
def test_a_bar_of_a_day_without_a_session(judge, date):
    rejected, passed = judge([*GOOD.items(), (date, GOOD["2024-02-16"])])
    assert rejected == {date: "not_a_session"}
    assert passed == [*GOOD]


def test_a_session_that_comes_twice_is_rejected_whole(judge):
    rejected, passed = judge([*GOOD.items(), ("2024-02-14", (10.0, 11.0, 10.0, 10.9, 1))])
    assert rejected == {"2024-02-14": "session_twice"}
    assert "2024-02-14" not in passed


def test_a_session_without_any_value_is_neither_good_nor_bad(judge):
    rejected, passed = judge(changed(d14=(None, None, None, None, None)))
    assert rejected == {}
    assert passed == [date for date in GOOD if date != "2024-02-14"]


@pytest.mark.parametrize("action", ["dividends", "splits"])
def test_a_large_move_with_a_corporate_action_passes(judge, action):
    moved = {date: (400.0, 410.0, 395.0, 402.0, 50) for date in ("2024-02-14", "2024-02-15", "2024-02-16")}
    rejected, _ = judge([*({**GOOD, **moved}).items()], **{action: {"2024-02-14": 0.02}})
    assert rejected == {}


def test_prices_that_were_rounded_one_by_one_pass(judge):
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
def test_the_four_prices_may_disagree_by_a_thousandth(judge, bar, rejected):
    assert judge(changed(d14=bar))[0] == rejected


def test_of_two_bars_alone_that_contradict_each_other_neither_is_believed(judge):
    first, second = "2024-02-12", "2024-02-13"
    rejected, passed = judge([(first, GOOD[first]), (second, (210.0, 211.0, 209.0, 210.0, 1))])
    assert rejected == {first: "move_too_large", second: "move_too_large"}
    assert passed == []


@pytest.mark.parametrize("stored", [None, {"2024-02-08": 10.1, "2024-02-09": 10.0}])
def test_an_absurd_first_bar_is_held_against_the_last_stored_ones_or_those_that_follow(judge, stored):
    """And the bars behind it are not to blame."""
    rejected, passed = judge(changed(d12=(1e6, 1.1e6, 0.9e6, 1.02e6, 1000)), stored=stored)
    assert rejected == {"2024-02-12": "move_too_large"}
    assert passed == [date for date in GOOD if date != "2024-02-12"]


@pytest.mark.parametrize(("close", "is_rejected"), [(200.0, False), (200.1, True), (0.5, False), (0.499, True)])
def test_a_close_is_too_far_off_beyond_twenty_times_the_stored_one(judge, close, is_rejected):
    stored = {"2024-02-09": 10.0}
    bars = [("2024-02-12", (close, close, close, close, 1)), ("2024-02-13", (close, close, close, close, 1))]
    assert judge(bars, stored=stored)[0].get("2024-02-12") == ("move_too_large" if is_rejected else None)


@pytest.mark.parametrize(
    "stored",
    [
        {"2024-02-08": 10.4, "2024-02-09": 10.3},  # the week before
        {"2023-12-18": 10.4, "2023-12-19": 10.3},  # within sixty days of the newest session, on its edge
        {"2023-12-15": 10.4, "2023-12-18": 10.3},  # beyond it
        {"2023-12-15": 10.4, "2024-02-09": 10.3},  # one within, one beyond
        {"2021-06-01": 10.4, "2021-06-02": 10.3},  # years ago
    ],
)
def test_stored_closes_are_the_yardstick_however_old_they_are(judge, stored):
    first = {"2024-02-12": (900.0, 900.0, 900.0, 900.0, 1000), "2024-02-16": (10.7, 10.7, 10.1, 10.3, 10)}
    assert judge(first.items(), stored=stored) == ({"2024-02-12": "move_too_large"}, ["2024-02-16"])


def test_an_answer_is_not_whole_when_a_bar_is_stored_behind_it(tables, tmp_path):
    bars = {dt.date.fromisoformat(date): values for date, values in GOOD.items()}
    for symbol, day in (("AAA", max(bars)), ("BBB", session_after(max(bars)))):
        store_bars(tables, symbol, {day: 10.0})
    facts = judged(tables, tmp_path, [answer("AAA", bars), answer("BBB", bars)])
    assert facts.execute("SELECT symbol, is_whole FROM facts ORDER BY symbol") == [("AAA", True), ("BBB", False)]


@pytest.mark.parametrize("day", ["2024-02-09", "2023-12-18", "2023-12-15", "2021-06-01"])
def test_an_answer_is_whole_unless_a_bar_is_stored_before_it_however_old(tables, tmp_path, day):
    store_bars(tables, "AAA", {dt.date.fromisoformat(day): 10.0})
    bars = {dt.date.fromisoformat(date): values for date, values in GOOD.items()}
    since = dt.date.fromisoformat(day)
    said = [answer("AAA", bars), answer("BBB", bars)]
    facts = judged(tables, tmp_path, said).execute("SELECT symbol, is_whole FROM facts ORDER BY symbol")
    assert facts == [("AAA", False), ("BBB", True)]
    again = judged(tables, tmp_path / "again", [answer("AAA", bars, first=since)])
    assert again.execute("SELECT is_whole, stored, kept FROM facts") == [(True, 1, 0)]


@pytest.mark.parametrize(
    ("rule", "ratio"),
    [("split_absurd", 0.0), ("split_absurd", -2.0), ("split_absurd", INFINITE), ("split_absurd", NAN),
     ("split_absurd", 10_001.0), ("split_absurd", 1 / 10_001), (None, 10_000.0), (None, 1 / 10_000)],
)  # fmt: skip
def test_a_split_that_cannot_be_is_refused_by_name(judge, rule, ratio):
    assert judge(changed(), splits={"2024-02-14": ratio})[0].get("2024-02-14") == rule


@pytest.mark.parametrize(
    ("rule", "amount"),
    [("dividend_absurd", 0.0), ("dividend_absurd", -0.1), ("dividend_absurd", INFINITE), ("dividend_absurd", NAN),
     ("dividend_absurd", 1e7), (None, 9.9e6), (None, 0.001)],
)  # fmt: skip
def test_a_dividend_that_cannot_be_is_refused_by_name(judge, rule, amount):
    assert judge(changed(), dividends={"2024-02-14": amount})[0].get("2024-02-14") == rule


def test_no_volume_is_a_fact(judge):
    assert judge(changed(d14=(10.0, 10.0, 10.0, 10.0, 0)))[0] == {}


def test_every_rule_is_tested_here():
    tested = {
        "value_missing",
        "price_not_positive",
        "price_absurd",
        "volume_negative",
        "volume_absurd",
        "split_absurd",
        "dividend_absurd",
        "not_a_session",
        "session_twice",
        "high_too_low",
        "low_too_high",
        "move_too_large",
    }
    assert tested == set(RULES)


@pytest.fixture
def session(tables, tmp_path, settings):
    """The rules of 40 symbols' bars of one session, `repeated` of which are the close before without volume."""

    def rules(repeated, bar=(10.0, 10.0, 10.0, 10.0, 0), count=40, stored=0):
        days = dt.date(2024, 2, 15), dt.date(2024, 2, 16)
        for number in range(stored):
            store_bars(tables, f"X{number}", {days[1]: 5.0})
        answers = [
            answer(f"S{number}", {days[0]: 10.0, days[1]: bar if number < repeated else (10.0, 10.3, 9.9, 10.2, 900)})
            for number in range(count)
        ]
        rows = judged(tables, tmp_path, answers).execute(
            "SELECT symbol, date, rule FROM judged_bars WHERE rule IS NOT NULL"
        )
        assert {date for _, date, _ in rows} <= {days[1]}
        assert {rule for _, _, rule in rows} <= {"session_repeated"}
        assert {symbol for symbol, _, _ in rows} <= {f"S{number}" for number in range(repeated)}
        return len(rows)

    return rules


@pytest.mark.parametrize(("repeated", "refused"), [(0, 0), (10, 0), (11, 11), (40, 40)])
@pytest.mark.parametrize(
    "bar", [(10.0, 10.0, 10.0, 10.0, 0), (10.0, 10.0, 10.0, 10.0, 500), (10.0, 10.2, 9.9, 10.1, 0)]
)
def test_a_session_of_repeated_closes_or_empty_volumes_is_refused_above_a_quarter(session, bar, repeated, refused):
    assert session(repeated, bar) == refused


@pytest.mark.parametrize(("count", "refused"), [(5, 0), (6, 6)])
def test_five_repeated_bars_are_ordinary_in_the_smallest_universe(session, count, refused):
    assert session(count, count=count) == refused


@pytest.mark.parametrize(("stored", "refused"), [(3, 11), (4, 0)])
def test_symbols_that_are_asked_again_are_a_share_of_all_that_have_the_session(session, stored, refused):
    assert session(11, count=40, stored=stored) == refused
