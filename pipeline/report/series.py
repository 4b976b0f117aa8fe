"""The bars of single symbols with their indicators, for charts."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config import indicators as settings
from pipeline.indicators import kernel
from pipeline.report.charts import Series

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

SHOWN = 120


def load_bars(connection: DuckDBPyConnection, symbols: Sequence[str], session: dt.date) -> pa.Table:
    """The bars of the symbols up to the session, as far back as indicators look; `wanted` marks those to be shown."""
    return connection.sql(
        """
        SELECT symbol, date, open, high, low, close, volume,
               row_number() OVER (PARTITION BY symbol ORDER BY date DESC) <= $shown AS wanted
        FROM stock_data WHERE symbol IN (SELECT unnest($symbols::VARCHAR[])) AND date <= $session
        QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY date DESC) <= $lookback
        ORDER BY symbol, date
        """,
        params={"symbols": list(symbols), "session": session, "shown": SHOWN, "lookback": settings().lookback + SHOWN},
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


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.to_pylist(), dtype=float)
