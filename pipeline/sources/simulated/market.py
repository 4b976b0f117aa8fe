"""Prices and volumes of the simulated market.

A calendar year is computed at once, for all seats, from the words of its own random streams; years meet because the
path of a seat is a random bridge between its level at the start of the year and that of the next one. So any session
costs one year, whatever was asked before, and the answer depends on nothing but the seed and the date.

The log price of a seat is its own path + beta x the market's + its sector's. In a quoted price the shares count of
the day is divided out, so that a split shows as it does in real quotes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Sequence

import numpy as np

from pipeline.sources.simulated.companies import (
    SECTORS,
    Booleans,
    Floats,
    Integers,
    Roster,
    normal,
    roster,
    uniform,
    words,
)

#: Which seats: a slice of them, or their numbers.
Seats = slice | list[int]

DAYS = 366
#: Days of a stretch in which a company falls, rises or does neither.
STRETCH = 21
MARKET_MOVE, SECTOR_MOVE = 0.008, 0.004
MARKET_LEVEL, SECTOR_LEVEL, SEAT_LEVEL = 0.12, 0.06, 0.30


@dataclasses.dataclass(frozen=True)
class Year:
    """All seats in one calendar year; arrays of (seats, days) or (seats,). Days count from January 1 as 0.

    Prices are quoted ones, in dollars and whole cents. `split_day` is DAYS where there is none, as are the entries of
    `dividend_days`; a company leaves its seat on `leaves` and the next one takes it on `enters`.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    trades: Booleans
    is_null: Booleans
    generation: Integers
    factor_before: Floats
    factor_after: Floats
    split_day: Integers
    dividend_days: Integers
    leaves: Integers
    enters: Integers


def stream(year: int, kind: int) -> int:
    return year * 4 + kind


def seat_years(people: Roster, year: int) -> tuple[Floats, Floats]:
    """The seats' levels at the start of the year, and the uniform numbers that shape the year."""
    drawn = words(people.seed, stream(year, 0), len(people), 32)
    return SEAT_LEVEL * normal(drawn[:, 0]), uniform(drawn[:, 1:])


def bridge(moves: Floats, start: Floats, end: Floats) -> Floats:
    """Paths with these moves that begin at `start` and are bent to arrive at `end`; shape (rows, days + 1)."""
    path = np.concatenate([np.zeros((len(moves), 1)), np.cumsum(moves, axis=1)], axis=1)
    share = np.arange(path.shape[1]) / (path.shape[1] - 1)
    return path + start[:, None] + share * (end - start - path[:, -1])[:, None]


def weekdays(year: int) -> Floats:
    """1 for Monday to Friday, 0 for the rest: prices rest on the weekend."""
    return ((dt.date(year, 1, 1).weekday() + np.arange(DAYS)) % 7 < 5).astype(float)


def common_paths(seed: int, year: int) -> Floats:
    """Log paths of the market (row 0) and of the sectors."""
    rows = 1 + len(SECTORS)
    scale = np.where(np.arange(rows) == 0, MARKET_LEVEL, SECTOR_LEVEL)
    moves = np.where(np.arange(rows) == 0, MARKET_MOVE, SECTOR_MOVE)[:, None] * weekdays(year)
    start, end = (scale * normal(words(seed, stream(y, 1), rows, 1))[:, 0] for y in (year, year + 1))
    return bridge(moves * normal(words(seed, stream(year, 2), rows, DAYS)), start, end)


@functools.lru_cache(maxsize=6)
def simulated_year(seed: int, seats: int, year: int) -> Year:
    people = roster(seed, seats)
    start, shape = seat_years(people, year)
    end, _ = seat_years(people, year + 1)
    drawn = words(seed, stream(year, 3), seats, 8 * DAYS).reshape(seats, 8, DAYS)
    drift, crowd = stretches(shape[:, 13:])
    spike, jump = spikes(uniform(drawn[:, 5]), uniform(drawn[:, 6]))
    volatility = people.volatility[:, None]
    moves = volatility * weekdays(year) * (normal(drawn[:, 0]) + drift + jump)
    common = common_paths(seed, year)
    path = bridge(moves, start, end) + people.beta[:, None] * common[0] + common[1 + people.sector]
    factors = split_factors(people, year, shape)
    quoted = quotes(path, volatility, normal(drawn[:, 1:4])) * people.price[:, None] / _by_day(*factors)
    shares = (people.shares * people.turnover)[:, None] * _by_day(*factors)
    busy = np.abs(moves) / volatility - 0.8
    tenancy = tenancies(people, year, shape)
    presence = uniform(drawn[:, 7])
    opening, high, low, close = np.maximum(np.round(quoted, 2), 0.01)
    return Year(
        open=opening,
        high=high,
        low=low,
        close=close,
        volume=np.round(shares * crowd * spike * np.exp(0.35 * normal(drawn[:, 4]) + 0.3 * busy)),
        trades=~halts(shape) & ~(people.is_thin[:, None] & (presence < 0.2)),
        is_null=(presence > 0.5) & (presence < 0.5001),
        generation=people.changes_before(year),
        factor_before=factors[0],
        factor_after=factors[1],
        split_day=factors[2],
        dividend_days=np.where(people.dividend > 0, people.dividend_day, DAYS)[:, None] + 91 * np.arange(4),
        leaves=tenancy[0],
        enters=tenancy[1],
    )


