"""Sources that are late, wrong or of two minds: a symbol for each behaviour, eight evenings, and what is stored.

All symbols live through the same evenings of one market (`lived_through`), which makes this cheap; each test looks at
one of them. The listing tells the truth of the day, as NASDAQ's does.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.sources.protocol import BarRequest
from pipeline.sources.yahoo import source as yahoo
from pipeline.tasks.prices import CollectPrices
from tests.conftest import changing_settings, forget, use_data_dir
from tests.support.collecting import ask
from tests.support.runs import DirectSource, run_here
from tests.support.small_market import SESSIONS, SYMBOLS, WALKS, Bar, SmallMarket

pytestmark = pytest.mark.long

R = SESSIONS[-8:]
EFFECTIVE = R[1]
#: Sessions in which the suspended symbol does not trade.
SUSPENDED = [day for day in SESSIONS if SESSIONS[-30] <= day < R[3]]

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What the source says of a symbol on an evening.

    `traded`: factor of the prices as they are traded, from EFFECTIVE on. `told`: factor of a day's bar on an evening.
    `split`, `dividend`: the events told on an evening. `rows`: a last word on the answer to a request.
    """

    traded: float = 1.0
    told: Callable[[dt.date, dt.date], float] = lambda evening, day: 1.0
    split: Callable[[dt.date], dict[dt.date, float]] = lambda evening: {}
    dividend: Callable[[dt.date], dict[dt.date, float]] = lambda evening: {}
    rows: Callable[[dt.date, BarRequest, Rows], Rows] = lambda evening, request, rows: rows
    days: Callable[[list[dt.date]], list[dt.date]] = lambda days: days

    def bar(self, evening: dt.date, day: dt.date, bar: Bar) -> Bar:
        factor = self.told(evening, day)
        return (*(price * factor for price in bar[:4]), round(bar[4] / factor))  # type: ignore[return-value]


def split(late: int, event: str, ratio: float = 4.0) -> Behaviour:
    """A split at EFFECTIVE whose effect on the bars before it is told `late` sessions later."""
    seen = R[1 + late]
    tells = {"on its day": EFFECTIVE, "with the restatement": seen, "never": dt.date.max}[event]
    return Behaviour(
        traded=1 / ratio,
        told=lambda evening, day: 1 / ratio if day >= EFFECTIVE or evening >= seen else 1.0,
        split=lambda evening: {EFFECTIVE: ratio} if evening >= tells else {},
    )


def corrected_ratio(evening: dt.date, day: dt.date) -> float:
    if evening < EFFECTIVE:
        return 1.0
    return 0.2 if day >= EFFECTIVE or evening >= R[2] else 0.25


def with_first_whole_answer(cut: Callable[[Rows], Rows]) -> Behaviour:
    """A split told at once, and a whole history that is cut on its evening."""
    plain = split(0, "on its day")

    def rows(evening: dt.date, request: BarRequest, rows: Rows) -> Rows:
        return cut(rows) if evening == EFFECTIVE and (request.last - request.first).days > 60 else rows

    return dataclasses.replace(plain, rows=rows)


def empty(rows: Rows) -> Rows:
    return [{name: rows[0][name] for name in ("symbol", "asked_from", "asked_to", "status", "fetched_at")}]


def another_chart(evening: dt.date, request: BarRequest, rows: Rows) -> Rows:
    names = ("open", "high", "low", "close", "volume")
    return [row | dict(zip(names, WALKS["S56"][row["date"]], strict=True)) for row in rows] if evening == R[2] else rows


