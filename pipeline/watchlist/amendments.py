"""A list that is stored a second time is amended: what came, what went, and why; and what it said before is kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.events import watchlists
from pipeline.watchlist.hits import beyond_limits
from pipeline.watchlist.scans import CheckedScan

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


def store_watchlist(
    connection: DuckDBPyConnection,
    session: dt.date,
    rows: pa.Table,
    view: pa.Table,
    declared: Sequence[CheckedScan] = (),
) -> int:
    """Replace the session's rows of `daily_watchlist` as a whole; the number of hits come or gone since its last scan.

    `rows` are those of `watchlist_rows`, `view` the view that they were found in by the scans `declared`: without
    these, what a limit has cut off is not told apart. The replaced rows stay in `watchlist_versions`, what came and
    went is told in `watchlist_amendments`, all in the caller's transaction.
    """
    has_scan = bool(connection.execute("FROM watchlist_scans WHERE scan_date = ? LIMIT 1", [session]).fetchall())
    keep_versions(connection, [session])
    connection.register("watchlist_rows", rows)
    connection.register("watchlist_view", view.select(["symbol", "close", "volume"]))
    amended = _amend(connection, session, view, declared)
    connection.execute("INSERT INTO daily_watchlist BY NAME SELECT *, now() AS stored_at FROM watchlist_rows")
    connection.execute(
        "INSERT INTO watchlist_scans (scan_date, scanned_at, hits) VALUES (?, now(), ?)", [session, rows.num_rows]
    )
    watchlists.list_amended(connection, session) if has_scan else watchlists.hits_found(connection, session)
    connection.unregister("watchlist_rows")
    connection.unregister("watchlist_view")
    return amended


def keep_versions(connection: DuckDBPyConnection, sessions: list[dt.date]) -> None:
    """Take the rows of the sessions' lists out of `daily_watchlist`, and keep them as versions."""
    connection.execute(
        """
        INSERT INTO watchlist_versions BY NAME
        SELECT *, now() AS replaced_at FROM daily_watchlist WHERE scan_date IN (SELECT unnest(?::DATE[]))
        """,
        [sessions],
    )
    connection.execute("DELETE FROM daily_watchlist WHERE scan_date IN (SELECT unnest(?::DATE[]))", [sessions])


def withdraw(connection: DuckDBPyConnection, days: list[dt.date], reason: str) -> None:
    """Take away the lists of days that were no sessions: kept as versions, and each hit told as removed."""
    listed = connection.execute(
        """
        INSERT INTO watchlist_amendments BY NAME
        SELECT scan_date, symbol, scan_reason, 'removed' AS change, $reason AS reason, now() AS amended_at
        FROM daily_watchlist WHERE scan_date IN (SELECT unnest($days::DATE[]))
        RETURNING scan_date
        """,
        {"days": days, "reason": reason},
    ).fetchall()
    keep_versions(connection, days)
    for day in sorted({day for (day,) in listed}):
        watchlists.list_amended(connection, day)


def _amend(connection: DuckDBPyConnection, session: dt.date, view: pa.Table, declared: Sequence[CheckedScan]) -> int:
    """Compare the new rows with those of the session's last scan; without one, even of no hits, nothing is amended."""
    ((scanned_at,),) = connection.execute(
        "SELECT max(scanned_at) FROM watchlist_scans WHERE scan_date = ?", [session]
    ).fetchall()
    if scanned_at is None:
        return 0
    connection.register("watchlist_beyond", beyond_limits(view, declared))
    connection.execute(_AMENDMENTS, {"session": session, "scanned_at": scanned_at})
    connection.unregister("watchlist_beyond")
    ((count,),) = connection.execute(
        "SELECT count(*) FROM watchlist_amendments WHERE scan_date = ? AND amended_at = now()", [session]
    ).fetchall()
    return int(count)


_AMENDMENTS = """
    INSERT INTO watchlist_amendments BY NAME
    WITH before AS (
        FROM watchlist_versions WHERE scan_date = $session AND stored_at >= $scanned_at AND carried_to IS NULL
        QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY replaced_at DESC) = 1
    ), replaced AS (
        SELECT symbol, arg_max(close, replaced_at) AS close, arg_max(volume, replaced_at) AS volume
        FROM bar_versions WHERE date = $session AND replaced_at > $scanned_at GROUP BY symbol
    ), changes AS (
        SELECT coalesce(n.symbol, b.symbol) AS symbol, coalesce(n.scan_reason, b.scan_reason) AS scan_reason,
               CASE WHEN b.symbol IS NULL THEN 'added' ELSE 'removed' END AS change,
               coalesce(b.close_price, r.close) AS close_before, coalesce(b.volume, r.volume) AS volume_before,
               b.place AS place_before, b.rule_version
        FROM watchlist_rows n
        FULL JOIN before b ON b.symbol = n.symbol AND b.scan_reason = n.scan_reason
        LEFT JOIN replaced r ON r.symbol = coalesce(n.symbol, b.symbol)
        WHERE n.symbol IS NULL OR b.symbol IS NULL
    )
    SELECT $session AS scan_date, c.symbol, c.scan_reason, c.change, now() AS amended_at, CASE
               WHEN o.place IS NOT NULL AND c.place_before IS NOT NULL
               THEN format('others have moved it out of the first {:,}: place {:,} instead of {:,}',
                           o.places, o.place, c.place_before)
               WHEN v.symbol IS NULL THEN 'it has no bar any more'
               WHEN v.volume <> c.volume_before AND v.close <> c.close_before
               THEN format('volume {:,} instead of {:,}, close {:.2f} instead of {:.2f}',
                           v.volume, c.volume_before, v.close, c.close_before)
               WHEN v.volume <> c.volume_before THEN format('volume {:,} instead of {:,}', v.volume, c.volume_before)
               WHEN v.close <> c.close_before THEN format('close {:.2f} instead of {:.2f}', v.close, c.close_before)
               ELSE 'its bar is as it was: other bars, the listing or the rule have changed' END AS reason
    FROM changes c LEFT JOIN watchlist_view v USING (symbol)
    LEFT JOIN watchlist_beyond o
    ON c.change = 'removed' AND o.symbol = c.symbol AND o.scan = c.scan_reason AND o.rule_version = c.rule_version
"""
