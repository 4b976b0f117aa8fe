"""Sessions that are run again: after an outage, a kill, a reset, without a network, over damaged files."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import talib

from pipeline.cli import reset
from pipeline.sources import batches
from pipeline.sources.answers import batch_files
from pipeline.sources.protocol import BarRequest
from pipeline.tasks.indicators import ComputeIndicators
from pipeline.tasks.prices import CollectPrices
from tests.conftest import forget
from tests.support.collecting import ask, collect
from tests.support.fake_market import Fault
from tests.support.runs import DirectSource, run_here
from tests.support.small_market import SESSIONS, THIN, Bar, SmallMarket

R = SESSIONS[-4:]
A = "S05"


pytestmark = pytest.mark.long


@pytest.fixture
def lab(here: SmallMarket, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> SmallMarket:
    """The small market without its split, with 25 companies and a short history: a run of it is quick."""
    settings("market", history_sessions=60)
    settings("quality", audit_per_day=0)
    listed = here.listed
    monkeypatch.setattr(here, "listed", lambda: [s for s in listed() if s < "S26" and s not in ("S07", "S13")])
    here.splits.clear()
    return here


def shape(lab: SmallMarket, monkeypatch: pytest.MonkeyPatch, change: Callable[[str, dt.date, Bar], Bar]) -> None:
    bar = lab.bar
    monkeypatch.setattr(lab, "bar", lambda symbol, day: change(symbol, day, bar(symbol, day)))


def scaled(bar: Bar, factor: float) -> Bar:
    return (bar[0] * factor, bar[1] * factor, bar[2] * factor, bar[3] * factor, bar[4])


def closes(symbol: str = A) -> dict[dt.date, float]:
    return dict(ask("SELECT date, close FROM stock_data WHERE symbol = ?", symbol))


def undo(day: dt.date) -> None:
    """`pipeline reset` of the session's prices."""
    reset.carry_out(reset.plan([day], "CollectPrices"))
    forget()


def test_after_a_reset_the_old_bars_are_no_answer(lab: SmallMarket) -> None:
    assert collect(lab, R[0], R[1])
    undo(R[1])
    lab.every = Fault("500")
    assert not run_here(CollectPrices(date=R[1]))
    states = dict(ask("SELECT state, count(*) FROM price_coverage WHERE date = ? GROUP BY 1", R[1]))
    assert set(states) == {"failed"}
    assert ask("SELECT date FROM recollections") == [(R[1],)], "the wish to ask again is not forgotten"
    lab.every = None
    forget()
    lab.corrections[A, R[1]] = 1.02
    assert run_here(CollectPrices(date=R[1]))
    assert closes()[R[1]] == lab.bar(A, R[1])[3]
    assert ask("SELECT * FROM recollections") == []


