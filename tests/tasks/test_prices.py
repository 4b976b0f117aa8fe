"""When a session's prices are complete."""

import datetime as dt
from collections import Counter

import pytest

from pipeline.calendar import session_before
from pipeline.database.connection import reading, writing
from pipeline.market import verdicts
from pipeline.tasks.prices import CollectPrices, ask_again, asked_too_early
from tests.support.fake_market import Fault
from tests.support.judging import EVENING, answer, judged, list_symbol
from tests.support.runs import results, run_here
from tests.support.small_market import SESSIONS, SPLIT, SPLIT_DAY, SPLIT_RATIO

BEFORE, DAY, AFTER = dt.date(2024, 2, 14), dt.date(2024, 2, 15), dt.date(2024, 2, 16)


@pytest.fixture
def forgetful(here, settings, monkeypatch):
    """`forgetful(day, 20)` collects a day from a source that has forgotten the first 20 numbered symbols."""
    settings("scheduler", retry_delay=0)
    original, forgotten = here.knows, set()

    def collect(day, count):
        here.as_of = day
        forgotten.clear()
        forgotten.update(f"S{number:02d}" for number in range(1, count + 1))
        return run_here(CollectPrices(date=day))

    monkeypatch.setattr(here, "knows", lambda symbol: original(symbol) and symbol not in forgotten)
    return collect


def states(data_dir, day):
    return Counter(state for _, date, state in results(data_dir)["price_coverage"] if date == day)


def test_symbols_that_the_source_has_never_known_are_not_missed(forgetful, data_dir):
    assert forgetful(BEFORE, 5)
    assert forgetful(DAY, 5)
    assert states(data_dir, DAY)["unknown"] == 6


def test_symbols_that_the_source_knew_the_session_before_are_missed(forgetful, data_dir):
    """A source that answers "no such symbol" for a third of the market is out of order, not to be believed."""
    assert forgetful(BEFORE, 0)
    assert not forgetful(DAY, 20)
    assert not forgetful(AFTER, 20)  # nor the day after
    assert forgetful(AFTER, 0)
    assert states(data_dir, AFTER)["unknown"] == 1


def test_a_company_that_the_source_drops_for_good_is_missed_once(forgetful, data_dir):
    assert forgetful(BEFORE, 0)
    for day in (DAY, AFTER):
        assert forgetful(day, 2)
        assert states(data_dir, day)["unknown"] == 3


def test_the_limit_is_that_of_the_configuration(here, data_dir, settings):
    here.as_of = DAY
    for symbol in ("S01", "S02", "S03"):
        here.faults[symbol] = Fault("500")
    settings("scheduler", retry_delay=0)
    settings("quality", min_coverage=0.95)
    assert not run_here(CollectPrices(date=DAY))
    settings("quality", min_coverage=0.9)
    assert run_here(CollectPrices(date=DAY))
    assert states(data_dir, DAY)["failed"] == 3


def test_a_coverage_that_just_reaches_the_limit_is_enough(here, data_dir, settings):
    here.as_of = DAY
    for symbol in ("S01", "S02", "S03"):
        here.faults[symbol] = Fault("500")
    settings("quality", min_coverage=1.0)
    assert not run_here(CollectPrices(date=DAY))
    counts = states(data_dir, DAY)
    coverage = (counts["stored"] + counts["not_traded"]) / (counts.total() - counts["unknown"])
    settings("quality", min_coverage=coverage + 1e-9)
    assert not run_here(CollectPrices(date=DAY))
    settings("quality", min_coverage=repr(coverage))
    assert run_here(CollectPrices(date=DAY))