BEHAVIOURS: dict[str, Behaviour] = {
    **{f"split {event}, {late} late": split(late, event)
       for event in ("on its day", "with the restatement", "never") for late in (0, 1, 2, 3, 6)},
    "consolidation on its day, 3 late": split(3, "on its day", 0.1),
    "ratio corrected": Behaviour(
        traded=0.2, told=corrected_ratio,
        split=lambda evening: {} if evening < EFFECTIVE else {EFFECTIVE: 4.0 if evening < R[2] else 5.0}),
    "split withdrawn": Behaviour(
        told=lambda evening, day: 10.0 if evening == EFFECTIVE and day < EFFECTIVE else 1.0,
        split=lambda evening: {EFFECTIVE: 0.1} if evening == EFFECTIVE else {}),
    "restated while yesterday is corrected": Behaviour(
        traded=0.8,
        told=lambda evening, day: (0.8 if day >= EFFECTIVE or evening >= EFFECTIVE
                                   else 1.015 if evening == day == R[0] else 1.0)),
    "restated, answer empty": with_first_whole_answer(empty),
    "restated, answer cut": with_first_whole_answer(lambda rows: rows[-16:]),
    "new, first answer cut": Behaviour(rows=lambda evening, request, rows: rows[-10:] if evening == R[0] else rows),
    "another company's chart": Behaviour(rows=another_chart),
    "absurd oldest bar": Behaviour(
        told=lambda evening, day: 1e5 if evening == R[2] and day == SESSIONS[SESSIONS.index(R[2]) - 4] else 1.0),
    "absurd after a suspension": Behaviour(
        told=lambda evening, day: 25.0 if evening == day == R[3] else 1.0,
        days=lambda days: [day for day in days if day not in SUSPENDED]),
    "dividend moved": Behaviour(
        dividend=lambda evening: {} if evening < R[1] else {R[1]: 1.0} if evening < R[2] else {R[2]: 1.0}),
    "split into nothing": Behaviour(split=lambda evening: {R[1]: math.inf} if evening >= R[1] else {}),
}  # fmt: skip
PECULIAR = ("S07", "S11", "S13", "S17", "S19", "S23", "S31", "S37")
SYMBOL = dict(zip(BEHAVIOURS, [s for s in SYMBOLS if s not in PECULIAR][4:], strict=False))


class Moody(SmallMarket):
    """A market whose symbols behave as they are named in SYMBOL."""

    def __init__(self) -> None:
        super().__init__()
        self.of = {SYMBOL[name]: behaviour for name, behaviour in BEHAVIOURS.items()}

    def days(self, symbol: str) -> list[dt.date]:
        days = super().days(symbol)
        return self.of[symbol].days(days) if symbol in self.of else days

    def bar(self, symbol: str, day: dt.date) -> Bar:
        bar = super().bar(symbol, day)
        return self.of[symbol].bar(self.as_of, day, bar) if symbol in self.of else bar

    def _row(self, symbol: str, newest: list[dt.date]) -> dict[str, str]:
        row = super()._row(symbol, newest)
        if symbol in self.of:
            factor = self.of[symbol].traded if newest[-1] >= EFFECTIVE else 1.0
            before, now = (WALKS[symbol][day][3] * factor for day in newest)
            is_traded = newest[-1] in self.days(symbol)
            row.update(
                lastsale=f"${now:.2f}", netchange=f"{now - before:.2f}", volume=row["volume"] if is_traded else "0"
            )
        return row

    def answer(self, request: BarRequest, rows: Rows) -> Rows:
        if request.symbol not in self.of:
            return rows
        behaviour = self.of[request.symbol]
        for row in rows:
            row["split_ratio"] = behaviour.split(self.as_of).get(row.get("date"))
            row["dividend"] = behaviour.dividend(self.as_of).get(row.get("date"))
        return behaviour.rows(self.as_of, request, rows)


class MoodySource(DirectSource):
    market: Moody

    def _rows(self, request: BarRequest) -> Iterator[dict[str, Any]]:
        yield from self.market.answer(request, list(super()._rows(request)))


@dataclasses.dataclass
class Lived:
    """What was seen: whether each evening was green, states of its session, and the largest step of each history."""

    market: Moody
    green: list[bool]
    states: dict[tuple[str, dt.date], tuple[str, str]]
    steps: dict[str, float]


