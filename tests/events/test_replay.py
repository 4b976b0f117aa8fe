"""Who has the bars as they were first stored, and applies the corrections, has `stock_data` after each run."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from pipeline.database.connection import reading
from pipeline.events import outbox
from tests.events.test_outbox import bars_of, replayed
from tests.market.test_identity import NEW, OLD, Change, R, away, change  # noqa: F401
from tests.support.collecting import ask, collect
from tests.support.small_market import SmallMarket

REVISED, SPLIT_NOW = "S01", "S02"


class Reader:
    """What somebody makes of the events alone; bars that are there for the first time it takes from the table."""

    def __init__(self) -> None:
        self.bars: dict[tuple[str, str], dict[str, float]] = {}
        self.last = 0
        self.changes: list[tuple[str, str]] = []

    def follow(self) -> None:
        """Apply what a run has told. Nothing else may be different in the table than that bars are added."""
        with reading() as connection:
            events = [event for event in outbox.behind(connection, "nobody", 100_000) if event.id > self.last]
            table = bars_of(connection)
        told = [event for event in events if event.kind == outbox.CORRECTIONS]
        self.last = events[-1].id
        self.changes += [(body["change"], body["symbol"]) for body in (json.loads(event.body) for event in told)]
        self.bars = replayed(self.bars, told)
        assert {place: table.get(place) for place in self.bars} == self.bars
        self.bars = table


def test_bars_through_a_change_of_ticker_a_split_and_a_revision(
    change: Change,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    market, reader = change.market, Reader()
    market.splits[SPLIT_NOW] = {R[1]: (4, 1)}
    bar = market.bar

    def bar_of(symbol: str, day: dt.date) -> tuple[float, ...]:
        found = bar(symbol, day)
        if symbol == SPLIT_NOW and market.as_of >= R[1]:
            return (*(price / 4 for price in found[:4]), found[4] * 4)
        return found

    monkeypatch.setattr(market, "bar", bar_of)
    for day in R[:4]:
        if day == R[3]:
            market.corrections[REVISED, R[1]] = 1.01
        assert collect(market, day)
        reader.follow()
    assert {("restated", SPLIT_NOW), ("carried", NEW), ("revised", REVISED)} <= set(reader.changes)
    assert OLD not in {symbol for symbol, _ in reader.bars}


@pytest.mark.slow
def test_bars_through_a_ticker_that_comes_back_as_another_company(
    here: SmallMarket,
    away: dict[str, Any],  # noqa: F811
) -> None:
    reader = Reader()
    for day in R[:7]:
        assert collect(here, day)
        reader.follow()
    assert ("closed", OLD) in reader.changes
    assert ask("SELECT count(*) FROM stock_data WHERE symbol = ?", OLD) == [(2,)]
