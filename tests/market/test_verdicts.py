"""Each verdict, at the edge of its rule; and the table of them that people read."""

from __future__ import annotations

import datetime as dt
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import pytest

from pipeline import calendar
from pipeline.config import ROOT
from pipeline.market.load import store_answers
from pipeline.market.verdicts import BELIEVED, RULES
from tests.support.judging import EVENING, answer, judged, list_symbol, store_bars, verdict

LAST = dt.date(2024, 2, 16)
DAYS = calendar.sessions_between(calendar.session_before(LAST, 199), LAST)  # 200 sessions
STORED = {day: 100.0 + number % 7 for number, day in enumerate(DAYS[:-1])}
NEW = {**STORED, LAST: 103.0}

Say = Callable[..., tuple[str, str, str | None]]


@pytest.fixture
def say(tables: duckdb.DuckDBPyConnection, tmp_path: pathlib.Path) -> Say:
    """The rule, the verdict and the reason for an answer about AAA, of which STORED is stored; and carry it out."""
    store_bars(tables, "AAA", STORED, EVENING - dt.timedelta(days=1))

    def judge(bars: Mapping[dt.date, float], **more: Any) -> tuple[str, str, str | None]:
        evidence = judged(tables, tmp_path, [answer("AAA", bars, **{"last": LAST, **more})])
        found = verdict(evidence)
        store_answers(evidence)
        return found

    return judge


def closes(tables: duckdb.DuckDBPyConnection) -> dict[dt.date, float]:
    return dict(tables.execute("SELECT date, close FROM stock_data WHERE symbol = 'AAA'").fetchall())


def week(factor: float = 1.0, newest: float = 103.0) -> dict[dt.date, float]:
    """The last five sessions, the stored ones on another basis."""
    return {**{day: STORED[day] * factor for day in DAYS[-5:-1]}, LAST: newest}


def test_nothing_speaks_against_a_plain_answer(tables: duckdb.DuckDBPyConnection, say: Say) -> None:
    assert say(week()) == ("plain", "take over", None)
    assert closes(tables) == NEW


def test_no_answer_and_no_such_symbol_store_nothing(tables: duckdb.DuckDBPyConnection, say: Say) -> None:
    assert say({}, first=DAYS[-5], status="failed", reason="HTTP 500") == ("no_answer", "refuse", "HTTP 500")
    later = EVENING + dt.timedelta(hours=1)
    assert say({}, first=DAYS[-5], status="unknown", reason="gone", at=later) == ("unknown", "refuse", "gone")
    assert closes(tables) == STORED


@pytest.mark.parametrize(
    ("lost", "rule"), [(3, "plain"), (4, "history_lost"), (150, "history_lost"), (199, "history_lost")]
)
def test_a_whole_history_may_lack_a_fiftieth_of_the_sessions(
    tables: duckdb.DuckDBPyConnection, say: Say, lost: int, rule: str
) -> None:
    found = say({day: close for day, close in NEW.items() if day not in DAYS[-1 - lost : -1]}, first=DAYS[0])
    assert found[0] == rule
    assert set(STORED) <= set(closes(tables)), "a revision deletes nothing"
    assert (LAST in closes(tables)) == (rule == "plain")


def test_a_restated_whole_history_replaces_the_stored_one(tables: duckdb.DuckDBPyConnection, say: Say) -> None:
    halved = {day: close / 2 for day, close in NEW.items() if day != DAYS[50]}
    assert say(halved) == ("restated", "replace", "closes restated by 0.5")
    assert closes(tables) == halved
    (row,) = tables.execute("SELECT factor, evidence, bars FROM basis_changes").fetchall()
    assert row == (0.5, "closes restated by 0.5", 198)
    assert tables.execute("SELECT count(*) FROM bar_versions").fetchone() == (199,)


@pytest.mark.parametrize(("differing", "verdict"), [(5, "take over"), (6, "replace")])
def test_more_than_five_bars_that_differ_are_another_basis(say: Say, differing: int, verdict: str) -> None:
    """Of a whole history whose oldest bar is the same: the source restated what is behind it."""
    changed = {day: close * (0.9 if day in DAYS[-1 - differing : -1] else 1.0) for day, close in NEW.items()}
    assert say(changed)[1] == verdict


def test_an_answer_without_any_stored_session_asks_for_the_whole_history(say: Say) -> None:
    assert say({LAST: 103.0}, first=DAYS[-5]) == (
        "overlap_lost",
        "ask whole",
        "the answer has none of the 4 stored sessions",
    )


