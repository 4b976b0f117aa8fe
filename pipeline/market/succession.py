"""Tickers that come back as another company: the old company's history is closed, not continued.

A symbol counts as re-used when its name in the listing is a different one than the listing before had for it, and its
price does not continue where the stored history ends. Either alone is everyday: companies rename themselves, and
prices jump.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Names that are less alike than this (Jaro-Winkler, 0 to 1) are another company's.
ALIKE = 0.75
#: The previous close that the listing implies may differ from the last stored one by this factor.
CONTINUES = 1.6


def close_reused(connection: DuckDBPyConnection, session: dt.date) -> dict[str, str]:
    """Move the histories of symbols that another company has taken over into `closed_histories`.

    Returns the symbols with a word of evidence. They are then collected like new ones.
    """
    rows = connection.execute(_REUSED, {"session": session, "alike": ALIKE, "continues": CONTINUES}).fetchall()
    for symbol, old_name, _ in rows:
        _close(connection, symbol, old_name, session)
    return {symbol: f"was {old_name}, is now {new_name}, at another price" for symbol, old_name, new_name in rows}


_REUSED = """
    WITH present AS (
        FROM session_listings WHERE session = $session
    ), known AS (
        SELECT p.symbol, p.name, p.last_sale - coalesce(p.net_change, 0) AS previous_close, r.last_asked
        FROM present p JOIN price_ranges r USING (symbol) WHERE r.last_asked < $session
    ), before AS (
        SELECT k.symbol, max_by(o.name, o.date) AS name
        FROM known k JOIN symbol_snapshots o ON o.symbol = k.symbol AND o.date <= k.last_asked GROUP BY k.symbol
    ), renamed AS (
        SELECT k.*, b.name AS old_name FROM known k JOIN before b USING (symbol)
        WHERE jaro_winkler_similarity(lower(k.name), lower(b.name)) < $alike
    ), ended AS (
        SELECT symbol, max_by(close, date) AS close FROM stock_data WHERE symbol IN (SELECT symbol FROM renamed) GROUP BY symbol
    )
    SELECT r.symbol, r.old_name, r.name FROM renamed r JOIN ended e USING (symbol)
    WHERE r.previous_close > e.close * $continues OR r.previous_close < e.close / $continues
    ORDER BY r.symbol
"""


def _close(connection: DuckDBPyConnection, symbol: str, name: str, session: dt.date) -> None:
    connection.execute(
        """
        INSERT INTO closed_histories BY NAME
        SELECT symbol, ? AS name, ?::DATE AS closed_on, date, open, high, low, close, volume, fetched_at
        FROM stock_data WHERE symbol = ?
        """,
        [name, session, symbol],
    )
    for table in ("stock_data", "price_ranges", "corporate_actions", "gaps"):
        connection.execute(f"DELETE FROM {table} WHERE symbol = ?", [symbol])