@pytest.mark.parametrize(("early", "again"), [(1, ["S0"]), (2, ["S0", "S1"]), (3, [])])
def test_symbols_whose_session_is_listed_and_not_there_yet_are_asked_again_at_once(tables, tmp_path, early, again):
    """Of four: when more than half lack it, the source does not have the session."""
    answers = []
    for number in range(4):
        list_symbol(tables, f"S{number}", DAY, 10.0)
        days = [BEFORE] if number < early else [BEFORE, DAY]
        answers.append(answer(f"S{number}", dict.fromkeys(days, 10.0), last=DAY))
    found = asked_too_early(judged(tables, tmp_path, answers), [each.request for each in answers])
    assert [request.symbol for request in found] == again
    assert {request.not_before for request in found} <= {EVENING + dt.timedelta(microseconds=1)}


@pytest.fixture
def judgements(monkeypatch):
    """A list that gets an entry for each time that answers are judged."""
    made, judge = [], verdicts.judge
    monkeypatch.setattr(verdicts, "judge", lambda evidence: (made.append(evidence), judge(evidence)))
    return made


def test_answers_that_make_nothing_further_necessary_are_judged_once(here, data_dir, judgements):
    here.as_of = DAY
    assert run_here(CollectPrices(date=DAY))
    assert len(judgements) == 1


def test_answers_are_judged_anew_when_they_made_further_ones_necessary(here, data_dir, judgements):
    for day in (session_before(SPLIT_DAY, 2), session_before(SPLIT_DAY)):  # the second asks for whole histories again
        here.as_of = day
        assert run_here(CollectPrices(date=day))
    here.as_of = SPLIT_DAY
    judgements.clear()
    here.requests.clear()
    assert run_here(CollectPrices(date=SPLIT_DAY))
    assert len(judgements) == 2
    assert [symbol for symbol, times in here.requests.items() if times > 1] == [SPLIT]  # for its whole history


@pytest.fixture
def young(here, monkeypatch):
    """`young(20)` has the company that splits be listed for twenty sessions before its split; the last two of them."""

    def listed(sessions):
        days, first = here.days, SESSIONS[SESSIONS.index(SPLIT_DAY) - sessions]
        monkeypatch.setattr(
            here, "days", lambda symbol: [day for day in days(symbol) if symbol != SPLIT or day >= first]
        )
        return SESSIONS[SESSIONS.index(SPLIT_DAY) - 2 : SESSIONS.index(SPLIT_DAY)]

    return listed


def bases(market):
    """Of the company that splits: the ratios of its stored closes to those that the source has now."""
    with reading() as connection:
        rows = connection.execute("SELECT date, close FROM stock_data WHERE symbol = ?", [SPLIT]).fetchall()
    return {round(close / market.bar(SPLIT, day)[3], 6) for day, close in rows}


def assert_on_one_basis(market):
    """The one of before as long as no answer tells of the split; then all of it on the new one."""
    assert bases(market) == {SPLIT_RATIO}
    assert run_here(CollectPrices(date=SPLIT_DAY))
    assert bases(market) == {1}


@pytest.mark.parametrize("sessions", [20, 3])
def test_an_earlier_session_leaves_a_young_history_on_one_basis(here, young, data_dir, sessions):
    """Its first answer began late, and is asked for once more: up to the newest bar that is stored."""
    before, evening = young(sessions)
    here.as_of = evening
    assert run_here(CollectPrices(date=evening))
    here.as_of = SPLIT_DAY
    assert run_here(CollectPrices(date=before))
    assert_on_one_basis(here)


def test_a_session_that_is_collected_anew_leaves_a_young_history_on_one_basis(here, young, data_dir):
    """All that is stored before and of that session is in the answer, and a bar behind it is not."""
    before, evening = young(3)
    here.as_of = evening
    assert run_here(CollectPrices(date=before), CollectPrices(date=evening))
    here.as_of = SPLIT_DAY
    with writing() as connection:
        CollectPrices.forget(connection, [before])
        connection.execute("DELETE FROM table_updates WHERE update_id = ?", [f"CollectPrices:{before}"])
        ask_again(connection, before, "an operator wants it")
    assert run_here(CollectPrices(date=before))
    assert_on_one_basis(here)
