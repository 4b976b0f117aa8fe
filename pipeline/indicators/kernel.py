"""The one definition of every indicator: TA-Lib's, over one symbol's bars at a time.

Spark's workers import this file by itself, as the module `kernel`; it must not import anything of the package.

The bars of a symbol are its sessions in order, with no NaN among them (TA-Lib answers wrongly behind one). A value is
null until its window is full. Formulas and seeds are those of TA-Lib (https://ta-lib.org/functions/): Wilder's
smoothing for the RSI, moving averages of the MACD seeded by a simple one and started together, population deviation for
the Bollinger bands.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import talib
import talib.abstract

Column = npt.NDArray[np.float64]

RSI_PERIOD = 14
MACD_FAST, MACD_SLOW, MACD_SIGNAL = 12, 26, 9
BAND_PERIOD, BAND_DEVIATIONS = 20, 2.0
VOLUME_PERIOD = 30

#: One row a symbol and session, sorted by both; `wanted` marks the rows that values are wanted for.
INPUT_SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("date", pa.date32()),
        ("open", pa.float64()),
        ("high", pa.float64()),
        ("low", pa.float64()),
        ("close", pa.float64()),
        ("volume", pa.int64()),
        ("wanted", pa.bool_()),
    ]
)


class BarsError(ValueError):
    """The table of bars has not the shape that the indicators are defined for."""


@dataclasses.dataclass(frozen=True)
class Bars:
    """One symbol's sessions, oldest first: dollars and shares, contiguous float64 as TA-Lib takes them."""

    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column


@dataclasses.dataclass(frozen=True)
class Indicator:
    """A function that gives one array as long as the bars for each of `columns`, NaN where it has no value."""

    columns: tuple[str, ...]
    compute: Callable[[Bars], Sequence[Column]]


def _rsi(bars: Bars) -> Sequence[Column]:
    return (talib.RSI(bars.close, RSI_PERIOD),)


def _macd(bars: Bars) -> Sequence[Column]:
    return talib.MACD(bars.close, MACD_FAST, MACD_SLOW, MACD_SIGNAL)


def _bollinger_bands(bars: Bars) -> Sequence[Column]:
    """Upper, middle and lower band, and where the close lies between lower (0) and upper (1)."""
    upper, middle, lower = talib.BBANDS(bars.close, BAND_PERIOD, BAND_DEVIATIONS, BAND_DEVIATIONS)
    width = upper - lower
    # Equal closes may leave a width of rounding errors, and the position within that would be noise.
    flat = talib.MAX(bars.close, BAND_PERIOD) == talib.MIN(bars.close, BAND_PERIOD)
    width[flat | (width <= 0)] = np.nan
    return upper, middle, lower, (bars.close - lower) / width


def _simple_average(period: int) -> Callable[[Bars], Sequence[Column]]:
    return lambda bars: (talib.SMA(bars.close, period),)


def _average_volume(bars: Bars) -> Sequence[Column]:
    """The mean volume of the sessions *before* each one, so that a day's volume is not measured against itself."""
    before = np.full_like(bars.volume, np.nan)
    before[1:] = talib.SMA(bars.volume, VOLUME_PERIOD)[:-1]
    return (before,)


#: Every indicator by the name that it is switched on with.
INDICATORS: dict[str, Indicator] = {
    "rsi_14": Indicator(("rsi_14",), _rsi),
    "macd": Indicator(("macd", "macd_signal", "macd_hist"), _macd),
    "bollinger_bands": Indicator(("bb_upper", "bb_middle", "bb_lower", "bb_position"), _bollinger_bands),
    "sma_20": Indicator(("sma_20",), _simple_average(20)),
    "sma_50": Indicator(("sma_50",), _simple_average(50)),
    "avg_volume_30": Indicator(("avg_volume_30",), _average_volume),
}

COLUMNS = tuple(column for indicator in INDICATORS.values() for column in indicator.columns)

#: Functions that cannot be defined by a user, and why.
UNFIT = {
    "MAVP": "MAVP wants a column of periods, which bars do not have",
    "AD": (
        "AD adds up from the first bar on, so that its value would depend on where the look-back begins; ADOSC does not"
    ),
    "OBV": "OBV adds up from the first bar on, so that its value would depend on where the look-back begins",
}

#: One row a wanted row of the bars, in their order; the columns are the same whichever indicators are switched on.
OUTPUT_SCHEMA = pa.schema(
    [("symbol", pa.string()), ("date", pa.date32()), *((column, pa.float64()) for column in COLUMNS)]
)


def defined(definition: str) -> Indicator:
    """The indicator of `name=FUNCTION:parameter:parameter`: a function of TA-Lib, the parameters in its order.

    Its column is called as it is; a function with several outputs gives `name_output`. Raises BarsError for a function
    that TA-Lib does not have, and for more parameters than it takes.
    """
    name, _, call = definition.partition("=")
    title, *parameters = call.split(":")
    if title not in talib.get_functions() or title in UNFIT:
        raise BarsError(UNFIT.get(title, f"TA-Lib has no function {title!r}"))
    function = talib.abstract.Function(title)  # type: ignore[attr-defined]  # made at import, where mypy does not look
    if len(parameters) > len(function.info["parameters"]):
        raise BarsError(
            f"{title} takes {', '.join(function.info['parameters']) or 'no parameter'}; given: {', '.join(parameters)}"
        )
    values = [float(value) if "." in value else int(value) for value in parameters]
    chosen = dict(zip(function.info["parameters"], values, strict=False))  # those left out keep their defaults
    outputs = function.output_names
    columns = (name,) if len(outputs) == 1 else tuple(f"{name}_{output}" for output in outputs)
    return Indicator(columns, lambda bars: _evaluate(function, bars, chosen))


