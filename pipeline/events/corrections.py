"""Events of the kind `corrections`: what is said of a symbol's past is not what was said before."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.events.outbox import CORRECTIONS, add, add_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def bars_changed(connection: DuckDBPyConnection) -> None:
    """Tell of the bars that `bar_changes` is about to revise, restate or delete, while `stock_data` has the old values.

    One event for a symbol, a kind of change and a year, so that a whole history that is restated makes no event that a
    broker would refuse for its length. Bars that are added are none.
    """
    add_rows(connection, CORRECTIONS, _BARS)


def history_closed(connection: DuckDBPyConnection, symbol: str, name: str, session: dt.date, reason: str) -> None:
    """Tell that all bars of a symbol are another company's, and about to be gone."""
    ((bars,),) = connection.execute("SELECT count(*) FROM stock_data WHERE symbol = ?", [symbol]).fetchall()
    body = {"change": "closed", "symbol": symbol, "name": name, "session": session, "reason": reason, "count": bars}
    add(connection, CORRECTIONS, symbol, body)


def history_carried(connection: DuckDBPyConnection, old: str, new: str, session: dt.date, reason: str) -> None:
    """Tell that the bars of one symbol are to stand under another one, which wins where both have a bar."""
    body = {"change": "carried", "symbol": new, "old_symbol": old, "session": session, "reason": reason}
    add(connection, CORRECTIONS, new, body)


_BARS = """
    SELECT c.symbol AS key, json_object(
        'change', c.change, 'symbol', c.symbol, 'year', year(c.date), 'reason', any_value(c.reason),
        'factor', any_value(c.factor),
        'bars', list({
            'date': c.date,
            'before': {'open': s.open, 'high': s.high, 'low': s.low, 'close': s.close, 'volume': s.volume},
            'after': CASE WHEN c.change <> 'deleted'
                     THEN {'open': c.open, 'high': c.high, 'low': c.low, 'close': c.close, 'volume': c.volume} END
        } ORDER BY c.date)
    ) AS body
    FROM bar_changes c JOIN stock_data s ON s.symbol = c.symbol AND s.date = c.date
    WHERE c.change <> 'added'
    GROUP BY c.symbol, c.change, year(c.date)
    ORDER BY c.symbol, year(c.date), c.change
"""
