"""Events of the kind `table-updates`: a stage of a session is done, and its rows are there."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.events.outbox import TABLE_UPDATES, add
from pipeline.version import code_version

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The tables whose rows belong to a session, and the column that names it.
COUNTED = {
    "symbol_snapshots": "date",
    "stock_data": "date",
    "technical_indicators": "date",
    "daily_watchlist": "scan_date",
}


def stage_done(connection: DuckDBPyConnection, stage: str, table: str, session: dt.date) -> None:
    """Tell that a stage is done, with the number of the session's rows in its table where they have a session.

    `coverage` is the share of the symbols known to the source that were delivered, null before there are prices.
    """
    counts = {}
    if table in COUNTED:
        query = f"SELECT count(*) FROM {table} WHERE {COUNTED[table]} = ?"
        ((counts[table],),) = connection.execute(query, [session]).fetchall()
    facts = {"stage": stage, "session": session, "table": table, "counts": counts}
    add(
        connection,
        TABLE_UPDATES,
        stage,
        {**facts, "coverage": _coverage(connection, session), "code_version": code_version()},
    )


def _coverage(connection: DuckDBPyConnection, session: dt.date) -> float | None:
    ((share,),) = connection.execute(
        """
        SELECT count(*) FILTER (state IN ('stored', 'not_traded')) / nullif(count(*) FILTER (state <> 'unknown'), 0)
        FROM price_coverage WHERE date = ?
        """,
        [session],
    ).fetchall()
    return None if share is None else round(share, 6)
