"""The evaluation of rules against a plain calculation, and what it must not know."""

from __future__ import annotations

import datetime as dt
import math
import pathlib
import statistics

import duckdb
import numpy as np
import pytest

from pipeline.database.connection import reading, writing
from pipeline.errors import EvaluationError
from pipeline.report.evaluation_page import render_evaluation
from pipeline.watchlist import evaluation
from pipeline.watchlist.evaluation import Evaluation, Outcome, blocks, evaluate
from pipeline.watchlist.scans import CheckedScan, Scan, check
from tests.support.stored_market import GONE, LAST, SESSIONS, bars, fill

DONE = SESSIONS[-50:]
CLOSES = {(symbol, day): close for symbol, day, _, _, _, close, _ in bars()}


@pytest.fixture
def stored(data_dir: pathlib.Path) -> pathlib.Path:
    with writing() as connection:
        fill(connection, DONE)
    return data_dir


def rule(condition: str, limit: int = 1000, name: str = "own") -> CheckedScan:
    return check((Scan(name, "a rule", 1, condition, "symbol", limit),))[0]


def judge(*declared: CheckedScan, first: dt.date = DONE[0], last: dt.date = LAST, strict: bool = False) -> Evaluation:
    with reading() as connection:
        return evaluate(connection, first, last, declared, strict)


def forward(symbol: str, day: dt.date, horizon: int) -> float | None:
    """The return by hand: to the last close within the horizon; None when it has not passed."""
    end = SESSIONS.index(day) + horizon
    if end >= len(SESSIONS):
        return None
    last = next(CLOSES[symbol, late] for late in reversed(SESSIONS[: end + 1]) if (symbol, late) in CLOSES)
    return last / CLOSES[symbol, day] - 1


def by_hand(symbols: list[str], horizon: int) -> list[tuple[float, bool]]:
    """Excess of each hit of a rule that finds these symbols on each session, and whether it beat the median."""
    found = []
    for day in DONE:
        universe = [forward(symbol, listed, horizon) for symbol, listed in CLOSES if listed == day]
        returns = [value for value in universe if value is not None]
        for symbol in symbols:
            own = forward(symbol, day, horizon) if (symbol, day) in CLOSES else None
            if own is not None:
                low, high = np.quantile(returns, [0.01, 0.99])
                found.append(
                    (
                        float(np.clip(own, low, high) - np.clip(returns, low, high).mean()),
                        own > statistics.median(returns),
                    )
                )
    return found


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_excess_is_that_of_a_plain_calculation(stored: pathlib.Path, horizon: int) -> None:
    outcome = next(each for each in judge(rule("symbol IN ('K03', 'K07', 'K11')")).outcomes if each.horizon == horizon)
    expected = by_hand(["K03", GONE, "K11"], horizon)
    assert outcome.mature == len(expected)
    assert outcome.excess and math.isclose(
        outcome.excess.mean, statistics.fmean(excess for excess, _ in expected), rel_tol=1e-9
    )
    assert outcome.hit_rate and math.isclose(
        outcome.hit_rate.mean, sum(better for _, better in expected) / len(expected)
    )


