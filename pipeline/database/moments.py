"""The tables as they were at a moment of the past, of which all that was replaced since is kept.

A row says from when on the database has had it (`stored_at`, null: from before this was kept), a version until when
(`replaced_at`). Both are the beginning of the transaction, and one process at a time writes; so a copy of the database
that was taken at the moment, between two transactions, has the same rows.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.database.sql import identifier

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Tables whose rows are replaced, and where the replaced ones are kept.
VERSIONED = {"stock_data": "bar_versions", "daily_watchlist": "watchlist_versions"}
#: Tables that only grow, and the column that says when.
GROWING = {
    "bar_versions": "replaced_at",
    "basis_changes": "changed_at",
    "watchlist_versions": "replaced_at",
    "watchlist_scans": "scanned_at",
    "watchlist_amendments": "amended_at",
    "audits": "audited_at",
}
#: Everything that can be asked as of a moment.
KEPT = (*VERSIONED, *GROWING)


def go_back(connection: DuckDBPyConnection, moment: dt.datetime) -> None:
    """Temporary views under the names of KEPT: on this connection the tables are as they were at the moment."""
    at = f"TIMESTAMPTZ '{moment.astimezone(dt.UTC).isoformat()}'"
    for table, column in GROWING.items():
        base = _base(connection, table)
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS FROM {base} WHERE {column} <= {at}")
    for table, versions in VERSIONED.items():
        columns = ", ".join(_as_of(table, name, at) for name in _columns(connection, table))
        rows = " UNION ALL BY NAME ".join(
            f"SELECT {columns} FROM {_base(connection, name)} WHERE coalesce(stored_at <= {at}, true){until}"
            for name, until in ((table, ""), (versions, f" AND replaced_at > {at}"))
        )
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS {rows}")


def _as_of(table: str, column: str, at: str) -> str:
    """The column, without what the confirmation of a bar, which updates its row, has set in it since."""
    if (table, column) == ("stock_data", "confirmed_at"):
        return f"CASE WHEN confirmed_at <= {at} THEN confirmed_at END AS confirmed_at"
    if (table, column) == ("stock_data", "is_final"):
        return f"is_final AND coalesce(confirmed_at <= {at}, true) AS is_final"
    return column


def _base(connection: DuckDBPyConnection, table: str) -> str:
    """The table itself, whatever view has its name."""
    ((name,),) = connection.execute("SELECT current_database()").fetchall()
    return f"{identifier(name)}.main.{table}"


def _columns(connection: DuckDBPyConnection, table: str) -> list[str]:
    rows = connection.execute(
        """
        SELECT column_name FROM duckdb_columns()
        WHERE database_name = current_database() AND table_name = ? ORDER BY column_index
        """,
        [table],
    ).fetchall()
    return [name for (name,) in rows]
