"""Events of the kind `watchlist`: a scan's hits, the values that fired, and what later scans of the session amend."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.events.outbox import WATCHLIST, add_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def hits_found(connection: DuckDBPyConnection, session: dt.date) -> None:
    """Tell of all rows of the session's list: its first scan."""
    add_rows(connection, WATCHLIST, _HITS, {"session": session})


def list_amended(connection: DuckDBPyConnection, session: dt.date) -> None:
    """Tell of what this transaction has added to the session's list or removed from it."""
    add_rows(connection, WATCHLIST, _AMENDED, {"session": session})


_VALUES = """{
    'close_price': w.close_price, 'volume': w.volume, 'rsi_14': w.rsi_14, 'bb_position': w.bb_position,
    'volume_ratio': w.volume_ratio, 'market_cap': w.market_cap, 'market_cap_tier': w.market_cap_tier
}"""

_HITS = f"""
    SELECT symbol AS key, json_object(
        'event', 'hit', 'symbol', symbol, 'session', scan_date, 'scan', scan_reason, 'priority', priority,
        'is_final', is_final, 'values', {_VALUES}
    ) AS body
    FROM daily_watchlist w WHERE scan_date = $session ORDER BY priority, symbol
"""

_AMENDED = f"""
    SELECT a.symbol AS key, json_object(
        'event', a.change, 'symbol', a.symbol, 'session', a.scan_date, 'scan', a.scan_reason, 'reason', a.reason,
        'priority', w.priority, 'is_final', w.is_final, 'values', CASE WHEN w.symbol IS NOT NULL THEN {_VALUES} END
    ) AS body
    FROM watchlist_amendments a
    LEFT JOIN daily_watchlist w ON w.scan_date = a.scan_date AND w.symbol = a.symbol AND w.scan_reason = a.scan_reason
    WHERE a.scan_date = $session AND a.amended_at = now()
    ORDER BY a.change DESC, a.symbol
"""
