"""The bars of single symbols with their indicators, for charts, and the few bytes in which a page carries them.

A page has one block of them: JSON, deflated, base64. Each column is a list of whole numbers, every one the difference
to the one before it, null where there is no value; prices are multiples of 1 / `tick`. An open is told by its gap to
the close before, high and low by how far they go beyond open and close. Means and bands are told only for the sessions
whose window begins before the chart does: templates/charts.js, which reads the block, computes the later ones.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import itertools
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.config import indicators as settings
from pipeline.indicators import kernel

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Values = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]

#: Sessions of a chart: what 30 hits have room for in 300 kB.
SHOWN = 300
#: Columns of a chart, by their unit: multiples of 1 / tick, of the volume's unit, of a tenth.
PRICES = ("close", "bb_upper", "bb_middle", "sma_50", "macd", "macd_signal")
VOLUMES, TENTHS = ("volume", "avg_volume_30"), ("rsi_14",)
#: First sessions of a chart for which the value stands in the block; of the later ones all bars stand there.
TOLD = {
    "bb_upper": kernel.BAND_PERIOD - 1,
    "bb_middle": kernel.BAND_PERIOD - 1,
    "sma_50": 49,
    "avg_volume_30": kernel.VOLUME_PERIOD,
}
#: How the block is deflated: numbers repeat in few digits only, and a filtered search of less depth finds them as well.
LEVEL, MEMORY = 5, 9


@dataclasses.dataclass(frozen=True)
class Series:
    """A symbol's sessions, oldest first: dollars, shares, and indicators with NaN where they have no value."""

    dates: Days
    open: Values
    high: Values
    low: Values
    close: Values
    volume: Values
    bb_upper: Values
    bb_middle: Values
    bb_lower: Values
    sma_50: Values
    avg_volume_30: Values
    rsi_14: Values
    macd: Values
    macd_signal: Values


@dataclasses.dataclass(frozen=True)
class StoredBars:
    """Bars by symbol and date, loaded once for several sessions; `spans` are the rows of each symbol."""

    table: pa.Table
    dates: Days
    spans: Mapping[str, tuple[int, int]]

    def until(self, session: dt.date, symbols: Iterable[str], shown: int = SHOWN) -> pa.Table:
        """The symbols' bars up to the session, as far back as indicators look; `wanted` marks those to be shown."""
        lookback = settings().lookback
        rows, wanted = [np.array([], dtype=np.int64)], [np.array([], dtype=bool)]
        for symbol in sorted({*symbols} & self.spans.keys()):
            first, last = self.spans[symbol]
            stop = first + int(np.searchsorted(self.dates[first:last], np.datetime64(session), side="right"))
            rows.append(np.arange(max(first, stop - shown - lookback), stop))
            wanted.append(rows[-1] >= stop - shown)
        return self.table.take(np.concatenate(rows)).append_column("wanted", [np.concatenate(wanted)])


def load_bars(
    connection: DuckDBPyConnection, symbols: Iterable[str], sessions: Sequence[dt.date], shown: int = SHOWN
) -> StoredBars:
    """The bars that charts of the symbols need, as far back as indicators look, up to each of the sessions."""
    span = (max(sessions) - min(sessions)).days
    table = connection.sql(
        """
        SELECT symbol, date, open, high, low, close, volume
        FROM stock_data WHERE symbol IN (SELECT unnest($symbols::VARCHAR[])) AND date <= $last
        QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY date DESC) <= $count
        ORDER BY symbol, date
        """,
        params={"symbols": list(symbols), "last": max(sessions), "count": settings().lookback + shown + span},
    ).to_arrow_table()
    return StoredBars(table, table["date"].to_numpy(), _spans(table))


def _spans(rows: pa.Table) -> dict[str, tuple[int, int]]:
    """The first row of each symbol, and the one after its last; the rows of a symbol stand together."""
    symbols = rows["symbol"].combine_chunks().dictionary_encode()
    firsts = np.flatnonzero(np.diff(symbols.indices.to_numpy(), prepend=-1))
    return dict(zip(symbols.dictionary.to_pylist(), itertools.pairwise([*firsts.tolist(), len(rows)]), strict=True))