def _evaluate(function: Any, bars: Bars, parameters: dict[str, float]) -> Sequence[Column]:
    """The outputs of a function of TA-Lib as float64, NaN until its window is full."""
    found = function({field.name: getattr(bars, field.name) for field in dataclasses.fields(Bars)}, **parameters)
    columns = [np.array(column, dtype=np.float64) for column in (found if isinstance(found, list | tuple) else [found])]
    for column in columns:  # those of whole numbers have zeros there
        column[: function.lookback] = np.nan
    return columns


def compute(bars: pa.Table, names: Collection[str] = tuple(INDICATORS)) -> pa.Table:
    """Values of the indicators `names` for the wanted rows of `bars` (INPUT_SCHEMA), as a table of OUTPUT_SCHEMA.

    The columns of the other indicators are null. A name with an equals sign is a definition (`defined`), whose columns
    follow those of the schema. Raises BarsError for bars that are not sorted, not unique, or have nulls or NaN, and for
    an unknown name.
    """
    chosen = [_named(name) for name in names]
    columns = tuple(dict.fromkeys([*COLUMNS, *(column for indicator in chosen for column in indicator.columns)]))
    rows = _conform(bars)
    bounds = _symbol_bounds(rows)
    wanted = _numpy(rows["wanted"])
    values = np.full((len(columns), rows.num_rows), np.nan)
    arrays = {field.name: _numpy(rows[field.name]).astype(np.float64) for field in dataclasses.fields(Bars)}
    for first, last in itertools.pairwise(bounds):
        if wanted[first:last].any():
            symbol = Bars(**{name: array[first:last] for name, array in arrays.items()})
            _fill(values[:, first:last], symbol, chosen, columns)
    return _output(rows, values, columns)


def _named(name: str) -> Indicator:
    if "=" in name:
        return defined(name)
    if name not in INDICATORS:
        raise BarsError(f"unknown indicator {name!r}; there are: {', '.join(INDICATORS)}")
    return INDICATORS[name]


def _conform(bars: pa.Table) -> pa.RecordBatch:
    """The columns of INPUT_SCHEMA, each in one piece, complete and finite."""
    missing = [name for name in INPUT_SCHEMA.names if name not in bars.column_names]
    if missing:
        raise BarsError(f"the bars have no column {', '.join(missing)}; found: {', '.join(bars.column_names)}")
    bars = bars.select(INPUT_SCHEMA.names).cast(INPUT_SCHEMA)
    rows = pa.RecordBatch.from_arrays([column.combine_chunks() for column in bars.columns], schema=INPUT_SCHEMA)
    for name in rows.schema.names:
        usable = _usable(rows[name])
        if not usable.all():
            row = int(usable.argmin())
            raise BarsError(f"no usable {name} for {rows['symbol'][row]} on {rows['date'][row]}: {rows[name][row]}")
    return rows


def _usable(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Where a column has a value, and a finite one."""
    if column.null_count:
        return _numpy(column.is_valid())
    if pa.types.is_floating(column.type):
        return np.isfinite(_numpy(column))
    return np.ones(len(column), bool)


def _numpy(column: pa.Array) -> npt.NDArray[Any]:
    """A column of numbers or booleans without nulls. (Arrow's own `to_numpy` loads pandas: longer than all else.)"""
    if pa.types.is_boolean(column.type):
        return _numpy(column.cast(pa.uint8())).view(np.bool_)
    return np.from_dlpack(column)


def _symbol_bounds(rows: pa.RecordBatch) -> list[int]:
    """The first row of every symbol, and the number of rows.

    Raises BarsError unless the rows are sorted by symbol and date, each once.
    """
    # A dictionary numbers the symbols as they first appear: a code that falls is a symbol that appears again.
    steps = np.diff(_numpy(rows["symbol"].dictionary_encode().indices))
    days = np.diff(_numpy(rows["date"].cast(pa.int32())))
    wrong = (steps < 0) | ((steps == 0) & (days <= 0))
    if wrong.any():
        row = int(wrong.argmax()) + 1
        raise BarsError(f"the bars are not sorted by symbol and date: {rows['symbol'][row]} on {rows['date'][row]}")
    return [0, *(np.flatnonzero(steps) + 1).tolist(), rows.num_rows]


def _fill(values: npt.NDArray[np.float64], bars: Bars, chosen: Sequence[Indicator], columns: Sequence[str]) -> None:
    for indicator in chosen:
        for column, result in zip(indicator.columns, indicator.compute(bars), strict=True):
            values[columns.index(column)] = result


def _output(rows: pa.RecordBatch, values: npt.NDArray[np.float64], columns: Sequence[str]) -> pa.Table:
    keys = rows.select(["symbol", "date"]).filter(rows["wanted"])
    arrays = [_with_nulls(column) for column in values[:, _numpy(rows["wanted"])]]
    further = [(column, pa.float64()) for column in columns[len(COLUMNS) :]]
    return pa.table([keys["symbol"], keys["date"], *arrays], schema=pa.schema([*OUTPUT_SCHEMA, *further]))


def _with_nulls(column: Column) -> pa.Array:
    """The array with null for NaN, made from its buffers: `pa.array` too would load pandas."""
    has_value = ~np.isnan(column)
    validity = pa.py_buffer(np.packbits(has_value, bitorder="little"))
    return pa.Array.from_buffers(pa.float64(), len(column), [validity, pa.py_buffer(np.ascontiguousarray(column))])