def test_an_offline_rerun_does_not_bring_a_partial_bar_back(
    lab: SmallMarket, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shape(lab, monkeypatch, lambda s, d, b: scaled(b, 0.97) if (s, d, lab.as_of) == (A, R[1], R[1]) else b)
    assert collect(lab, R[0], R[1])
    partial = closes()[R[1]]
    assert collect(lab, R[2])
    corrected = closes()
    assert corrected[R[1]] > partial
    settings("market", offline="true")
    undo(R[1])
    assert run_here(CollectPrices(date=R[1]))
    assert closes() == corrected


def test_what_a_killed_run_received_before_the_session_was_there_is_no_answer_for_it(
    lab: SmallMarket, clock: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun an hour after the open, killed in its third batch; the same command in the evening."""
    clock(R[0].year, R[0].month, R[0].day, 18, 0)
    assert collect(lab, R[0])
    monkeypatch.setattr(batches, "BATCH_SIZE", 8)
    days, rows = lab.days, DirectSource._rows
    monkeypatch.setattr(lab, "days", lambda symbol: [day for day in days(symbol) if day < R[1]])
    asked: list[str] = []

    def until_killed(source: DirectSource, request: BarRequest) -> Iterator[dict[str, Any]]:
        asked.append(request.symbol)
        if len(asked) > 20:
            raise KeyboardInterrupt
        yield from rows(source, request)

    monkeypatch.setattr(DirectSource, "_rows", until_killed)
    lab.as_of = R[1]
    folder = CollectPricesFolder(R[1])
    folder.receive_early(lab, clock)
    assert len(batch_files(folder.path)) == 2
    monkeypatch.setattr(DirectSource, "_rows", rows)
    monkeypatch.setattr(lab, "days", days)
    clock(R[1].year, R[1].month, R[1].day, 18, 0)
    forget()
    assert run_here(CollectPrices(date=R[1]))
    assert ask("SELECT symbol FROM price_coverage WHERE date = ? AND state <> 'stored'", R[1]) == [(THIN,)]
    assert closes()[R[1]] == lab.bar(A, R[1])[3]


class CollectPricesFolder:
    """The answers of a run that was killed: what lies in its folder of `raw/`."""

    def __init__(self, day: dt.date) -> None:
        from pipeline.config import storage

        self.day = day
        self.path = storage().root / "raw" / "prices" / str(day)

    def receive_early(self, lab: SmallMarket, clock: Callable[..., None]) -> None:
        clock(self.day.year, self.day.month, self.day.day, 10, 30)
        requests = [BarRequest(s, SESSIONS[-8], self.day) for s in sorted(lab.listed())]
        with pytest.raises(KeyboardInterrupt):
            DirectSource(lab).collect(requests, self.path, lambda *_: None)


@pytest.mark.parametrize("damage", [lambda data: data[:500], lambda data: b"", lambda data: data[:-20] + b"x" * 20])
def test_a_damaged_batch_is_set_aside_and_asked_for_again(
    lab: SmallMarket, data_dir: pathlib.Path, damage: Callable[[bytes], bytes]
) -> None:
    assert collect(lab, R[0])
    lab.faults = {symbol: Fault("500") for symbol in ("S01", "S02", "S03", "S04")}
    assert not collect(lab, R[1])
    folder = data_dir / "raw" / "prices" / str(R[1])
    (batch, *_) = batch_files(folder)
    batch.write_bytes(damage(batch.read_bytes()))
    lab.faults.clear()
    forget()
    assert run_here(CollectPrices(date=R[1]))
    assert [path.name for path in folder.glob("*.damaged*")] != []
    assert ask("SELECT count(*) FROM price_coverage WHERE date = ? AND state = 'failed'", R[1]) == [(0,)]


def test_an_indicator_of_highs_follows_a_corrected_high(
    lab: SmallMarket, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("indicators", extra="atr_14 = ATR(14)")
    shape(lab, monkeypatch,
          lambda s, d, b: (b[0], b[1] * 1.3, *b[2:]) if (s, d, lab.as_of) == (A, R[0], R[0]) else b)  # fmt: skip
    assert collect(lab, R[0], R[1], task=ComputeIndicators)
    rows = ask("SELECT date, high, low, close FROM stock_data WHERE symbol = ? ORDER BY date", A)
    days, *prices = zip(*rows, strict=True)
    wanted = dict(zip(days, talib.ATR(*(np.array(values) for values in prices), 14), strict=True))
    found = dict(ask("SELECT date, atr_14 FROM technical_indicators WHERE symbol = ? AND date >= ?", A, R[0]))
    assert found == {day: pytest.approx(wanted[day], rel=1e-9) for day in R[:2]}
    assert ask("SELECT * FROM stale_indicators") == []


def test_what_a_revision_can_reach_is_computed_again_and_nothing_before_it(
    lab: SmallMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four sessions, the two from the corrected bar on, of the one symbol."""
    assert collect(lab, R[0], R[1], R[2], task=ComputeIndicators)
    before = {(s, d): v for s, d, v in ask("SELECT symbol, date, sma_20 FROM technical_indicators")}
    lab.corrections[A, R[1]] = 1.03
    assert collect(lab, R[3], task=ComputeIndicators)
    after = {(s, d): v for s, d, v in ask("SELECT symbol, date, sma_20 FROM technical_indicators")}
    assert {key for key in before if before[key] != after[key]} == {(A, R[1]), (A, R[2])}
