"""Answers and what is said to them: rows stored by hand, one batch of answers, and the verdicts.

with writing() as connection:
    store_bars(connection, "AAA", {day: 100.0})
    evidence = judged(connection, folder, [answer("AAA", {day: 50.0})])
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection

from pipeline.market.evidence import Evidence
from pipeline.market.verdicts import judge
from pipeline.sources.answers import ANSWER_SCHEMA, batch_names, land_batch
from pipeline.sources.protocol import BarRequest

#: The moment of an answer, unless a test says another: long after the sessions of the tests.
EVENING = dt.datetime(2024, 2, 28, 3, tzinfo=dt.UTC)

#: A close, or open, high, low, close and volume.
Values = float | tuple[float | None, float | None, float | None, float | None, int | None]


@dataclasses.dataclass(frozen=True)
class Answer:
    """The request, and the rows of ANSWER_SCHEMA that answer it."""

    request: BarRequest
    rows: list[dict[str, Any]]


def bar_of(values: Values) -> dict[str, Any]:
    """A bar as columns; one that is given as a close alone is flat, with a volume of 1000 shares."""
    if isinstance(values, tuple):
        return dict(zip(("open", "high", "low", "close", "volume"), values, strict=True))
    return {"open": values, "high": values, "low": values, "close": values, "volume": 1000}


def answer(
    symbol: str,
    bars: Sequence[tuple[dt.date, Values]] | Mapping[dt.date, Values],
    *,
    first: dt.date | None = None,
    last: dt.date | None = None,
    splits: Mapping[dt.date, float] | None = None,
    dividends: Mapping[dt.date, float] | None = None,
    at: dt.datetime = EVENING,
    status: str = "ok",
    reason: str | None = None,
) -> Answer:
    """What a source said of the symbol between two sessions: by default from the first of the bars to the last."""
    items = list(bars.items()) if isinstance(bars, Mapping) else list(bars)
    days = [day for day, _ in items]
    span = first or min(days), last or max(days)
    asked = {"symbol": symbol, "asked_from": span[0], "asked_to": span[1], "status": status, "reason": reason,
             "fetched_at": at}  # fmt: skip
    rows = [
        {
            **asked,
            "date": day,
            **bar_of(values),
            "dividend": (dividends or {}).get(day),
            "split_ratio": (splits or {}).get(day),
        }
        for day, values in items
    ]
    return Answer(BarRequest(symbol, *span), rows or [asked])


def land(folder: pathlib.Path, answers: Sequence[Answer]) -> None:
    """The answers as one more batch of the folder."""
    rows = [row for each in answers for row in each.rows]
    if rows:
        land_batch(folder / f"{next(batch_names(folder))}.parquet", pa.Table.from_pylist(rows, schema=ANSWER_SCHEMA))


def judged(connection: DuckDBPyConnection, folder: pathlib.Path, answers: Sequence[Answer]) -> Evidence:
    """The answers landed in the folder, and judged."""
    land(folder, answers)
    evidence = Evidence(connection, folder, [each.request for each in answers])
    judge(evidence)
    return evidence


def verdict(evidence: Evidence, symbol: str = "AAA") -> tuple[str, str, str | None]:
    """The rule that held for the symbol, the verdict on its answer, and the reason."""
    ((rule, said, reason),) = evidence.execute(
        "SELECT rule, verdict, reason FROM verdicts WHERE symbol = $symbol", {"symbol": symbol}
    )
    return rule, said, reason


def store_bars(
    connection: DuckDBPyConnection, symbol: str, bars: Mapping[dt.date, Values], answered_at: dt.datetime | None = None
) -> None:
    """Bars as an earlier run has stored them, and the span of them as known."""
    store_histories(connection, {symbol: bars}, answered_at)


def store_histories(
    connection: DuckDBPyConnection,
    histories: Mapping[str, Mapping[dt.date, Values]],
    answered_at: dt.datetime | None = None,
) -> None:
    """The bars of each symbol, in one statement: a row at a time is most of a test of many symbols."""
    rows = [
        {"symbol": symbol, "date": day, **bar_of(values)}
        for symbol, bars in histories.items()
        for day, values in bars.items()
    ]
    names = [*rows[0]]
    columns = ", ".join(["unnest(?)"] * len(names))
    connection.execute(
        f"INSERT INTO stock_data ({', '.join(names)}, fetched_at) SELECT {columns}, now()",
        [[row[name] for row in rows] for name in names],
    )
    connection.execute(
        "INSERT INTO price_ranges (symbol, first_asked, last_asked, answered_at) "
        "SELECT unnest(?), unnest(?), unnest(?), ?",
        [
            [*histories],
            [min(bars) for bars in histories.values()],
            [max(bars) for bars in histories.values()],
            answered_at,
        ],
    )


def list_symbol(
    connection: DuckDBPyConnection,
    symbol: str,
    day: dt.date,
    last_sale: float,
    net_change: float = 0.0,
    volume: int = 1000,
) -> None:
    """The symbol in the listing of a session."""
    list_symbols(connection, {symbol: volume}, day, last_sale, net_change)


def list_symbols(
    connection: DuckDBPyConnection, volumes: Mapping[str, int], day: dt.date, last_sale: float, net_change: float = 0.0
) -> None:
    """Symbols with their volumes in the listing of a session, all with the same close."""
    connection.execute(
        "INSERT INTO symbol_snapshots (date, symbol, name, market_cap, last_sale, net_change, volume) "
        "SELECT $day, name, name || ' Inc. Common Stock', 1e9, $last_sale, $net_change, volume "
        "FROM (SELECT unnest($names) AS name, unnest($volumes) AS volume)",
        {"day": day, "last_sale": last_sale, "net_change": net_change,
         "names": [*volumes], "volumes": [*volumes.values()]},
    )  # fmt: skip
