"""When a stored history counts as restated by the source."""

import datetime as dt

import pytest

from pipeline.database.connection import writing
from pipeline.market.adjustment import restated_symbols, whole_histories
from pipeline.market.load import _EMPTY_ANSWERS
from pipeline.sources.protocol import BarRequest

DAYS = [dt.date(2024, 2, day) for day in (12, 13, 14, 15, 16)]
CLOSES = [100.0, 102.0, 99.0, 101.0, 103.0]


@pytest.fixture
def connection(data_dir):
    """AAA is stored up to the 15th and known since 2022."""
    with writing() as opened:
        opened.execute(
            "INSERT INTO price_ranges (symbol, first_asked, last_asked) VALUES ('AAA', '2022-04-01', '2024-02-15')"
        )
        for day, close in zip(DAYS[:-1], CLOSES, strict=False):
            opened.execute("INSERT INTO stock_data VALUES ('AAA', ?, 1, 1, 1, ?, 1, DEFAULT, now())", [day, close])
        opened.execute(_EMPTY_ANSWERS)
        yield opened


def answer(connection, closes, splits=None, symbol="AAA"):
    """What the source says now, for DAYS."""
    connection.execute("CREATE OR REPLACE TEMP TABLE answered_bars AS FROM empty_answers")
    for day, close in zip(DAYS, closes, strict=True):
        connection.execute(
            "INSERT INTO answered_bars (symbol, date, close, split_ratio) VALUES (?, ?, ?, ?)",
            [symbol, day, close, (splits or {}).get(day)],
        )
    return restated_symbols(connection)


def test_the_same_closes_are_no_restatement(connection):
    assert answer(connection, CLOSES) == {}


def test_a_split_is_noticed_by_its_event(connection):
    halved = [close / 2 for close in CLOSES]
    assert answer(connection, halved, {DAYS[-1]: 2.0}) == {"AAA": "split 2 for 1 on 2024-02-16"}


def test_a_split_event_counts_before_the_source_has_restated_its_closes(connection):
    assert "AAA" in answer(connection, CLOSES, {DAYS[-1]: 2.0})


def test_a_split_that_is_known_is_not_noticed_again(connection):
    connection.execute("INSERT INTO corporate_actions VALUES ('AAA', '2024-02-14', 'split', 2.0, DEFAULT)")
    assert answer(connection, CLOSES, {DAYS[2]: 2.0}) == {}


@pytest.mark.parametrize("factor", [0.5, 3.0, 1 / 15, 1.02])
def test_a_common_factor_without_an_event_is_a_restatement(connection, factor):
    (evidence,) = answer(connection, [close * factor for close in CLOSES]).values()
    assert evidence == f"closes restated by {factor:.4g}"


def test_one_corrected_bar_is_no_restatement(connection):
    assert answer(connection, [*CLOSES[:2], CLOSES[2] * 0.5, *CLOSES[3:]]) == {}


def test_rounding_is_no_restatement(connection):
    assert answer(connection, [close * 1.004 for close in CLOSES]) == {}


def test_corrections_without_a_common_factor_are_none(connection):
    assert (
        answer(connection, [close * factor for close, factor in zip(CLOSES, (0.5, 0.7, 0.4, 0.6, 1), strict=True)])
        == {}
    )


@pytest.mark.parametrize(("spread", "is_common"), [(1.009, True), (1.011, False), (1.15, False)])
def test_a_factor_is_common_when_all_agree_to_a_hundredth(connection, spread, is_common):
    factors = [0.5, 0.5 * spread, 0.5, 0.5 * spread, 0.5]
    found = answer(connection, [close * factor for close, factor in zip(CLOSES, factors, strict=True)])
    assert bool(found) == is_common


@pytest.mark.parametrize(("first_asked", "is_restated"), [(DAYS[1], True), (DAYS[2], False), (DAYS[3], False)])
def test_a_split_restates_what_was_asked_for_before_it(connection, first_asked, is_restated):
    """On the first day that was ever asked for there is nothing before it."""
    connection.execute("UPDATE price_ranges SET first_asked = ?", [first_asked])
    assert bool(answer(connection, CLOSES, {DAYS[2]: 2.0})) == is_restated


def test_the_split_of_a_symbol_that_is_new_to_us_restates_nothing(connection):
    assert answer(connection, CLOSES, {DAYS[-1]: 2.0}, symbol="NEW") == {}


def test_a_restated_history_is_asked_for_whole(connection):
    (request,) = whole_histories(connection, [BarRequest("AAA", DAYS[1], DAYS[-1])])
    assert request == BarRequest("AAA", dt.date(2022, 4, 1), DAYS[-1])


def test_a_restated_history_is_asked_for_up_to_its_last_session_also_for_a_day_before_it(connection):
    (request,) = whole_histories(connection, [BarRequest("AAA", DAYS[0], DAYS[1])])
    assert request == BarRequest("AAA", dt.date(2022, 4, 1), DAYS[3])
