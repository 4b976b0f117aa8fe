"""The list of a report page: hits grouped by rule, each with what tells it from the others."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.calendar import session_before, sessions_between
from pipeline.database.connection import records
from pipeline.report.drawings import SPARK, sparkline
from pipeline.watchlist.scans import CheckedScan, configured_scans
from pipeline.watchlist.track_record import track_records

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipeline.report.series import Series

Row = dict[str, Any]

#: Sessions that are looked back upon for how long a symbol has been on the list.
LONGEST = 20
_KIND = re.compile(
    r"[\s,-]+(?:Class [A-Z] )?"
    r"(?:Common Stock|Common Shares?|Ordinary Shares?|American Depositary Shares?|Depositary Shares?)\b.*$",
    re.IGNORECASE,
)


def short_name(name: str | None) -> str:
    """The company's name without the kind of its shares, unless nothing else is left."""
    return _KIND.sub("", name or "") or name or ""


def listed_symbols(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> list[str]:
    """The symbols that are on the list of any of the sessions."""
    query = "SELECT DISTINCT symbol FROM daily_watchlist WHERE scan_date IN (SELECT unnest(?::DATE[]))"
    return [symbol for (symbol,) in connection.execute(query, [list(sessions)]).fetchall()]


def hits(connection: DuckDBPyConnection, session: dt.date, changed: Sequence[Row]) -> list[Row]:
    """The hits by rule and in its order, with those of the `amendments` that are theirs; needs `day_view`.

    `days_listed` counts the sessions in a row, this one included, that the symbol has been on the list; None where the
    session before has none to compare with.
    """
    rows = records(
        connection,
        """
        SELECT w.*, v.close / nullif(v.prev_close, 0) - 1 AS change
        FROM daily_watchlist w LEFT JOIN day_view v ON v.date = w.scan_date AND v.symbol = w.symbol
        WHERE scan_date = ? ORDER BY w.priority, w.scan_reason, w.place, w.market_cap DESC, w.symbol
        """,
        session,
    )
    listed = _listed(connection, session)
    before = sessions_between(session_before(session, LONGEST), session)[-2::-1]
    unsure = _provisional(connection, session)
    for row in rows:
        row["values"] = json.loads(row["fired"] or "{}")
        row["short_name"] = short_name(row["name"])
        row["days_listed"] = _days_listed(row["symbol"], before, listed)
        row["is_provisional"] = row["symbol"] in unsure
        row["amendments"] = [each for each in changed if each["symbol"] == row["symbol"]]
    return rows


def _listed(connection: DuckDBPyConnection, session: dt.date) -> dict[dt.date, set[str]]:
    """The symbols on the list of each scanned session before this one."""
    return dict(
        connection.execute(
            """
            SELECT f.session, list(w.symbol)
            FROM finished_stages f LEFT JOIN daily_watchlist w ON w.scan_date = f.session
            WHERE f.stage = 'ScanWatchlist' AND f.session >= ? AND f.session < ? GROUP BY f.session
            """,
            [session_before(session, LONGEST), session],
        ).fetchall()
    )


def _days_listed(symbol: str, before: list[dt.date], listed: Mapping[dt.date, set[str]]) -> int | None:
    """`before` are the sessions before this one, the newest first."""
    if before[0] not in listed:
        return None
    missing = next((number for number, day in enumerate(before) if symbol not in listed.get(day, ())), len(before))
    return missing + 1


def groups(
    connection: DuckDBPyConnection, session: dt.date, rows: list[Row], charted: Mapping[str, Series]
) -> list[Row]:
    """The rules that found something, by priority, with their hits. Needs `listed_hits` (`track_record.prepare`)."""
    rules = {scan.version: scan for scan in configured_scans()}
    known = track_records(connection, session)
    for row in rows:
        closes = charted[row["symbol"]].close[-SPARK:].tolist() if row["symbol"] in charted else []
        row["spark"] = sparkline(closes)
    chosen = dict.fromkeys((row["scan_reason"], row["rule_version"]) for row in rows)
    return [_group(name, rules.get(version), known.get(version), rows) for name, version in chosen]


def _group(name: str, rule: CheckedScan | None, record: Any, rows: list[Row]) -> Row:
    own = [row for row in rows if row["scan_reason"] == name]
    return {
        "name": name,
        "description": rule.description if rule else "a rule that has been changed since",
        "order": rule.order if rule else "its order",
        "limit": rule.limit if rule else own[0]["found"] or len(own),
        "found": own[0]["found"],
        "elsewhere": sum(name in (row["also_found_by"] or ()) for row in rows),
        "record": record,
        "rows": own,
    }


def _provisional(connection: DuckDBPyConnection, session: dt.date) -> set[str]:
    """Symbols whose bar of the session may still be corrected, as far as the database tells them apart."""
    if not has_column(connection, "stock_data", "is_final"):
        return set()
    rows = connection.execute("SELECT symbol FROM stock_data WHERE date = ? AND NOT is_final", [session]).fetchall()
    return {symbol for (symbol,) in rows}


def amendments(connection: DuckDBPyConnection, session: dt.date) -> list[Row]:
    """What corrected bars changed in the list after it was made."""
    if not has_column(connection, "watchlist_amendments", "scan_date"):
        return []
    return records(connection, "FROM watchlist_amendments WHERE scan_date = ? ORDER BY amended_at, symbol", session)


def has_column(connection: DuckDBPyConnection, table: str, column: str) -> bool:
    """Whether the database, which may be of an older version, has the column."""
    query = "SELECT 1 FROM duckdb_columns() WHERE table_name = ? AND column_name = ?"
    return connection.execute(query, [table, column]).fetchone() is not None