def series(bars: pa.Table) -> dict[str, Series]:
    """Each symbol's last sessions. The values are computed here: stored are those of the sessions that were run."""
    computed = kernel.compute(bars)
    shown = bars.filter(bars["wanted"])
    names = [field.name for field in dataclasses.fields(Series) if field.name != "dates"]
    columns: dict[str, npt.NDArray[Any]] = {
        name: _numbers((shown if name in shown.column_names else computed)[name]) for name in names
    }
    columns["dates"] = shown["date"].to_numpy()
    return {
        symbol: Series(**{name: column[first:last] for name, column in columns.items()})
        for symbol, (first, last) in _spans(shown).items()
    }


def _numbers(column: pa.ChunkedArray) -> Values:
    return np.asarray(column.to_numpy(), dtype=np.float64)


def packed(charted: Mapping[str, Series]) -> str:
    """All series as one text of letters that HTML leaves alone."""
    days = np.unique(np.concatenate([each.dates for each in charted.values()]))
    facts = {
        "dates": _steps([days.astype(float)], [1])[0],
        "symbols": dict(zip(charted, _packed([*charted.values()], days), strict=True)),
    }
    text = json.dumps(facts, separators=(",", ":"), allow_nan=False)
    deflating = zlib.compressobj(LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, MEMORY, zlib.Z_FILTERED)
    return base64.b64encode(deflating.compress(text.encode()) + deflating.flush()).decode()


def _packed(every: Sequence[Series], days: Days) -> Iterator[dict[str, Any]]:
    """What the block has of each series: numbers and columns, each made for all series in one go."""
    ticks = [10 ** max(2, 3 - math.floor(math.log10(max(float(np.min(each.low)), 1e-4)))) for each in every]
    units = [10.0 ** max(0, math.floor(math.log10(max(float(np.max(each.volume)), 1))) - 3) for each in every]
    scales = (
        dict.fromkeys(PRICES, ticks)
        | dict.fromkeys(VOLUMES, [1 / unit for unit in units])
        | dict.fromkeys(TENTHS, [10] * len(every))
    )
    columns = {"at": _steps([np.searchsorted(days, each.dates) for each in every], [1] * len(every))}
    columns |= _candles(every, ticks)
    for name, scale in scales.items():
        columns[name] = _steps([getattr(each, name)[: TOLD.get(name)] for each in every], scale)
    for number, (tick, unit) in enumerate(zip(ticks, units, strict=True)):
        yield {"tick": tick, "unit": unit, **{name: column[number] for name, column in columns.items()}}


def _candles(every: Sequence[Series], ticks: Sequence[int]) -> dict[str, list[list[int | None]]]:
    lengths = [len(each.dates) for each in every]
    opened, high, low, close = (
        np.rint(np.concatenate([getattr(each, name) for each in every]) * np.repeat(ticks, lengths)).astype(np.int64)
        for name in ("open", "high", "low", "close")
    )
    before = np.roll(close, 1)
    firsts = [last - length for length, last in zip(lengths, itertools.accumulate(lengths), strict=True)]
    before[firsts] = close[firsts]
    columns = {
        "gap": opened - before,
        "above": high - np.maximum(opened, close),
        "below": np.minimum(opened, close) - low,
    }
    return {name: _parts(column.tolist(), lengths) for name, column in columns.items()}


def _steps(parts: Sequence[npt.NDArray[Any]], scales: Sequence[float]) -> list[list[int | None]]:
    """Whole multiples of 1 / scale, each as its difference to the one before; None for a value that is not there."""
    lengths = [len(part) for part in parts]
    values = np.concatenate(parts) * np.repeat(scales, lengths)
    has_value = np.isfinite(values)
    whole = np.rint(values[has_value]).astype(np.int64)
    part = np.repeat(np.arange(len(parts)), lengths)[has_value]
    begins = np.diff(part, prepend=-1) > 0
    steps = np.full(len(values), None, dtype=object)
    steps[has_value] = np.where(begins, whole, np.diff(whole, prepend=0))
    return _parts(steps.tolist(), lengths)


def _parts(values: list[int | None], lengths: Sequence[int]) -> list[list[int | None]]:
    """The values cut into lists of these lengths."""
    return [values[last - length : last] for length, last in zip(lengths, itertools.accumulate(lengths), strict=True)]
