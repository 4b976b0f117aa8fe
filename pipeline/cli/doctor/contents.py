"""What the database holds: its version, rows that are there twice, bars that are missing, and what is to be done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline import calendar, given
from pipeline.cli.doctor.finding import FAILURE, NOTE, WARNING, Finding
from pipeline.database.connection import check_version, database_path, duplicated_rows, reading, records
from pipeline.database.schema import MIGRATIONS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Sessions that are looked at for what was rejected, and for rows that are there twice.
RECENT = 20


def database() -> Iterator[Finding]:
    if not database_path().exists():
        yield Finding(
            FAILURE,
            "database",
            f"{database_path()} does not exist: nothing has been run yet",
            given.luigi_command("DailyPipeline"),
        )
        return
    with reading() as connection:
        applied = {name for (name,) in connection.execute("SELECT name FROM migrations").fetchall()}
        check_version(connection, applied)
        missing = [name for name, _ in MIGRATIONS if name not in applied]
        if missing:
            yield Finding(
                NOTE, "database", f"of an older version; the next run applies {', '.join(missing)}, then ask again"
            )
            return
        since = calendar.session_before(_newest(connection), RECENT)
        for table, count in duplicated_rows(connection, since).items():
            yield Finding(FAILURE, "database", f"{count:,} rows of {table} are there twice")
        yield from _rejected(connection)
        yield from _failed(connection)
        yield from _to_do(connection)


def _rejected(connection: DuckDBPyConnection) -> Iterator[Finding]:
    since = calendar.session_before(_newest(connection), RECENT)
    rows = records(
        connection, "SELECT symbol, date, rule FROM rejected_bars WHERE date > ? ORDER BY date DESC, symbol", since
    )
    if rows:
        first = ", ".join(f"{row['symbol']} {row['date']} ({row['rule']})" for row in rows[:5])
        yield Finding(
            WARNING,
            "bars",
            f"{len(rows):,} bars of the last {RECENT} sessions were rejected: {first}",
            given.pipeline_command("explain", str(rows[0]["date"]), rows[0]["symbol"]),
        )


def _failed(connection: DuckDBPyConnection) -> Iterator[Finding]:
    newest = _newest(connection)
    rows = records(
        connection,
        """
        SELECT symbol, reason
        FROM price_coverage
        WHERE date = ? AND state = 'failed' ORDER BY symbol
        """,
        newest,
    )
    if rows:
        first = ", ".join(f"{row['symbol']} ({row['reason']})" for row in rows[:5])
        reset = given.pipeline_command("reset", str(newest), "--from", "CollectPrices")
        command = f"{reset} && {given.pipeline_command('retry', str(newest))}"
        yield Finding(WARNING, "bars", f"{len(rows):,} symbols of {newest} failed: {first}", command)


def _newest(connection: DuckDBPyConnection) -> dt.date:
    row = connection.execute("SELECT max(date) FROM price_coverage").fetchone()
    return row[0] if row and row[0] else calendar.latest_session()


def _to_do(connection: DuckDBPyConnection) -> Iterator[Finding]:
    stale = records(
        connection, "SELECT count(DISTINCT date) AS sessions, min(date) AS first, max(date) AS last FROM stale_sessions"
    )[0]
    if stale["sessions"]:
        text = (
            f"the watchlists of {stale['sessions']} sessions from {stale['first']} to {stale['last']} "
            f"rest on bars that have changed since"
        )
        yield Finding(WARNING, "sessions", text, given.pipeline_command("backfill", "--stale"))
    (alerts,) = connection.execute("SELECT count(*) FROM alerts WHERE resolved_at IS NULL").fetchone() or (0,)
    if alerts:
        yield Finding(
            WARNING,
            "alerts",
            f"{alerts} alerts are not resolved",
            given.pipeline_command("alerts"),
        )
