"""Whether a stored history is still on the source's basis of adjustment.

A split restates all earlier prices at the source. It is noticed by its event, or, where the event is missing, by
closes of the overlap that differ from the stored ones by one common factor. Such a history is asked for anew, whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.market.plan import known_spans
from pipeline.sources.protocol import BarRequest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Closes that differ by less are the same; rounding to cents moves a close of one dollar by half a percent.
SAME = 0.006
#: The factors of one symbol's overlap may differ by this much and still count as one common factor.
COMMON = 0.01


def restated_symbols(connection: DuckDBPyConnection) -> dict[str, str]:
    """Symbols of the temporary table `answered_bars` whose stored history is on another basis, with the evidence."""
    rows = connection.execute(
        """
        WITH overlap AS (
            SELECT b.symbol, b.close / s.close AS factor
            FROM answered_bars b JOIN stock_data s USING (symbol, date) WHERE b.close > 0
        ), factors AS (
            SELECT symbol, median(factor) AS factor FROM overlap GROUP BY symbol
            HAVING max(factor) < min(factor) * (1 + $common) AND abs(median(factor) - 1) > $same
        ), events AS (
            SELECT b.symbol, max_by(b.split_ratio, b.date) AS ratio, max(b.date) AS date
            FROM answered_bars b ANTI JOIN (FROM corporate_actions WHERE kind = 'split') a USING (symbol, date)
            JOIN price_ranges r ON r.symbol = b.symbol AND r.first_asked < b.date
            WHERE b.split_ratio IS NOT NULL GROUP BY b.symbol
        )
        SELECT symbol, CASE WHEN date IS NOT NULL THEN format('split {:g} for 1 on {}', ratio, date)
                            ELSE format('closes restated by {:.4g}', factor) END
        FROM factors FULL JOIN events USING (symbol) ORDER BY symbol
        """,
        {"common": COMMON, "same": SAME},
    ).fetchall()
    return dict(rows)


def whole_histories(connection: DuckDBPyConnection, requests: Sequence[BarRequest]) -> list[BarRequest]:
    """The requests widened to all that is stored of their symbols."""
    known = known_spans(connection)
    return [BarRequest(r.symbol, min(r.first, known[r.symbol][0]), max(r.last, known[r.symbol][1])) for r in requests]
