"""When a stored history counts as restated by the source, and when a split is believed."""

import datetime as dt

import pytest

from pipeline.market.adjustment import whole_histories
from pipeline.sources.protocol import BarRequest
from tests.support.judging import answer, judged, list_symbol, store_bars, verdict

DAYS = [dt.date(2024, 2, day) for day in (12, 13, 14, 15, 16)]
CLOSES = [100.0, 102.0, 99.0, 101.0, 103.0]
BEFORE = dt.date(2024, 2, 9)
TAKEN = ("plain", "take over", None)


@pytest.fixture
def stored(tables):
    """AAA is stored up to the 15th and known since 2022."""
    store_bars(tables, "AAA", {BEFORE: 101.0, **dict(zip(DAYS[:-1], CLOSES, strict=False))})
    tables.execute("UPDATE price_ranges SET first_asked = '2022-04-01'")
    return tables


@pytest.fixture
def said(stored, tmp_path):
    """The rule, the verdict and the reason for what the source says now, for DAYS."""

    def judge(closes, splits=None, symbol="AAA"):
        said = answer(symbol, dict(zip(DAYS, closes, strict=True)), splits=splits)
        return verdict(judged(stored, tmp_path, [said]), symbol)

    return judge


def test_the_same_closes_are_no_restatement(said):
    assert said(CLOSES) == TAKEN


def test_a_split_is_noticed_by_its_event_and_the_closes_before_it(said):
    halved = [close / 2 for close in CLOSES]
    assert said(halved, {DAYS[-1]: 2.0}) == ("basis_moved", "ask whole", "split 2 for 1 on 2024-02-16")


def test_a_split_event_without_its_effect_waits(said):
    """The newest close is on the new basis and the ones before it are not: nothing of it is stored."""
    rule, what, reason = said([*CLOSES[:-1], CLOSES[-1] / 2], {DAYS[-1]: 2.0})
    assert (rule, what) == ("split_awaited", "keep")
    assert reason == "split 2 for 1 on 2024-02-16: the closes before it are not restated yet"


def test_a_split_event_is_believed_when_the_closes_on_both_sides_agree_with_it(said):
    assert said(CLOSES, {DAYS[-1]: 2.0}) == TAKEN


def test_the_listing_of_the_day_tells_of_a_split_without_an_event(stored, said):
    """Its net change implies a close before it of half what the source has."""
    list_symbol(stored, "AAA", DAYS[-1], CLOSES[-1] / 2, CLOSES[-1] / 2 - CLOSES[-2] / 2)
    rule, what, reason = said([*CLOSES[:-1], CLOSES[-1] / 2])
    assert (rule, what) == ("split_awaited", "keep")
    assert reason == "the listing of 2024-02-16 implies 50.5 as the close before it, and the source has 101"


@pytest.mark.parametrize(("factor", "is_awaited"), [(1.24, False), (1.26, True), (1 / 1.24, False), (1 / 1.26, True)])
def test_the_close_before_that_the_listing_implies_may_be_a_quarter_off(stored, said, factor, is_awaited):
    list_symbol(stored, "AAA", DAYS[-1], CLOSES[-1], CLOSES[-1] - CLOSES[-2] * factor)
    assert (said(CLOSES)[0] == "split_awaited") == is_awaited


@pytest.mark.parametrize("factor", [0.5, 3.0, 1 / 15, 1.02])
def test_a_common_factor_without_an_event_is_a_restatement(said, factor):
    assert said([close * factor for close in CLOSES]) == (
        "basis_moved",
        "ask whole",
        f"closes restated by {factor:.4g}",
    )


@pytest.mark.parametrize("newest", [CLOSES[3] * 1.3, CLOSES[3] * 0.6])
def test_a_restatement_counts_whatever_the_newer_bars_do(said, newest):
    """Yesterday's bar is corrected in the same answer."""
    rule, what, _ = said([*(close * 0.8 for close in CLOSES[:3]), newest, CLOSES[4]])
    assert (rule, what) == ("basis_moved", "ask whole")


def test_one_corrected_bar_is_no_restatement(said):
    assert said([*CLOSES[:2], CLOSES[2] * 0.9, *CLOSES[3:]]) == TAKEN


@pytest.mark.parametrize(("factor", "is_taken"), [(1.49, True), (1.51, False), (1 / 1.49, True), (1 / 1.51, False)])
def test_a_close_is_not_changed_by_half_without_another_witness(said, factor, is_taken):
    rule, what, _ = said([*CLOSES[:2], CLOSES[2] * factor, *CLOSES[3:]])
    assert (rule, what) == (("plain", "take over") if is_taken else ("large_revision", "keep"))


@pytest.mark.parametrize(("listed", "is_taken"), [(49.5, True), (99.0, False)])
def test_the_listing_of_its_session_bears_a_large_correction_out(stored, said, listed, is_taken):
    list_symbol(stored, "AAA", DAYS[2], listed, listed - CLOSES[1])
    assert (said([*CLOSES[:2], CLOSES[2] / 2, *CLOSES[3:]]) == TAKEN) == is_taken


@pytest.mark.parametrize(("oldest", "is_same"), [(100.099, True), (100.101, False), (99.901, True), (99.899, False)])
def test_rounding_is_no_restatement(said, oldest, is_same):
    """A thousandth of the close."""
    assert (said([oldest, *CLOSES[1:]]) == TAKEN) == is_same


@pytest.mark.parametrize(
    ("close", "oldest", "is_same"),
    [(3.0, 3.0059, True), (3.0, 3.0061, False), (0.2, 0.2039, True), (0.2, 0.2041, False), (0.2, 0.1959, False)],
)
def test_rounding_to_cents_is_much_of_a_low_price(tables, tmp_path, close, oldest, is_same):
    """Half a cent each way; below a dollar, where sources give four decimals, 2 % at most."""
    store_bars(tables, "AAA", {BEFORE: close, DAYS[0]: close})
    found = verdict(judged(tables, tmp_path, [answer("AAA", {DAYS[0]: oldest, DAYS[1]: close})]))
    assert (found == TAKEN) == is_same


@pytest.mark.parametrize(("ratio", "is_awaited"), [(1.2, False), (1.25, True)])
def test_the_closes_around_a_small_split_tell_nothing(said, ratio, is_awaited):
    """One below a day's move (e to the power of 0.2) is taken over at once."""
    rule, _, _ = said([*CLOSES[:-1], CLOSES[-2] / ratio], {DAYS[-1]: ratio})
    assert (rule == "split_awaited") == is_awaited


def test_the_first_answer_of_a_symbol_restates_nothing(said):
    assert said(CLOSES, {DAYS[-1]: 2.0}, symbol="NEW") == TAKEN


def test_the_first_answer_of_a_symbol_waits_for_its_split_too(said):
    rule, what, _ = said([*CLOSES[:-1], CLOSES[-1] / 2], {DAYS[-1]: 2.0}, symbol="NEW")
    assert (rule, what) == ("split_awaited", "keep")


def test_a_restated_history_is_asked_for_whole(stored):
    (request,) = whole_histories(stored, [BarRequest("AAA", DAYS[1], DAYS[-1])])
    assert request == BarRequest("AAA", dt.date(2022, 4, 1), DAYS[-1])


def test_a_restated_history_is_asked_for_up_to_its_last_session_also_for_a_day_before_it(stored):
    (request,) = whole_histories(stored, [BarRequest("AAA", DAYS[0], DAYS[1])])
    assert request == BarRequest("AAA", dt.date(2022, 4, 1), DAYS[3])
