"""Companies that change their symbol: what is stored under the old one is carried over to the new one, once.

A symbol that comes with a listing under the very name of one that left with it is the same company when its price goes
on where the old one's ended, or its number of shares is the same. On the first day of a new symbol NASDAQ's
listing knows no close before; then the last sale stands for it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.database.moments import VERSIONED
from pipeline.events.corrections import history_carried

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The close before that the listing implies may differ from the last price that is known by this factor.
CONTINUES = 1.6
#: Two numbers of shares (market capitalisation / last sale) are the same when they differ by less than this.
SAME_SHARES = 0.01

#: Tables whose rows go on under the new symbol, and what tells their rows apart beside the symbol.
CARRIED: dict[str, tuple[str, ...]] = {
    "stock_data": ("date",),
    "corporate_actions": ("date", "kind"),
    "rejected_bars": ("date",),
    "price_disagreements": ("date",),
    "price_coverage": ("date",),
    "gaps": ("date",),
    "technical_indicators": ("date",),
    "stale_indicators": ("since",),
    "daily_watchlist": ("scan_date",),
}


def carry_over(connection: DuckDBPyConnection, session: dt.date) -> dict[str, str]:
    """Give what is stored of companies that changed their symbol up to `session` to the new symbols.

    Where the source has already answered for the new symbol, its rows stay and only the others are added. From then on
    the listings before the change name the company by its new symbol (`session_listings`), so that every session asks
    for it under that. Returns the new symbols with a word of evidence.
    """
    rows = connection.execute(_CHANGES, {"session": session, "continues": CONTINUES, "same": SAME_SHARES}).fetchall()
    for date, old, new, name, evidence in rows:
        _record(connection, date, old, new, name, evidence)
        for table, keys in CARRIED.items():
            _carry(connection, table, keys, old, new)
        _join_ranges(connection, old, new)
    return {new: f"was {old} until {date} ({evidence})" for date, old, new, _, evidence in rows}


_CHANGES = """
    WITH changes AS (
        SELECT c.date, c.old_symbol, c.new_symbol, c.name
        FROM symbol_changes c ANTI JOIN ticker_changes t USING (old_symbol, date)
        WHERE c.date <= $session
        QUALIFY count(*) OVER (PARTITION BY c.date, c.old_symbol) = 1
            AND count(*) OVER (PARTITION BY c.date, c.new_symbol) = 1
    ), ended AS (
        SELECT symbol, max_by(close, date) AS close FROM stock_data
        WHERE symbol IN (SELECT old_symbol FROM changes) GROUP BY symbol
    ), last_listed AS (
        SELECT symbol, max_by(last_sale, date) AS last_sale, max_by(market_cap, date) AS market_cap
        FROM symbol_snapshots WHERE symbol IN (SELECT old_symbol FROM changes) GROUP BY symbol
    ), compared AS (
        SELECT c.*, (n.market_cap / n.last_sale) / nullif(o.market_cap / o.last_sale, 0) AS shares,
               coalesce(nullif(n.last_sale - n.net_change, 0), n.last_sale) / coalesce(o.last_sale, e.close) AS price
        FROM changes c
        JOIN last_listed o ON o.symbol = c.old_symbol
        JOIN symbol_snapshots n ON n.date = c.date AND n.symbol = c.new_symbol
        LEFT JOIN ended e ON e.symbol = c.old_symbol
    )
    SELECT date, old_symbol, new_symbol, name,
           CASE WHEN abs(shares - 1) < $same THEN 'the same name and number of shares'
                ELSE format('the same name, and {:.2f} times the last price', price) END
    FROM compared
    WHERE abs(shares - 1) < $same OR price BETWEEN 1 / $continues AND $continues
    ORDER BY date, old_symbol
"""


def _record(connection: DuckDBPyConnection, date: dt.date, old: str, new: str, name: str, evidence: str) -> None:
    """Note the change; a symbol that was carried to `old` before stands under `new`, too."""
    history_carried(connection, old, new, date, evidence)
    connection.execute("UPDATE ticker_changes SET new_symbol = $new WHERE new_symbol = $old", {"old": old, "new": new})
    connection.execute(
        """
        INSERT INTO ticker_changes BY NAME
        SELECT $old AS old_symbol, $new AS new_symbol, $date AS date, $name AS name, $evidence AS evidence,
               coalesce((SELECT max(closed_on) FROM closed_histories WHERE symbol = $old), DATE '0001-01-01') AS since,
               (SELECT count(*) FROM stock_data WHERE symbol = $old) AS bars, now() AS carried_at
        """,
        {"old": old, "new": new, "date": date, "name": name, "evidence": evidence},
    )


def _carry(connection: DuckDBPyConnection, table: str, keys: tuple[str, ...], old: str, new: str) -> None:
    if table in VERSIONED:
        _keep_versions(connection, table, old, new)
    same = " AND ".join(f"o.{key} IS NOT DISTINCT FROM n.{key}" for key in keys)
    connection.execute(
        f"""
        DELETE FROM {table} o USING {table} n
        WHERE o.symbol = $old AND n.symbol = $new AND {same}
        """,
        {"old": old, "new": new},
    )
    moment = ", stored_at = now()" if table in VERSIONED else ""
    connection.execute(f"UPDATE {table} SET symbol = $new{moment} WHERE symbol = $old", {"old": old, "new": new})


def _keep_versions(connection: DuckDBPyConnection, table: str, old: str, new: str) -> None:
    """Keep the rows as they were under the old symbol."""
    reason = ", 'carried over to ' || $new AS reason" if table == "stock_data" else ", $new AS carried_to"
    connection.execute(
        f"""
        INSERT INTO {VERSIONED[table]} BY NAME
        SELECT *{" EXCLUDE (source)" if table == "stock_data" else ""}, now() AS replaced_at{reason}
        FROM {table} WHERE symbol = $old
        """,
        {"old": old, "new": new},
    )


def _join_ranges(connection: DuckDBPyConnection, old: str, new: str) -> None:
    """One span for the symbol that goes on; what was computed of it without the carried bars is computed again."""
    connection.execute(
        """
        INSERT INTO stale_indicators BY NAME
        SELECT symbol, now() AS since, 'history carried over' AS reason FROM price_ranges WHERE symbol = $new
        """,
        {"new": new},
    )
    connection.execute(
        """
        UPDATE price_ranges SET first_asked = least(first_asked, o.first), last_asked = greatest(last_asked, o.last)
        FROM (SELECT first_asked AS first, last_asked AS last FROM price_ranges WHERE symbol = $old) o
        WHERE symbol = $new
        """,
        {"old": old, "new": new},
    )
    _carry_range(connection, old, new)


def _carry_range(connection: DuckDBPyConnection, old: str, new: str) -> None:
    connection.execute(
        """
        DELETE FROM price_ranges
        WHERE symbol = $old AND EXISTS (FROM price_ranges WHERE symbol = $new)
        """,
        {"old": old, "new": new},
    )
    connection.execute("UPDATE price_ranges SET symbol = $new WHERE symbol = $old", {"old": old, "new": new})
