"""Sessions that a symbol lacks: remembered, asked for again inside requests that happen anyway, never filled in.

`gaps` has one row for each session between a symbol's first bar and the last session asked for that has no bar, with
the number of answers that had none. A session that was answered often enough without one is left in peace.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.config import quality
from pipeline.sources.protocol import BarRequest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipeline.database.temporary import Temporary


def widen(connection: DuckDBPyConnection, requests: Sequence[BarRequest]) -> list[BarRequest]:
    """The requests, some of them begun earlier so that they cover sessions that their symbols lack.

    At most `[quality] gaps_per_day` symbols a day, those with the newest gaps first.
    """
    rows = connection.execute(
        """
        SELECT symbol, min(date) FROM gaps
        WHERE times_asked < $attempts AND symbol IN (SELECT unnest($symbols::VARCHAR[]))
        GROUP BY symbol ORDER BY max(date) DESC, symbol LIMIT $symbols_a_day
        """,
        {
            "attempts": quality().gap_attempts,
            "symbols": [request.symbol for request in requests],
            "symbols_a_day": quality().gaps_per_day,
        },
    ).fetchall()
    earliest: dict[str, dt.date] = dict(rows)
    return [dataclasses.replace(r, first=min(r.first, earliest.get(r.symbol, r.first))) for r in requests]


def remember(tables: Temporary) -> None:
    """Bring `gaps` up to date after answers were stored; reads the temporary tables `answers` and `verdicts`.

    Bars that came close their gap. Each answer that was believed counts once for every session in its range that still
    has no bar, from the symbol's first bar on.
    """
    tables.execute(
        """
        DELETE FROM gaps g USING stock_data s
        WHERE s.symbol = g.symbol AND s.date = g.date AND s.symbol IN (SELECT symbol FROM answers)
        """
    )
    _find_lacking(tables)
    tables.execute(
        """
        UPDATE gaps SET times_asked = times_asked + 1
        FROM lacking l
        WHERE gaps.symbol = l.symbol AND gaps.date = l.date
        """
    )
    tables.execute(
        """
        INSERT INTO gaps BY NAME SELECT symbol, date, 1 AS times_asked
        FROM lacking ANTI JOIN gaps USING (symbol, date)
        """
    )


def _find_lacking(tables: Temporary) -> None:
    """Make `lacking`: the sessions that an answer which was believed should have had, and after which no bar stands."""
    tables.make(
        "lacking",
        """
        WITH believed AS (
            SELECT a.* FROM answers a JOIN verdicts v USING (symbol) WHERE v.verdict IN ('take over', 'replace', 'add')
        ), bars AS (
            SELECT s.symbol, s.date FROM stock_data s JOIN believed a ON a.symbol = s.symbol
            WHERE s.date <= a.asked_to AND s.date >= (SELECT min(asked_from) FROM answers)
        ), spans AS (
            SELECT a.symbol, greatest(a.asked_from, min(b.date)) AS first, a.asked_to AS last
            FROM believed a JOIN bars b USING (symbol) GROUP BY a.symbol, a.asked_from, a.asked_to
        )
        SELECT s.symbol, d.date FROM spans s JOIN calendar_sessions d ON d.date BETWEEN s.first AND s.last
        ANTI JOIN bars b ON b.symbol = s.symbol AND b.date = d.date
        """,
    )
