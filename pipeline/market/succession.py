"""Symbols whose stored history is not that of what they stand for now: it is closed, and begun anew.

* A ticker that another company has taken over: its name in the listing is a different one than before, and its price
  does not go on where the stored history ends. Either alone is everyday: companies rename themselves, and prices jump.
* A company that was away from the listing, and comes back at another price than the stored history ends with: it was
  split or consolidated meanwhile, and the stored closes are on another basis.

The closed history moves to `closed_histories`; the symbol is collected like a new one. Where the source has the whole
history on one basis, all of it is stored again.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.events.corrections import history_closed
from pipeline.market.ticker_changes import CONTINUES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Names that are less alike than this (Jaro-Winkler, 0 to 1) are another company's.
ALIKE = 0.75


def close_ended(connection: DuckDBPyConnection, session: dt.date) -> dict[str, str]:
    """Move the histories that end before `session` into `closed_histories`; the symbols with a word of evidence."""
    rows = connection.execute(_ENDED, {"session": session, "alike": ALIKE, "continues": CONTINUES}).fetchall()
    for symbol, old_name, evidence in rows:
        _close(connection, symbol, old_name, session, evidence)
    return {symbol: evidence for symbol, _, evidence in rows}


_ENDED = """
    WITH known AS (
        SELECT p.symbol, p.name, p.listed_on, r.last_asked,
               coalesce(nullif(p.last_sale - p.net_change, 0), p.last_sale) AS previous_close
        FROM session_listings p JOIN price_ranges r USING (symbol)
        WHERE p.session = $session AND r.last_asked < $session
    ), before AS (
        SELECT k.symbol, max_by(o.name, o.date) AS name
        FROM known k JOIN symbol_snapshots o ON o.symbol = k.symbol AND o.date <= k.last_asked GROUP BY k.symbol
    ), listing_before AS (
        FROM symbol_snapshots
        WHERE date = (SELECT max(date) FROM symbol_snapshots WHERE date < (SELECT max(listed_on) FROM known))
    ), suspects AS (
        SELECT k.*, b.name AS old_name, jaro_winkler_similarity(lower(k.name), lower(b.name)) < $alike AS is_renamed
        FROM known k JOIN before b USING (symbol) LEFT JOIN listing_before l USING (symbol)
        WHERE is_renamed OR (l.symbol IS NULL AND k.last_asked < (SELECT max(date) FROM listing_before))
    ), ended AS (
        SELECT symbol, max_by(close, date) AS close FROM stock_data
        WHERE symbol IN (SELECT symbol FROM suspects) GROUP BY symbol
    )
    SELECT s.symbol, s.old_name,
           CASE WHEN s.is_renamed THEN format('was {}, is now {}, at another price', s.old_name, s.name)
                ELSE format('comes back at {:.4g} times the last close', s.previous_close / e.close) END
    FROM suspects s JOIN ended e USING (symbol)
    WHERE s.previous_close > e.close * $continues OR s.previous_close < e.close / $continues
    ORDER BY s.symbol
"""


def _close(connection: DuckDBPyConnection, symbol: str, name: str, session: dt.date, reason: str) -> None:
    history_closed(connection, symbol, name, session, reason)
    connection.execute(
        """
        INSERT INTO closed_histories BY NAME
        SELECT symbol, $name AS name, $session::DATE AS closed_on, $reason AS reason,
               date, open, high, low, close, volume, fetched_at
        FROM stock_data WHERE symbol = $symbol
        """,
        {"symbol": symbol, "name": name, "session": session, "reason": reason},
    )
    for table in (
        "stock_data",
        "price_ranges",
        "corporate_actions",
        "price_disagreements",
        "disputed_answers",
        "gaps",
        "technical_indicators",
        "stale_indicators",
    ):
        connection.execute(f"DELETE FROM {table} WHERE symbol = ?", [symbol])
