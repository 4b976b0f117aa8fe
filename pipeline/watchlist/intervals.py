"""How sure a mean over hits is, when hits of one day move together and windows of several sessions overlap.

The hits are summed over blocks as long as the horizon, and the mean is a ratio of sums over blocks. Neighbouring blocks
still share windows: at most with the correlation `shared(horizon)`, by which the error is widened. There is no interval
below FEWEST blocks. Of many intervals at once some exclude chance by chance alone: `discoveries` is the correction of
Benjamini and Hochberg (J. R. Statist. Soc. B 57, 1995), which holds the expected share of false ones below a level.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

#: Blocks below which no interval is given, and the share of false discoveries that is borne.
FEWEST, LEVEL = 5, 0.05


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean, the 95 % interval around it, and the chance of a value as far from what chance gives.

    Interval and `p_value` are None where too few blocks tell of them; `is_discovery` is what is left of all those that
    were judged at once.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    is_discovery: bool = False


def mean(counts: Sequence[int], sums: Sequence[float], horizon: int = 1) -> Estimate | None:
    """The mean over the hits of independent blocks, against a chance of 0; None without a hit."""
    if sum(counts) == 0:
        return None
    value = sum(sums) / sum(counts)
    if len(counts) < FEWEST:
        return Estimate(value)
    return _estimate(value, value, _variance(counts, sums, value, horizon), 0.0, _freedom(counts))


def rate(counts: Sequence[int], better: Sequence[int], horizon: int = 1) -> Estimate | None:
    """The share of hits that did better, against a chance of 0.5; None without a hit.

    The interval is that of Agresti and Coull, widened where the blocks scatter more than single hits would; it lies
    within 0 and 1.
    """
    hits = sum(counts)
    if hits == 0:
        return None
    value = sum(better) / hits
    if len(counts) < FEWEST:
        return Estimate(value)
    drawn_in = (sum(better) + 2) / (hits + 4)
    variance = max(_variance(counts, better, value, horizon), drawn_in * (1 - drawn_in) / (hits + 4))
    found = _estimate(value, drawn_in, variance, 0.5, _freedom(counts))
    return dataclasses.replace(found, low=max(0.0, found.low or 0.0), high=min(1.0, found.high or 0.0))


def _estimate(value: float, centre: float, variance: float, chance: float, freedom: int) -> Estimate:
    error = math.sqrt(variance)
    width = quantile(freedom) * error
    p_value = two_sided(abs(centre - chance) / error, freedom) if error else float(centre == chance)
    return Estimate(value, centre - width, centre + width, p_value)


def _variance(counts: Sequence[int], sums: Sequence[float], value: float, horizon: int) -> float:
    """That of a ratio of sums over blocks of which neighbours are correlated."""
    number = len(counts)
    scatter = sum((part - value * count) ** 2 for count, part in zip(counts, sums, strict=True))
    widened = 1 + 2 * shared(horizon) * (number - 1) / number
    return scatter * number / (number - 1) * widened / sum(counts) ** 2


def _freedom(counts: Sequence[int]) -> int:
    """Degrees of freedom: one less than the blocks that count, which are fewer where one holds most of the hits."""
    return max(1, min(len(counts), round(sum(counts) ** 2 / sum(count**2 for count in counts))) - 1)


@functools.cache
def shared(horizon: int) -> float:
    """The correlation of two neighbouring blocks of `horizon` sessions, when each session starts a window as long."""
    between = sum(step * (horizon - step) for step in range(1, horizon))
    within = horizon**2 + 2 * sum(step**2 for step in range(1, horizon))
    return between / within


def two_sided(t: float, freedom: int) -> float:
    """The chance of a Student's t farther from 0 than `t`: finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, term, total = math.cos(angle), 1.0, 0.0
    for step in range(freedom // 2):
        total += term
        term *= cosine**2 * ((2 * step + 2) / (2 * step + 3) if freedom % 2 else (2 * step + 1) / (2 * step + 2))
    if freedom % 2:
        return max(0.0, 1 - 2 / math.pi * (angle + math.sin(angle) * cosine * total))
    return max(0.0, 1 - math.sin(angle) * total)


@functools.cache
def quantile(freedom: int) -> float:
    """The t that is exceeded, in either direction, in one of twenty cases: found by halving."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > LEVEL else (low, middle)
    return high


def discoveries(p_values: Sequence[float | None]) -> list[bool]:
    """Which of the tests made at once are discoveries, by Benjamini and Hochberg; never one without a p value."""
    known = sorted(value for value in p_values if value is not None)
    passed = [value for rank, value in enumerate(known, 1) if value <= LEVEL * rank / len(known)]
    limit = passed[-1] if passed else -1.0
    return [value is not None and value <= limit for value in p_values]
