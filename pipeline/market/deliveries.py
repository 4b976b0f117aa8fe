"""Bars of a source at hand that were changed after they had been read: asked for again where they differ.

Files are delivered late, corrected and completed: a split's restated history comes a session after the split, a bar is
put right weeks later, older bars are added. Whatever it is, the source is held against the tables, month by month.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.market.universe import expected_symbols
from pipeline.sources.protocol import BarRequest, StandingSource

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


def with_changes(
    connection: DuckDBPyConnection, source: StandingSource, requests: Sequence[BarRequest], sessions: Sequence[dt.date]
) -> list[BarRequest]:
    """The requests, begun where the source differs from what is stored, and one more for each symbol that lacked one.

    An answer from before the source's last change is none.
    """
    changed_at = min(source.changed_at(), calendar.now())  # a file may bear a time of the future
    wanted = {request.symbol: request for request in requests}
    for symbol, (first, last) in _differing_spans(connection, source).items():
        request = wanted.get(symbol)
        wanted[symbol] = (
            dataclasses.replace(request, first=min(first, request.first), last=max(last, request.last))
            if request
            else BarRequest(symbol, first, last)
        )
    expected = {symbol for session in sessions for symbol in expected_symbols(connection, session)}
    return [
        dataclasses.replace(request, not_before=max(changed_at, request.not_before or changed_at))
        for request in wanted.values()
        if request.symbol in expected
    ]


def _differing_spans(connection: DuckDBPyConnection, source: StandingSource) -> dict[str, tuple[dt.date, dt.date]]:
    """From the first month that differs to the last session that was answered, by symbol."""
    from pipeline.sources.digests import digest_query

    spans: pa.Table = connection.sql(
        "SELECT symbol, first_asked AS first, last_asked AS last FROM price_ranges"
    ).to_arrow_table()
    if not spans.num_rows:
        return {}
    connection.register("standing", source.digests(spans))
    rows = connection.execute(
        f"""
        SELECT symbol, min(month), any_value(r.first_asked), any_value(r.last_asked)
        FROM ({digest_query(f"({_STORED})")}) stored
        FULL JOIN standing n USING (symbol, month) JOIN price_ranges r USING (symbol)
        WHERE stored.digest IS DISTINCT FROM n.digest GROUP BY symbol
        """
    ).fetchall()
    connection.unregister("standing")
    months = {month: calendar.session_before(month, 0) for _, month, _, _ in rows}  # few; each costs a look
    return {symbol: (max(first, months[month]), last) for symbol, month, first, last in rows}


#: What was read of the source within the spans: stored, or rejected with the values that it had.
_STORED = """
    SELECT b.*, d.value AS dividend, p.value AS split_ratio
    FROM (
        SELECT symbol, date, open, high, low, close, volume FROM stock_data ANTI JOIN rejected_bars USING (symbol, date)
        UNION ALL
        SELECT symbol, date, open, high, low, close, volume FROM rejected_bars
    ) b
    JOIN price_ranges r ON r.symbol = b.symbol AND b.date BETWEEN r.first_asked AND r.last_asked
    LEFT JOIN (FROM corporate_actions WHERE kind = 'dividend') d ON d.symbol = b.symbol AND d.date = b.date
    LEFT JOIN (FROM corporate_actions WHERE kind = 'split') p ON p.symbol = b.symbol AND p.date = b.date
"""
