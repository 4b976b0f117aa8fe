"""What prices did behind a session: the return of each hit, and what it earned beyond the market.

The return of h sessions goes from the close of the session to the last close up to h sessions of the calendar later, so
that a symbol which left counts with its last price. What a hit earned beyond the mean of all symbols of its session is
its excess; for it, returns are cut at the 1st and the 99th percentile of their session (linear interpolation between
values), so that no single company carries a result.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Values = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

#: The percentiles of a session at which its returns are cut, and its middle.
CUT = (0.01, 0.5, 0.99)


@dataclasses.dataclass(frozen=True)
class End:
    """Where a horizon of a session ends: at the close of `at`; sessions of one block are judged together."""

    date: dt.date
    horizon: int
    block: int
    at: dt.date


@dataclasses.dataclass(frozen=True)
class Prices:
    """Dollars, a row a day and a column a symbol, NaN where there is none.

    `entries` are the closes of `day_view`, `closes` all that are stored, `last` the last of these up to the day.
    """

    days: Places
    symbols: pa.Array
    entries: Values
    closes: Values
    last: Values

    def row(self, day: dt.date) -> int:
        return int(np.searchsorted(self.days, _day_numbers([day]))[0])


def moves_of(connection: DuckDBPyConnection, ends: Sequence[End], hits: pa.Table) -> pa.Table:
    """What the hits did by each of the ends of their session.

    `hits` has the columns scan, date and symbol; the answer has a row for each hit and horizon that has passed: scan,
    date, horizon, block, return and excess (shares of the price at the hit), is_better (than the median of the session)
    and is_early (the price is of before the end). Needs `day_view` of the sessions (symbol, date, close) and
    `stock_data`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ordered = hits.sort_by("date")
    rows = _rows_by_day(ordered)
    told = [end for end in ends if end.date in rows]
    prices = _prices(connection, told)
    place = pc.index_in(ordered["symbol"], value_set=prices.symbols).to_numpy()
    moved = [_moves(prices, end, place[rows[end.date]]) for end in told]
    counts = [len(rows[end.date]) for end in told]
    columns = dict(
        zip(("return", "excess", "is_better", "is_early"), _joined(moved, (float, float, bool, bool)), strict=True)
    )
    found = ordered.select(["scan", "date"]).take(_joined([(rows[end.date],) for end in told], (int,))[0])
    columns |= {
        name: np.repeat(np.array([getattr(end, name) for end in told], dtype=int), counts)
        for name in ("horizon", "block")
    }
    for name, values in columns.items():
        found = found.append_column(name, pa.array(values))
    return found


def _rows_by_day(ordered: pa.Table) -> dict[dt.date, Places]:
    """The rows of each session in a table that is ordered by date."""
    days = ordered["date"].to_numpy().astype("datetime64[D]")
    firsts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]][: len(days)])
    return {days[rows[0]].item(): rows for rows in np.split(np.arange(len(days)), firsts)[1:]}


def _joined(parts: Sequence[tuple[npt.NDArray[Any], ...]], kinds: Sequence[type]) -> list[npt.NDArray[Any]]:
    """Each column of the parts as one array of its kind, also when there is no part."""
    return [
        np.concatenate([np.array([], dtype=kind), *(part[n] for part in parts)]).astype(kind)
        for n, kind in enumerate(kinds)
    ]


def _prices(connection: DuckDBPyConnection, ends: Sequence[End]) -> Prices:
    import pyarrow.compute as pc

    span = [min((end.date for end in ends), default=None), max((end.at for end in ends), default=None)]
    bars = connection.sql(
        "SELECT symbol, date, close FROM stock_data WHERE date BETWEEN ? AND ?", params=span
    ).to_arrow_table()
    view = connection.sql("SELECT symbol, date, close FROM day_view WHERE date <= ?", params=span[1:]).to_arrow_table()
    days = np.unique([*_days(bars), *_day_numbers(end.date for end in ends), *_day_numbers(end.at for end in ends)])
    symbols = pc.unique(bars["symbol"])
    closes = _matrix(bars, days, symbols)
    return Prices(days, symbols, _matrix(view, days, symbols), closes, _filled(closes))


def _matrix(rows: pa.Table, days: Places, symbols: pa.Array) -> Values:
    """The closes of the rows, each at the place of its day and its symbol."""
    import pyarrow.compute as pc

    matrix = np.full((len(days), len(symbols)), np.nan)
    column = pc.index_in(rows["symbol"], value_set=symbols).to_numpy()
    matrix[np.searchsorted(days, _days(rows)), column] = rows["close"].to_numpy()
    return matrix


def _filled(closes: Values) -> Values:
    """Each close that is not there replaced by the last one before it."""
    places = np.where(np.isfinite(closes), np.arange(len(closes))[:, None], 0)
    return np.take_along_axis(closes, np.maximum.accumulate(places, axis=0), axis=0)


def _moves(
    prices: Prices, end: End, place: Places
) -> tuple[Values, Values, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return, excess, whether it is better than the median, and whether it is early, of the symbols at these places."""
    start, stop = prices.row(end.date), prices.row(end.at)
    returns = prices.last[stop] / prices.entries[start] - 1
    listed = returns[np.isfinite(returns)]
    low, middle, high = np.quantile(listed, CUT)
    own = returns[place]
    excess = np.clip(own, low, high) - np.clip(listed, low, high).mean()
    return own, excess, own > middle, np.isnan(prices.closes[stop][place])


def _days(rows: pa.Table) -> Places:
    return rows["date"].to_numpy().astype("datetime64[D]").astype(np.int64)


def _day_numbers(days: Iterable[dt.date]) -> Places:
    return np.array([*days], dtype="datetime64[D]").astype(np.int64)
