"""A law of the judgement: whatever a source has said, some evenings of the truth later the truth is stored.

Random evenings of a source that is late, corrects itself, cuts, invents, fails or is killed; then it tells the truth
for as many sessions as an overlap has. What still differs then has to stand in a table.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib
import tempfile
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import calendar
from pipeline.config import market
from pipeline.market.adjustment import whole_histories
from pipeline.market.coverage import store_states
from pipeline.market.evidence import Evidence
from pipeline.market.load import store_answers
from pipeline.market.plan import plan
from pipeline.market.verdicts import ASK_WHOLE, found, judge
from pipeline.sources.protocol import BarRequest
from tests.conftest import changing_settings
from tests.support.judging import Answer, answer, land, list_symbol

DAYS = calendar.sessions_between(dt.date(2023, 12, 1), dt.date(2024, 3, 8))
EVENINGS = DAYS[-13:]
FICKLE = EVENINGS[:-5]
SYMBOLS = ("AAA", "BBB", "CCC")
MOODS = ("plain", "late", "silent", "cut", "empty", "other", "partial", "failed", "spike", "withdrawn", "killed")


@dataclasses.dataclass(frozen=True)
class Source:
    """Closes as traded on the last basis, at most one split a symbol, and a mood for each evening and symbol."""

    walks: dict[str, dict[dt.date, float]]
    splits: dict[str, dict[dt.date, float]]
    moods: dict[tuple[dt.date, str], str]

    def basis(self, symbol: str, day: dt.date, evening: dt.date) -> float:
        """What a close of the day is multiplied with, as told truly on an evening."""
        factor = 1.0
        for effective, ratio in self.splits[symbol].items():
            factor *= ratio if day < effective and evening < effective or day >= effective > evening else 1.0
        return factor

    def truth(self, symbol: str, evening: dt.date) -> dict[dt.date, float]:
        return {
            day: close * self.basis(symbol, day, evening) for day, close in self.walks[symbol].items() if day <= evening
        }

    def answer(self, request: BarRequest, evening: dt.date, mood: str) -> Answer:
        symbol = request.symbol
        at = dt.datetime.combine(evening, dt.time(23), dt.UTC)
        span = {"first": request.first, "last": request.last, "at": at}
        bars = {d: c for d, c in self.truth(symbol, evening).items() if request.first <= d <= request.last}
        splits = {d: r for d, r in self.splits[symbol].items() if d <= evening and d in bars}
        if mood == "failed":
            return answer(symbol, {}, status="failed", reason="HTTP 500", **span)
        if mood == "empty":
            bars = {}
        elif mood == "cut":
            bars = dict([*bars.items()][-6:])
        elif mood == "late":  # the event is told, its effect on what is before it is not
            bars = {d: c * next((r for e, r in splits.items() if d < e), 1.0) for d, c in bars.items()}
        elif mood == "other":
            bars = {d: 40 + 7 * (n % 3) for n, d in enumerate(bars)}
        elif mood == "partial":
            bars = {d: c * (0.97 if d == request.last else 1.0) for d, c in bars.items()}
        elif mood == "spike":
            bars = {d: c * (1e5 if n == 0 else 1.0) for n, (d, c) in enumerate(bars.items())}
        elif mood == "withdrawn" and request.last in bars:
            bars = {d: c * (0.5 if d < request.last else 1.0) for d, c in bars.items()}
            splits = {**splits, request.last: 2.0}
        splits = {} if mood == "silent" else {d: r for d, r in splits.items() if d in bars}
        return answer(symbol, bars, splits=splits, **span)


@st.composite
def sources(draw: st.DrawFn) -> Source:
    walks, splits, moods = {}, {}, {}
    for symbol in SYMBOLS:
        level, walk = draw(st.floats(5, 500)), {}
        for move in draw(
            st.lists(st.sampled_from((0.96, 0.99, 1.0, 1.01, 1.05)), min_size=len(DAYS), max_size=len(DAYS))
        ):
            level *= move
            walk[DAYS[len(walk)]] = level
        walks[symbol] = walk
        effective = draw(st.none() | st.sampled_from(FICKLE[1:]))
        splits[symbol] = {effective: draw(st.sampled_from((4.0, 2.0, 0.1)))} if effective else {}
        for evening in FICKLE[1:]:
            moods[evening, symbol] = draw(st.sampled_from(MOODS) | st.just("plain"))
    return Source(walks, splits, moods)


def run(tables: duckdb.DuckDBPyConnection, folder: pathlib.Path, source: Source, evening: dt.date) -> None:
    """What CollectPrices does of an evening, without the task."""
    mood = {symbol: source.moods.get((evening, symbol), "plain") for symbol in SYMBOLS}
    tables.execute("INSERT INTO session_universe (date, snapshot_date) VALUES (?, ?)", [evening, evening])
    before = calendar.session_before(evening)
    for symbol in SYMBOLS:
        last, change = source.truth(symbol, evening), source.truth(symbol, evening)
        list_symbol(tables, symbol, evening, last[evening], last[evening] - change[before])
    requests = plan(tables, [evening])
    land(folder, [source.answer(r, evening, mood[r.symbol]) for r in requests])
    if "killed" in mood.values():
        return
    with Evidence(tables, folder, requests) as evidence:
        judge(evidence)
        restated = found(evidence, ASK_WHOLE)
    whole = whole_histories(tables, [r for r in requests if r.symbol in restated])
    land(folder, [source.answer(r, evening, mood[r.symbol]) for r in whole])
    wider = {r.symbol: r for r in whole}
    with Evidence(tables, folder, [wider.get(r.symbol, r) for r in requests]) as evidence:
        judge(evidence)
        store_answers(evidence)
        store_states(evidence, evening)


def differences(tables: duckdb.DuckDBPyConnection, source: Source) -> Iterator[tuple[str, dt.date]]:
    for symbol in SYMBOLS:
        rows = tables.execute("SELECT date, close FROM stock_data WHERE symbol = ?", [symbol]).fetchall()
        assert len(dict(rows)) == len(rows), "no bar twice"
        stored, truth = dict(rows), source.truth(symbol, EVENINGS[-1])
        for day in sorted(stored.keys() | {day for day in truth if day >= min(stored)}):
            if abs(stored.get(day, 0.0) / truth[day] - 1) > 1e-9:
                yield symbol, day


@pytest.mark.long
@settings(max_examples=3, derandomize=True, deadline=None, suppress_health_check=[*HealthCheck])
@given(source=sources())
def test_some_evenings_of_the_truth_later_the_truth_is_stored(
    migrated: duckdb.DuckDBPyConnection, source: Source
) -> None:
    assert market().overlap_sessions == len(EVENINGS) - len(FICKLE)
    migrated.begin()
    try:
        with changing_settings() as change, tempfile.TemporaryDirectory() as folder:
            change("market", history_sessions=20)
            for evening in EVENINGS:
                run(migrated, pathlib.Path(folder) / str(evening), source, evening)
            noted = {
                symbol
                for table in ("disputed_answers", "gaps", "rejected_bars")
                for (symbol,) in migrated.execute(f"SELECT symbol FROM {table}").fetchall()
            }
            assert [each for each in differences(migrated, source) if each[0] not in noted] == []
    finally:
        migrated.rollback()