def test_sessions_judged_in_parts_are_those_judged_at_once(
    stored: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = rule("rsi_14 < 45 AND close < prev_close", limit=7), rule(f"symbol IN ('K03', '{GONE}')", name="both")
    whole = judge(*declared)
    monkeypatch.setattr(evaluation, "AT_ONCE", 7)
    in_parts = judge(*declared)
    assert in_parts.by_session == whole.by_session and len(whole.by_session) > 100
    assert in_parts == whole


def test_symbol_that_left_counts_with_its_last_price(stored: pathlib.Path) -> None:
    outcomes = judge(rule(f"symbol = '{GONE}'")).outcomes
    assert [(each.hits, each.mature, each.early) for each in outcomes] == [(39, 39, 1), (39, 39, 5), (39, 30, 11)]


def test_rule_sees_nothing_of_later_sessions(stored: pathlib.Path) -> None:
    """Hits of a session are the same when everything after it is missing."""
    cut = DONE[30]
    plain = rule("rsi_14 < 45 AND close < prev_close AND volume_ratio > 0.8", limit=7)
    with_future = hits_of(judge(plain, last=cut))
    with writing() as connection:
        for table in ("stock_data", "technical_indicators", "price_coverage", "session_universe", "symbol_snapshots"):
            connection.execute(f"DELETE FROM {table} WHERE date > ?", [cut])
    assert hits_of(judge(plain, last=LAST)) == {day: count for day, count in with_future.items() if day < cut}


def hits_of(found: Evaluation) -> dict[dt.date, int]:
    return {row["date"]: row["hits"] for row in found.by_session if row["horizon"] == 1 and row["date"] < DONE[30]}


def put_right(day: dt.date, moment: str, factor: float = 1.0, **before: float) -> None:
    """Let K03 have had other values that day until the moment; `factor`: by a split, which the versions are not on."""
    with writing() as connection:
        connection.execute(
            f"""
            INSERT INTO bar_versions BY NAME
            SELECT * EXCLUDE (source) REPLACE ({", ".join(f"{value} AS {name}" for name, value in before.items())},
                                               fetched_at - INTERVAL 9 YEAR AS stored_at),
                   ?::TIMESTAMPTZ AS replaced_at, 'corrected' AS reason
            FROM stock_data WHERE symbol = 'K03' AND date = ?
            """,
            [moment, day],
        )
        if factor != 1:
            connection.execute(
                "INSERT INTO basis_changes (symbol, changed_at, factor, evidence, bars) "
                "VALUES ('K03', ?, ?, 'split', 1)",
                [moment, factor],
            )


@pytest.mark.parametrize(("moment", "hits"), [("09:30", 1), ("09:30:00.000001", 0)])
def test_rule_sees_no_volume_that_came_after_the_next_open(stored: pathlib.Path, moment: str, hits: int) -> None:
    day, after = DONE[20], DONE[21]
    loud = rule("symbol = 'K03' AND volume > 1000")
    put_right(day, f"{after} {moment} America/New_York", volume=999)
    found = judge(loud, first=day, last=day)
    assert (sum(each.hits for each in found.outcomes if each.horizon == 1), found.corrected) == (hits, 0)


@pytest.mark.parametrize(("share", "left"), [(1.0019, 0), (1.0021, 1)])
def test_bar_whose_close_was_put_right_after_the_open_is_left_out(
    stored: pathlib.Path, share: float, left: int
) -> None:
    day = DONE[20]
    put_right(day, "2025-01-02 00:00Z", close=CLOSES["K03", day] * share)
    found = judge(rule("symbol = 'K03'"), first=day, last=day)
    assert (found.outcomes[0].hits, found.corrected) == (1 - left, left)


def test_split_that_came_later_is_no_correction(stored: pathlib.Path) -> None:
    """The history was restated to a quarter of the prices, and four times the volume."""
    day = DONE[20]
    plain = judge(rule("symbol = 'K03'"), first=day, last=day)
    put_right(day, "2025-01-02 00:00Z", 0.25, close=CLOSES["K03", day] * 4)
    found = judge(rule("symbol = 'K03'"), first=day, last=day)
    assert found.corrected == 0
    assert found.outcomes[0].median_return == pytest.approx(plain.outcomes[0].median_return)


def test_rule_that_finds_all_has_no_excess_and_one_that_knows_tomorrow_has(stored: pathlib.Path) -> None:
    every = judge(rule("close > 0")).outcomes[0]
    assert every.excess and every.hit_rate
    assert abs(every.excess.mean) < 1e-12
    assert not every.excess.is_discovery
    assert abs(every.hit_rate.mean - 0.5) < 0.02, "half of the universe lies above its median"
    with writing() as connection:
        connection.execute(
            "UPDATE technical_indicators t SET rsi_14 = CASE WHEN n.close > s.close * 1.01 THEN 0 ELSE 100 END "
            "FROM stock_data s ASOF JOIN stock_data n ON n.symbol = s.symbol AND n.date > s.date "
            "WHERE s.symbol = t.symbol AND s.date = t.date"
        )
    sure = judge(rule("rsi_14 = 0")).outcomes[0]
    assert sure.excess and sure.excess.mean > 0.01 and sure.excess.is_discovery
    assert sure.hit_rate and sure.hit_rate.mean > 0.9 and sure.hit_rate.is_discovery


def test_listing_of_a_later_day_is_counted_and_can_be_left_out(stored: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute("UPDATE session_universe SET snapshot_date = ? WHERE date < ?", [LAST, DONE[10]])
    assert (judge(rule("true")).sessions, judge(rule("true")).later_listings) == (50, 10)
    strict = judge(rule("true"), strict=True)
    assert (strict.first, strict.sessions, strict.later_listings, strict.missing) == (DONE[10], 40, 0, 10)


def test_range_that_was_not_run_is_an_error(stored: pathlib.Path) -> None:
    with pytest.raises(EvaluationError, match=f"stored are {DONE[0]} to {LAST}.*pipeline backfill"):
        judge(rule("true"), first=SESSIONS[0], last=SESSIONS[5])
    with writing() as connection:
        connection.execute("UPDATE session_universe SET snapshot_date = DATE '2030-01-01'")
    with pytest.raises(EvaluationError, match="^no session lies between 2024-02-17 and 2024-02-19$"):
        judge(rule("true"), first=dt.date(2024, 2, 17), last=dt.date(2024, 2, 19))
    with pytest.raises(EvaluationError, match="without --strict"):
        judge(rule("true"), strict=True)


def test_rule_without_a_hit_has_no_estimate(stored: pathlib.Path) -> None:
    assert {(each.hits, each.mature, each.excess) for each in judge(rule("close < 0")).outcomes} == {(0, 0, None)}


def test_blocks_are_whole_and_a_rest_belongs_to_the_last_one() -> None:
    """32 sessions at a horizon of 20: twelve have passed, which is no whole block, let alone two."""
    days = SESSIONS[-32:]
    assert {block for _, block, _ in blocks(days, 20, days[-1])} == {0}
    placed = blocks(SESSIONS[-108:], 20, LAST)
    assert [sum(block == number for _, block, _ in placed) for number in range(4)] == [20, 20, 20, 28]
    assert all(SESSIONS.index(end) - SESSIONS.index(day) == 20 for day, _, end in placed)


def test_an_interval_needs_five_whole_blocks(stored: pathlib.Path) -> None:
    """50 sessions: 49 blocks of one, 9 of five (45 have passed), 1 of twenty (30 have passed)."""
    rule_of_one = judge(rule("symbol = 'K03'")).outcomes
    assert [each.excess is not None and each.excess.low is not None for each in rule_of_one] == [True, True, False]
    fewer = judge(rule("symbol = 'K03'"), last=DONE[28]).outcomes[1]
    assert fewer.excess
    assert fewer.excess.low is not None, "the bars behind the range count: 29 sessions have five blocks"
    few = judge(rule("symbol = 'K03'"), last=DONE[23]).outcomes[1]
    assert few.excess
    assert few.excess.low is None
    assert not few.excess.is_discovery


def test_page_shows_every_rule_and_keeps_text(stored: pathlib.Path) -> None:
    declared = [rule("close > 0 AND name <> '<b>'", name="first"), rule("close < 0", name="second")]
    html = render_evaluation(judge(*declared), declared, simulated=True)
    assert html.count("<svg role=") == 2 and "Mean excess of the hits of first" in html
    assert "&lt;b&gt;" in html and "<b>" not in html and "Simulated market" in html
    assert "http" not in html.replace("http-equiv", "")


def test_outcome_is_computed_by_duckdb_alone(stored: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network and no Spark: a connection, and nothing else, is enough."""
    with duckdb.connect(str(stored / "stock_data.duckdb"), read_only=True) as connection:
        found = evaluate(connection, DONE[0], LAST, [rule("true")])
    assert isinstance(found.outcomes[0], Outcome) and found.outcomes[0].hits == 50 * 40 - 11
