"""A source that says something else each evening, by symbol: late, corrected, withdrawn, cut, of another company.

    source = FickleSource.drawn(random.Random(7), symbols, days, fickle=days[-13:-5])
    source.evening = day                 # the source as it is on that evening
    source.collect(requests, folder, progress)

Each symbol has a story of its own, so that a market of forty symbols tries out forty sequences at the cost of one.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import operator
import pathlib
import random
from collections.abc import Callable, Collection, Iterator, Sequence

import pyarrow as pa

from pipeline import calendar
from pipeline.sources.answers import ANSWER_SCHEMA, unanswered
from pipeline.sources.batches import collect_in_batches
from pipeline.sources.protocol import BarRequest, Progress
from tests.support.judging import Answer, answer

Closes = dict[dt.date, float]
Splits = dict[dt.date, float]


class Killed(Exception):
    """The process that asks is gone, with what it has not landed yet."""


@dataclasses.dataclass(frozen=True)
class Story:
    """What was traded of a symbol, on the last basis, its splits, and in which mood the source speaks of it when."""

    closes: Closes
    splits: Splits
    moods: dict[dt.date, str]

    def truth(self, evening: dt.date) -> Closes:
        """The closes on the basis of an evening."""
        return {day: close * self._basis(day, evening) for day, close in self.closes.items() if day <= evening}

    def _basis(self, day: dt.date, evening: dt.date) -> float:
        factor = 1.0
        for effective, ratio in self.splits.items():
            factor *= ratio if day < effective and evening < effective or day >= effective > evening else 1.0
        return factor


def late(closes: Closes, splits: Splits, last: dt.date) -> tuple[Closes, Splits]:
    """The event is told, its effect on what is before it is not."""
    return {day: close * _later(splits, day) for day, close in closes.items()}, splits


def misread(closes: Closes, splits: Splits, last: dt.date) -> tuple[Closes, Splits]:
    """Each split is told, and carried out, by a ratio that is corrected on another evening."""
    wrong = {day: close * (1.25 if _later(splits, day) != 1 else 1) for day, close in closes.items()}
    return wrong, {day: ratio / 1.25 for day, ratio in splits.items()}


def withdrawn(closes: Closes, splits: Splits, last: dt.date) -> tuple[Closes, Splits]:
    """A split of the newest session that there never was."""
    return {day: close * (0.5 if day < last else 1) for day, close in closes.items()}, {**splits, last: 2.0}


def spike(closes: Closes, splits: Splits, last: dt.date) -> tuple[Closes, Splits]:
    return {day: close * (1e5 if day == min(closes) else 1) for day, close in closes.items()}, splits


def other(closes: Closes, splits: Splits, last: dt.date) -> tuple[Closes, Splits]:
    """The chart of another company."""
    return {day: 40.0 + 7 * (number % 3) for number, day in enumerate(closes)}, {}


#: What the source makes of the closes and splits of its answer, by mood; in one that is not here it tells the truth.
MOODS: dict[str, Callable[[Closes, Splits, dt.date], tuple[Closes, Splits]]] = {
    "late": late,
    "silent": lambda closes, splits, last: (closes, {}),
    "misread": misread,
    "withdrawn": withdrawn,
    "spike": spike,
    "other": other,
    "empty": lambda closes, splits, last: ({}, {}),
    "cut": lambda closes, splits, last: (dict([*closes.items()][-6:]), splits),
    "partial": lambda closes, splits, last: ({d: c * (0.97 if d == last else 1) for d, c in closes.items()}, splits),
    "provisional": lambda closes, splits, last: (closes, splits),
}
#: Moods that say something of the source, or of the evening that it believes to be.
ELSEWHERE = ("failed", "unknown", "lagging")


def _later(splits: Splits, day: dt.date) -> float:
    return next((ratio for effective, ratio in splits.items() if day < effective), 1.0)


class FickleSource:
    """A `Source` of the stories by symbol; `evening` is its day, and `kill_after` the answers that it still lands."""

    name = "fickle"
    keeps_listings = False

    def __init__(self, stories: dict[str, Story]) -> None:
        self.stories = stories
        self.evening = dt.date.min
        self.kill_after: int | None = None
        self._ticks = itertools.count()

    @classmethod
    def drawn(
        cls, draw: random.Random, symbols: Sequence[str], days: Sequence[dt.date], fickle: Collection[dt.date]
    ) -> FickleSource:
        """A story for each symbol: walks, at most one split within the fickle evenings, half of these in a mood."""
        moods = [*MOODS, *ELSEWHERE]
        stories = {}
        for symbol in symbols:
            moves = draw.choices((0.96, 0.99, 1.003, 1.01, 1.05), k=len(days))
            walk = itertools.accumulate(moves, operator.mul, initial=draw.uniform(5, 500))
            closes = dict(zip(days, walk, strict=False))
            effective = draw.choice((None, *sorted(fickle)[1:]))
            splits = {effective: draw.choice((4.0, 2.0, 0.1))} if effective else {}
            told = {evening: draw.choice(moods) if draw.random() < 0.5 else "plain" for evening in sorted(fickle)}
            stories[symbol] = Story(closes, splits, told)
        return cls(stories)

    def collect(self, requests: Sequence[BarRequest], folder: pathlib.Path, progress: Progress) -> None:
        asked = unanswered(folder, requests)[: self.kill_after]
        collect_in_batches(asked, folder, progress, self.answers)
        if self.kill_after is not None:
            raise Killed

    def answers(self, requests: Sequence[BarRequest]) -> pa.Table:
        rows = [row for request in requests for row in self.answer(request).rows]
        return pa.Table.from_pylist(rows, schema=ANSWER_SCHEMA)

    def now(self) -> dt.datetime:
        """A moment of the evening, two hours after the close, later than all before."""
        return dt.datetime.combine(self.evening, dt.time(23), dt.UTC) + dt.timedelta(seconds=next(self._ticks) % 3000)

    def answer(self, request: BarRequest) -> Answer:
        story, symbol = self.stories[request.symbol], request.symbol
        mood = story.moods.get(self.evening, "plain")
        span = {"first": request.first, "last": request.last, "at": self.now()}
        if mood in ("failed", "unknown"):
            return answer(symbol, {}, status=mood, reason="HTTP 500" if mood == "failed" else "No data found", **span)
        evening = calendar.session_before(self.evening) if mood == "lagging" else self.evening
        closes = {day: c for day, c in story.truth(evening).items() if request.first <= day <= request.last}
        splits = {day: ratio for day, ratio in story.splits.items() if day in closes}
        if closes and mood in MOODS:
            closes, splits = MOODS[mood](closes, splits, max(closes))
        told = {day: ratio for day, ratio in splits.items() if day in closes}
        return answer(symbol, {day: self._bar(day, close, mood) for day, close in closes.items()}, splits=told, **span)

    def _bar(self, day: dt.date, close: float, mood: str) -> tuple[float, float, float, float, int]:
        is_short = day == self.evening and mood in ("provisional", "partial")
        return close, close * 1.01, close * 0.99, close, 900 if is_short else 1000

    def listings(self, day: dt.date) -> Iterator[tuple[str, float, float]]:
        """Symbol, last sale and net change in the listing of a session, which tells the truth of the day."""
        before = calendar.session_before(day)
        for symbol, story in self.stories.items():
            closes = story.truth(day)
            yield symbol, closes[day], closes[day] - closes[before]