def _by_day(before: Floats, after: Floats, day: Integers) -> Floats:
    return np.where(np.arange(DAYS) < day[:, None], before[:, None], after[:, None])


def quotes(path: Floats, volatility: Floats, shocks: Floats) -> Floats:
    """Open, high, low and close (4, seats, days) of log paths, before the scale of the price."""
    close = path[:, 1:]
    opening = path[:, :-1] + 0.4 * volatility * shocks[:, 0]
    high = np.maximum(opening, close) + 0.5 * volatility * np.abs(shocks[:, 1])
    low = np.minimum(opening, close) - 0.5 * volatility * np.abs(shocks[:, 2])
    return np.exp(np.stack([opening, high, low, close]))


def stretches(drawn: Floats) -> tuple[Floats, Floats]:
    """Drift of a day in units of the volatility, and the factor of its volume: slumps, rallies, and quiet times."""
    kind = np.repeat(drawn, STRETCH, axis=1)[:, :DAYS]
    slump, rally = kind < 0.12, kind > 0.90
    return np.where(slump, -0.55, np.where(rally, 0.5, 0.02)), np.where(slump, 1.5, 1.0)


def spikes(chance: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Factor of the volume and the jump of the price, on the few days with news."""
    news = chance < 0.016
    up = np.where(chance < 0.008, 1.0, -1.0)
    return np.where(news, 3.0 + 6.0 * size, 1.0), np.where(news, up * (1.5 + 2.5 * size), 0.0)


def halts(shape: Floats) -> Booleans:
    """The days on which trading of a seat is halted: for one seat in twenty a run of 3 to 25 days a year."""
    first = np.where(shape[:, 0] < 0.05, shape[:, 1] * DAYS, DAYS)[:, None]
    day = np.arange(DAYS)
    return (first <= day) & (day < first + 3 + 22 * shape[:, 2][:, None])


def split_factors(people: Roster, year: int, shape: Floats) -> tuple[Floats, Floats, Integers]:
    """Shares for each original one before and after the year's split, and the day of it."""
    before = people.splits_before(year) % 2
    after = people.splits_before(year + 1) % 2
    day = np.where((before != after) & people.is_share, 10 + (shape[:, 3] * 340).astype(int), DAYS)
    return np.where(before, people.split_factor, 1.0), np.where(after, people.split_factor, 1.0), day


def tenancies(people: Roster, year: int, shape: Floats) -> tuple[Integers, Integers]:
    """The days on which a company leaves its seat and the next one enters, DAYS where nothing changes."""
    changes = people.changes_before(year + 1) > people.changes_before(year)
    leaves = 20 + (shape[:, 4] * 260).astype(int)
    return np.where(changes, leaves, DAYS), np.where(changes, leaves + 20 + (shape[:, 5] * 60).astype(int), DAYS)


@dataclasses.dataclass(frozen=True)
class Window:
    """Some seats over some sessions: arrays of (seats, sessions); prices and volumes as quoted on the day.

    `factor` is the count of shares for each original one; `generation` is -1 where the seat is empty; `split` is the
    ratio of a split that takes effect, `dividend` the dollars a share, both NaN where there is none.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    has_bar: Booleans
    is_null: Booleans
    generation: Integers
    factor: Floats
    split: Floats
    dividend: Floats


def window(people: Roster, seats: Seats, sessions: Sequence[dt.date], before: dt.date) -> Window:
    """What happened to the seats on the sessions (ascending, at least one). `before` is the session before them."""
    parts, first = [], 0
    for end in range(1, len(sessions) + 1):
        if end == len(sessions) or sessions[end].year != sessions[first].year:
            previous = sessions[first - 1] if first else before
            parts.append(_part(people, seats, sessions[first:end], previous))
            first = end
    names = [field.name for field in dataclasses.fields(Window)]
    return Window(**{name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names})


def _part(people: Roster, seats: Seats, sessions: Sequence[dt.date], before: dt.date) -> Window:
    """A window within one year. An event shows on the first session that is not before its day."""
    year = simulated_year(people.seed, len(people), sessions[0].year)
    start = sessions[0].replace(month=1, day=1)
    days = np.array([(session - start).days for session in sessions])
    since = np.concatenate([[(before - start).days], days[:-1]])

    def falls_on(day: Integers) -> Booleans:
        return (since < day[:, None]) & (day[:, None] <= days)

    def column(values: Floats | Integers) -> Floats | Integers:
        return values[seats][:, None]

    factor = np.where(days < column(year.split_day), column(year.factor_before), column(year.factor_after))
    splits = falls_on(year.split_day[seats])
    pays = np.any([falls_on(day) for day in year.dividend_days[seats].T], axis=0)
    here = (days < column(year.leaves)) | (days >= column(year.enters))
    return Window(
        open=year.open[seats][:, days],
        high=year.high[seats][:, days],
        low=year.low[seats][:, days],
        close=year.close[seats][:, days],
        volume=year.volume[seats][:, days],
        has_bar=here & (year.trades[seats][:, days] | splits | pays),
        is_null=year.is_null[seats][:, days] & ~splits & ~pays,
        generation=np.where(here, column(year.generation) + (days >= column(year.enters)), -1),
        factor=factor,
        split=np.where(splits, column(year.factor_after) / column(year.factor_before), np.nan),
        dividend=np.where(pays, np.maximum(np.round(column(people.dividend) / 4 / factor, 3), 0.001), np.nan),
    )
