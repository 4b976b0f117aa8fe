"""Files that were changed after they had been read are read again, where they changed."""

from __future__ import annotations

import datetime as dt
import itertools
import pathlib
from collections.abc import Callable

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import reset
from pipeline.sources.answers import batch_files
from pipeline.tasks.prices import CollectPrices
from tests.conftest import forget
from tests.support.collecting import ask
from tests.support.runs import run_here
from tests.support.small_market import SESSIONS, WALKS, Bar

SYMBOLS = ["S01", "S02", "S03", "S04", "NA"]
A = "S02"
R = SESSIONS[-6:]
LATEST = SESSIONS[-1]


class Vendor:
    """A folder of deliveries: one listing without dates, and files of bars in the order in which they come."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.bars = folder / "bars"
        self.bars.mkdir(parents=True)
        (folder / "listings").mkdir()
        rows = "".join(f"{symbol},{symbol} Inc. Common Stock,{10**12 + n}\n" for n, symbol in enumerate(SYMBOLS))
        (folder / "listings" / "all.csv").write_text("symbol,name,market_cap\n" + rows)

    def deliver(
        self, name: str, days: list[dt.date], symbols: list[str] = SYMBOLS,
        shape: Callable[[str, dt.date, Bar], Bar] = lambda symbol, day, bar: bar,
        splits: dict[tuple[str, dt.date], float] | None = None,
    ) -> None:  # fmt: skip
        rows = [
            {"symbol": symbol, "date": day, "split_ratio": (splits or {}).get((symbol, day))}
            | dict(zip(("open", "high", "low", "close", "volume"), shape(symbol, day, WALKS[symbol][day]), strict=True))
            for symbol in symbols
            for day in days
        ]
        schema = pa.schema(
            [("symbol", pa.string()), ("date", pa.date32()), ("split_ratio", pa.float64())]
            + [(column, pa.float64()) for column in ("open", "high", "low", "close")] + [("volume", pa.int64())]
        )  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), self.bars / f"{name}.parquet")


@pytest.fixture
def vendor(data_dir: pathlib.Path, tmp_path: pathlib.Path, settings: Callable[..., None]) -> Vendor:
    settings("market", source="files")
    settings("files", path=tmp_path / "vendor")
    settings("quality", min_coverage=0.6)
    return Vendor(tmp_path / "vendor")


@pytest.fixture
def collect(clock: Callable[..., None]) -> Callable[..., bool]:
    minutes = itertools.count()  # each run is later than the one before

    def run(*days: dt.date) -> bool:
        done = True
        for day in days:
            clock(day.year, day.month, day.day, 18, next(minutes))
            forget()
            done = run_here(CollectPrices(date=day)) and done
        return done

    return run


def stored(symbol: str) -> dict[dt.date, Bar]:
    rows = ask("SELECT date, open, high, low, close, volume FROM stock_data WHERE symbol = ?", symbol)
    return {row[0]: row[1:] for row in rows}


def quarter(symbol: str, day: dt.date, bar: Bar) -> Bar:
    return (*(value / 4 for value in bar[:4]), bar[4] * 4)  # type: ignore[return-value]


def asked_from(data_dir: pathlib.Path, day: dt.date) -> dict[str, dt.date]:
    """The first session that each symbol was asked for from, in the run of a day."""
    files = [str(path) for path in batch_files(data_dir / "raw" / "prices" / str(day))]
    return dict(
        duckdb.execute("SELECT symbol, min(asked_from) FROM read_parquet($1) GROUP BY symbol", [files]).fetchall()
    )


def up_to(day: dt.date) -> list[dt.date]:
    return [session for session in SESSIONS if session <= day]


def test_files_that_did_not_change_are_not_read_again(
    vendor: Vendor, collect: Callable[..., bool], data_dir: pathlib.Path
) -> None:
    vendor.deliver("000", up_to(R[0]))
    assert collect(R[0])
    vendor.deliver("001", [R[1]])
    vendor.deliver("000", up_to(R[0]))  # written anew, with the same rows
    assert collect(R[1])
    assert set(asked_from(data_dir, R[1]).values()) == {SESSIONS[SESSIONS.index(R[1]) - 4]}
    assert len(stored(A)) > 420


@pytest.mark.parametrize("is_reset", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_history_that_is_restated_a_session_after_the_split_is_read(
    vendor: Vendor, collect: Callable[..., bool], is_reset: bool
) -> None:
    vendor.deliver("000", up_to(R[0]))
    assert collect(R[0])
    vendor.deliver("001", [R[1]], splits={(A, R[1]): 4.0}, shape=lambda s, d, b: quarter(s, d, b) if s == A else b)
    collect(R[1])
    vendor.deliver("002", up_to(R[0]), [A], shape=quarter)
    if is_reset:
        reset.carry_out(reset.plan([R[1]], "CollectPrices"))
        assert collect(R[1])
    else:
        vendor.deliver("003", [R[2]], shape=lambda s, d, b: quarter(s, d, b) if s == A else b)
        assert collect(R[2])
    bars = stored(A)
    assert bars == {day: quarter(A, day, WALKS[A][day]) for day in bars}
    assert len(bars) > 420


@pytest.mark.parametrize("is_reset", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_bar_of_twenty_sessions_ago_is_corrected(
    vendor: Vendor, collect: Callable[..., bool], data_dir: pathlib.Path, is_reset: bool
) -> None:
    old = SESSIONS[-30]
    vendor.deliver("000", up_to(R[0]))
    assert collect(R[0])
    vendor.deliver("001", [old], [A], shape=lambda s, d, b: (*(value * 1.01 for value in b[:4]), b[4]))  # type: ignore[arg-type]
    day = R[0]
    if is_reset:
        reset.carry_out(reset.plan([day], "CollectPrices"))
    else:
        day = R[1]
        vendor.deliver("002", [day])
    assert collect(day)
    assert stored(A)[old] == (*(value * 1.01 for value in WALKS[A][old][:4]), WALKS[A][old][4])
    first = asked_from(data_dir, day)
    assert first[A] <= old < min(first[symbol] for symbol in SYMBOLS if symbol != A), "only where it changed"
    assert first[A].month == old.month


@pytest.mark.slow
def test_older_bars_that_are_added_are_read(vendor: Vendor, collect: Callable[..., bool]) -> None:
    vendor.deliver("000", [day for day in up_to(R[0]) if day >= SESSIONS[-100]])
    assert collect(R[0])
    assert len(stored(A)) == 100 - 5
    vendor.deliver("001", up_to(SESSIONS[-101]), [A])
    vendor.deliver("002", [R[1]])
    assert collect(R[1])
    assert stored(A) == {day: WALKS[A][day] for day in up_to(R[1]) if day >= min(stored(A))}
    assert len(stored(A)) > 420


def test_a_bar_that_was_delivered_too_late_for_a_run_is_read_by_the_next_one(
    vendor: Vendor, collect: Callable[..., bool], settings: Callable[..., None]
) -> None:
    """The run fails for want of bars; the file comes; the run is repeated. What had landed is no answer any more."""
    settings("quality", min_coverage=0.98, min_traded=0.9)
    vendor.deliver("000", up_to(R[0]))
    assert collect(R[0])
    vendor.deliver("001", [R[1]], SYMBOLS[:2])
    assert not collect(R[1])
    vendor.deliver("002", [R[1]], SYMBOLS[2:])
    assert collect(R[1])
    assert all(stored(symbol)[R[1]] == WALKS[symbol][R[1]] for symbol in SYMBOLS)


def test_a_rejected_bar_is_not_read_again_every_day(
    vendor: Vendor, collect: Callable[..., bool], data_dir: pathlib.Path, settings: Callable[..., None]
) -> None:
    settings("quality", gaps_per_day=0)  # which ask for its session a few times more, whatever the source
    bad = SESSIONS[-60]
    vendor.deliver("000", up_to(R[0]), shape=lambda s, d, b: (-1.0, *b[1:]) if (s, d) == (A, bad) else b)  # type: ignore[return-value]
    assert collect(R[0])
    assert ask("SELECT symbol, date FROM rejected_bars") == [(A, bad)]
    vendor.deliver("001", [R[1]])
    assert collect(R[1])
    assert asked_from(data_dir, R[1])[A] > SESSIONS[-20]