@pytest.fixture(scope="module")
def lived_through(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """The eight evenings, and the database after them."""
    with changing_settings() as settings, pytest.MonkeyPatch.context() as patch:
        use_data_dir(tmp_path_factory.mktemp("behaviours") / "data", settings)
        settings("nasdaq", min_symbols=20)
        settings("quality", min_coverage=0.3, max_traded_drop=1.0, audit_per_day=0)
        lived = Lived(Moody(), [], {}, {})
        patch.setattr(yahoo, "YahooSource", lambda: MoodySource(lived.market))
        for evening in R:
            lived.market.as_of = evening
            lived.green.append(run_here(CollectPrices(date=evening)))
            rows = ask("SELECT symbol, state, reason FROM price_coverage WHERE date = ?", evening)
            lived.states.update({(symbol, evening): (state, reason) for symbol, state, reason in rows})
            for symbol, step in ask(STEPS):
                lived.steps[symbol] = max(step, lived.steps.get(symbol, 0.0))
        yield lived
        forget()


STEPS = """
    SELECT symbol, max(greatest(close / before, before / close)) FROM (
        SELECT symbol, close, lag(close) OVER (PARTITION BY symbol ORDER BY date) AS before FROM stock_data
    ) WHERE before IS NOT NULL GROUP BY symbol
"""


def test_every_evening_is_green_for_the_others(lived_through: Lived) -> None:
    assert all(lived_through.green)
    assert len(set(SYMBOL.values())) == len(BEHAVIOURS)


@pytest.mark.parametrize("name", [name for name in BEHAVIOURS if name != "split into nothing"])
def test_at_the_end_the_history_is_what_the_source_says(lived_through: Lived, name: str) -> None:
    market, symbol = lived_through.market, SYMBOL[name]
    rows = ask("SELECT date, open, high, low, close, volume FROM stock_data WHERE symbol = ? ORDER BY date", symbol)
    assert {row[0]: row[1:] for row in rows} == {day: market.bar(symbol, day) for day in market.days(symbol)}
    assert lived_through.states[symbol, R[-1]][0] == "stored"
    assert ask("SELECT * FROM disputed_answers WHERE symbol = ?", symbol) == []
    told = {**market.of[symbol].split(R[-1]), **market.of[symbol].dividend(R[-1])}
    assert dict(ask("SELECT date, value FROM corporate_actions WHERE symbol = ?", symbol)) == told


@pytest.mark.parametrize("name", [*BEHAVIOURS])
def test_on_no_evening_two_bases_or_companies_are_spliced(lived_through: Lived, name: str) -> None:
    """The walks never move by a third; a corrected ratio is off by a quarter until it is corrected."""
    assert lived_through.steps[SYMBOL[name]] < (1.5 if name == "ratio corrected" else 1.3)


@pytest.mark.parametrize("late", [1, 2, 3, 6])
@pytest.mark.parametrize("event", ["on its day", "with the restatement", "never"])
def test_a_split_without_its_effect_fails_the_symbol_with_the_reason(
    lived_through: Lived, late: int, event: str
) -> None:
    symbol = SYMBOL[f"split {event}, {late} late"]
    for evening in R[1 : 1 + late]:
        state, reason = lived_through.states[symbol, evening]
        assert state == "failed"
        assert ("not restated yet" if event == "on its day" else "implies") in reason
    assert all(lived_through.states[symbol, evening][0] == "stored" for evening in R[1 + late :])


@pytest.mark.parametrize(
    ("name", "evening", "reason"),
    [
        ("split withdrawn", R[1], "split 0.1 for 1"),
        ("restated, answer empty", R[1], "the answer has 0 of the"),
        ("restated, answer cut", R[1], "the answer has 15 of the"),
        ("absurd after a suspension", R[3], "bar rejected: move_too_large"),
        ("split into nothing", R[1], "bar rejected: split_absurd"),
    ],
)
def test_what_contradicts_fails_the_symbol_and_is_kept_out(
    lived_through: Lived, name: str, evening: dt.date, reason: str
) -> None:
    state, said = lived_through.states[SYMBOL[name], evening]
    assert (state, said[: len(reason)]) == ("failed", reason)


def test_the_chart_of_another_company_is_not_believed(lived_through: Lived) -> None:
    state, reason = lived_through.states[SYMBOL["another company's chart"], R[2]]
    assert state == "failed", reason


def test_a_split_into_nothing_leaves_its_bar_among_the_rejected_ones(lived_through: Lived) -> None:
    symbol = SYMBOL["split into nothing"]
    assert ask("SELECT date, rule FROM rejected_bars WHERE symbol = ?", symbol) == [(R[1], "split_absurd")]
    assert ask("SELECT * FROM corporate_actions WHERE symbol = ?", symbol) == []


def test_nothing_else_was_touched(lived_through: Lived) -> None:
    moody = set(SYMBOL.values())
    plain = [symbol for symbol in SYMBOLS if symbol not in moody]
    assert ask("SELECT * FROM bar_versions WHERE symbol IN (SELECT unnest(?)) AND symbol <> 'S07'", plain) == []
