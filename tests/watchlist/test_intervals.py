"""Intervals cover the truth as often as they say, and nothing is a discovery that chance explains."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from pipeline.watchlist.intervals import FEWEST, Estimate, discoveries, mean, quantile, rate, shared, two_sided

#: The 97.5 % quantiles of Student's t, from the tables.
TABLE = [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (200, 1.972)]


@pytest.mark.parametrize(("freedom", "t"), TABLE)
def test_the_quantile_of_t_is_that_of_the_tables(freedom: int, t: float) -> None:
    assert math.isclose(quantile(freedom), t, abs_tol=6e-4)
    assert math.isclose(two_sided(t, freedom), 0.05, abs_tol=1e-4)
    assert two_sided(0.0, freedom) == 1.0


def test_no_interval_below_five_blocks() -> None:
    assert mean([3] * 4, [0.1, 0.2, 0.3, 0.4]) == Estimate(pytest.approx(1 / 12))
    assert rate([3] * 4, [1, 2, 3, 0]) == Estimate(0.5)
    five = mean([3] * FEWEST, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert five
    assert five.low is not None
    assert mean([], []) is None
    assert rate([], []) is None


@pytest.mark.parametrize("better", [0, 1, 9, 10])
def test_a_rate_lies_within_nothing_and_all(better: int) -> None:
    found = rate([10] * 8, [better] * 8)
    assert found
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.low < found.high


def test_five_lucky_hits_are_no_discovery() -> None:
    """Five blocks of one hit each, all of them better: chance does that in one of sixteen cases."""
    found = rate([1] * 5, [1] * 5)
    assert found
    assert found.p_value is not None
    assert found.p_value > 0.05


def test_a_block_with_nearly_all_hits_counts_for_nearly_all() -> None:
    even, uneven = (
        mean([10] * 10, [0.1 + 0.01 * k for k in range(10)]),
        mean([91] + [1] * 9, [0.91] + [0.01 * k for k in range(9)]),
    )
    assert even
    assert uneven
    assert even.low is not None
    assert uneven.p_value is not None
    assert even.p_value is not None
    assert uneven.p_value > even.p_value


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_intervals_cover_the_truth_as_often_as_they_say(horizon: int) -> None:
    """Sessions with moves of their own, returns over windows that overlap, hits that move together."""
    draw, covered, tries = np.random.default_rng(horizon), 0, 400
    sessions = horizon * 12 + horizon
    for _ in range(tries):
        daily = draw.normal(0.001, 0.02, sessions)
        windows = np.convolve(daily, np.ones(horizon), "valid")[: horizon * 12]
        hits = draw.integers(1, 20, len(windows))
        block = np.arange(len(windows)) // horizon
        counts = [int(hits[block == number].sum()) for number in range(12)]
        sums = [float((hits * windows)[block == number].sum()) for number in range(12)]
        found = mean(counts, sums, horizon)
        assert found
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.001 * horizon <= found.high
    assert 0.91 <= covered / tries <= 0.985


def test_neighbouring_blocks_share_what_a_simulation_says() -> None:
    draw, horizon = np.random.default_rng(1), 20
    windows = np.convolve(draw.normal(size=400_000), np.ones(horizon), "valid")
    sums = windows[: len(windows) // horizon * horizon].reshape(-1, horizon).sum(axis=1)
    assert np.corrcoef(sums[1:], sums[:-1])[0, 1] == pytest.approx(shared(horizon), abs=0.02)
    assert shared(1) == 0


@pytest.mark.parametrize(
    ("p_values", "found"),
    [
        ([0.0499], [True]), ([0.0501], [False]), ([0.0249, 0.9], [True, False]), ([0.0251, 0.9], [False, False]),
        ([0.9, 0.0499, 0.032], [False, False, False]), ([0.0499, 0.0499], [True, True]),
        ([None, 0.0499], [False, True]),
    ],
)  # fmt: skip
def test_a_discovery_is_below_its_share_of_five_percent(p_values: list[float | None], found: list[bool]) -> None:
    """The k-th smallest of n is held against k n-ths of 0.05, and takes the smaller ones along."""
    assert discoveries(p_values) == found


def test_the_correction_is_that_of_benjamini_and_hochberg() -> None:
    """The fifteen p values of their paper, of which four are discoveries."""
    paper = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    mixed = [None, *random.Random(3).sample(paper, len(paper)), None]
    marked = [value for value, found in zip(mixed, discoveries(mixed), strict=True) if found]
    assert sorted(value for value in marked if value is not None) == paper[:4]
    assert discoveries([None, None]) == [False, False]
    assert discoveries([]) == []
