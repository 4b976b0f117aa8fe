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
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.config import indicators as settings
from pipeline.indicators import kernel

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Values = npt.NDArray[np.float64]

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
EPOCH = dt.date(1970, 1, 1)


@dataclasses.dataclass(frozen=True)
class Series:
    """A symbol's sessions, oldest first: dollars, shares, and indicators with NaN where they have no value."""

    dates: Sequence[dt.date]
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


def load_bars(connection: DuckDBPyConnection, symbols: Sequence[str], session: dt.date, shown: int = SHOWN) -> pa.Table:
    """The bars of the symbols up to the session, as far back as indicators look; `wanted` marks those to be shown."""
    return connection.sql(
        """
        SELECT symbol, date, open, high, low, close, volume,
               row_number() OVER (PARTITION BY symbol ORDER BY date DESC) <= $shown AS wanted
        FROM stock_data WHERE symbol IN (SELECT unnest($symbols::VARCHAR[])) AND date <= $session
        QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY date DESC) <= $lookback
        ORDER BY symbol, date
        """,
        params={"symbols": list(symbols), "session": session, "shown": shown, "lookback": settings().lookback + shown},
    ).to_arrow_table()


def series(bars: pa.Table) -> dict[str, Series]:
    """Each symbol's last sessions. The values are computed here: stored are those of the sessions that were run."""
    computed = kernel.compute(bars)
    shown = bars.filter(bars["wanted"])
    names = [field.name for field in dataclasses.fields(Series) if field.name != "dates"]
    columns = {name: _numbers((shown if name in shown.column_names else computed)[name]) for name in names}
    symbols, dates = np.array(shown["symbol"].to_pylist()), shown["date"].to_pylist()
    starts = [0, *(np.flatnonzero(symbols[1:] != symbols[:-1]) + 1).tolist(), len(symbols)] if len(symbols) else []
    return {
        str(symbols[first]): Series(
            dates=dates[first:last], **{name: column[first:last] for name, column in columns.items()}
        )
        for first, last in zip(starts, starts[1:], strict=False)
    }


def _numbers(column: pa.ChunkedArray) -> Values:
    return np.asarray(column.to_numpy(), dtype=np.float64)


def packed(charted: Mapping[str, Series]) -> str:
    """All series as one text of letters that HTML leaves alone."""
    days = sorted({day for each in charted.values() for day in each.dates})
    place = {day: number for number, day in enumerate(days)}
    facts = {
        "dates": _steps(np.array([(day - EPOCH).days for day in days], dtype=float), 1),
        "symbols": {symbol: _packed(each, place) for symbol, each in charted.items()},
    }
    text = json.dumps(facts, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode()


def _packed(each: Series, place: Mapping[dt.date, int]) -> dict[str, Any]:
    tick = 10 ** max(2, 3 - math.floor(math.log10(max(float(np.min(each.low)), 1e-4))))
    unit = 10.0 ** max(0, math.floor(math.log10(max(float(np.max(each.volume)), 1))) - 3)
    scales = dict.fromkeys(PRICES, tick) | dict.fromkeys(VOLUMES, 1 / unit) | dict.fromkeys(TENTHS, 10)
    columns = {name: _steps(getattr(each, name)[: TOLD.get(name)], scale) for name, scale in scales.items()}
    at = np.array([place[day] for day in each.dates], dtype=float)
    return {"tick": tick, "unit": unit, "at": _steps(at, 1), **_candles(each, tick), **columns}


def _candles(each: Series, tick: int) -> dict[str, list[int]]:
    opened, high, low, close = (
        np.rint(one * tick).astype(np.int64) for one in (each.open, each.high, each.low, each.close)
    )
    return {
        "gap": np.concatenate([opened[:1] - close[:1], opened[1:] - close[:-1]]).tolist(),
        "above": (high - np.maximum(opened, close)).tolist(),
        "below": (np.minimum(opened, close) - low).tolist(),
    }


def _steps(values: Values, scale: float) -> list[int | None]:
    """Whole multiples of 1 / scale, each as its difference to the one before; None for a value that is not there."""
    has_value = np.isfinite(values)
    whole = np.rint(values[has_value] * scale).astype(np.int64)
    steps = np.full(len(values), None, dtype=object)
    steps[has_value] = np.diff(whole, prepend=0)
    found: list[int | None] = steps.tolist()
    return found