def test_a_history_by_no_common_factor_is_believed_when_two_evenings_agree(
    tables: duckdb.DuckDBPyConnection, say: Say
) -> None:
    """Another company's chart, or a source that has put its whole history right."""
    other = {day: 80.0 + number * 7 % 31 for number, day in enumerate(DAYS)}
    rule, what, reason = say(other)
    assert (rule, what) == ("no_common_factor", "keep")
    assert reason == "192 of 199 stored closes differ, by no common factor"
    assert closes(tables) == STORED
    tomorrow = dt.date(2024, 2, 20)
    same = {**other, tomorrow: 90.0}
    assert say(same, last=tomorrow, at=EVENING + dt.timedelta(days=1))[1] == "replace"
    assert closes(tables) == same


def test_the_same_evening_asked_twice_is_one_witness(tables: duckdb.DuckDBPyConnection, say: Say) -> None:
    other = {day: 80.0 + number * 7 % 31 for number, day in enumerate(DAYS)}
    for minute in (1, 2, 3):
        assert say(other, at=EVENING + dt.timedelta(minutes=minute))[1] == "keep"
    assert closes(tables) == STORED


@pytest.mark.parametrize(("off", "rule"), [(1.19, "restated"), (1.21, "disagrees_with_all")])
def test_another_basis_whose_newest_close_is_not_the_listings_is_kept_out(
    tables: duckdb.DuckDBPyConnection, say: Say, off: float, rule: str
) -> None:
    list_symbol(tables, "AAA", LAST, 51.5 / off, 51.5 / off - 51.0 / off)
    assert say({day: close / 2 for day, close in NEW.items()})[0] == rule


@pytest.mark.parametrize(("off", "rule"), [(1.19, "plain"), (1.21, "disagrees_with_all")])
def test_a_first_history_is_held_against_the_listing(
    tables: duckdb.DuckDBPyConnection, tmp_path: pathlib.Path, off: float, rule: str
) -> None:
    list_symbol(tables, "BBB", LAST, 103.0 / off, 0.0)
    evidence = judged(tables, tmp_path, [answer("BBB", {day: 103.0 for day in DAYS})])
    assert verdict(evidence, "BBB")[0] == rule


def test_an_older_answer_adds_what_is_not_stored_and_changes_nothing(
    tables: duckdb.DuckDBPyConnection, say: Say
) -> None:
    tables.execute("UPDATE price_ranges SET answered_at = ?", [EVENING + dt.timedelta(seconds=1)])
    corrected = {**week(), DAYS[-2]: STORED[DAYS[-2]] * 0.97}
    assert say(corrected)[:2] == ("older", "add")
    assert closes(tables) == NEW


def test_an_older_answer_tells_of_the_actions_of_the_bars_that_it_adds(
    tables: duckdb.DuckDBPyConnection, say: Say
) -> None:
    """Of the day before a newer answer has told, and it knows of no dividend any more."""
    tables.execute("UPDATE price_ranges SET answered_at = ?", [EVENING + dt.timedelta(seconds=1)])
    for _ in range(2):
        assert say(week(), dividends={DAYS[-2]: 0.7, LAST: 0.5}, splits={LAST: 1.05})[:2] == ("older", "add")
        found = tables.execute("SELECT date, kind, value FROM corporate_actions ORDER BY kind").fetchall()
        assert found == [(LAST, "dividend", 0.5), (LAST, "split", 1.05)]


def test_an_older_answer_on_another_basis_adds_nothing(tables: duckdb.DuckDBPyConnection, say: Say) -> None:
    tables.execute("UPDATE price_ranges SET answered_at = ?", [EVENING + dt.timedelta(seconds=1)])
    assert say(week(4.0, 412.0))[:2] == ("older_on_another_basis", "refuse")
    assert closes(tables) == STORED


def test_all_actions_of_the_answered_span_are_replaced(tables: duckdb.DuckDBPyConnection, say: Say) -> None:
    """A dividend that was moved stands on one day; what lies before the span stays."""
    tables.execute(
        "INSERT INTO corporate_actions (symbol, date, kind, value) VALUES ('AAA', ?, 'dividend', 0.5)", [DAYS[3]]
    )
    say(week(), dividends={DAYS[-3]: 1.0})
    say(week(), dividends={DAYS[-2]: 1.0}, at=EVENING + dt.timedelta(hours=1))
    found = tables.execute("SELECT date, value FROM corporate_actions ORDER BY date").fetchall()
    assert found == [(DAYS[3], 0.5), (DAYS[-2], 1.0)]


def test_every_rule_is_met_here_or_where_it_is_tested_alone() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "market").glob("test_*.py"))
    assert [rule.name for rule in RULES if f'"{rule.name}"' not in tests] == []
    assert {rule.verdict for rule in RULES} >= set(BELIEVED)


def test_the_page_has_the_table_of_verdicts() -> None:
    page = (ROOT / "docs" / "data-quality.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (take over|replace|add|ask whole|keep|refuse) \|", page, re.MULTILINE)
    assert rows == [(rule.name, rule.meaning, rule.verdict) for rule in RULES]
