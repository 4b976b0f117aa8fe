"""`pipeline watchlist`."""

from __future__ import annotations

import datetime as dt
import pathlib
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from pipeline import calendar, given
from pipeline.cli.arguments import one_day
from pipeline.cli.status import Overview
from pipeline.cli.tables import Column, fitted
from pipeline.cli.terminal import console
from pipeline.database.connection import database_path, reading, records
from pipeline.database.replica import published, replica_path
from pipeline.errors import NothingKnownError
from pipeline.report.hit_groups import short_name
from pipeline.report.page import figure
from pipeline.report.places import report_path

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: By their weight: where a terminal is narrow, the last ones are left out.
COLUMNS = {
    "symbol": Column("Symbol"), "scan_reason": Column("Found by"), "close_price": Column("Close", is_number=True),
    "rsi_14": Column("RSI", is_number=True), "volume_ratio": Column("x mean", is_number=True),
    "name": Column("Name", least=14), "bb_position": Column("Band", is_number=True),
    "market_cap": Column("Cap, $ M", is_number=True), "volume": Column("Volume", is_number=True),
    "sector": Column("Sector", least=10),
}  # fmt: skip
FORMATS = {"close_price": "%.2f", "volume_ratio": "%.1f", "rsi_14": "%.1f", "bb_position": "%.2f"}


@click.command()
@one_day
def command(day: dt.date | None) -> None:
    """Show the watchlist of a session, of the last one that has one, and where database, replica and report lie.

    A session without a watchlist is an error that says why there is none.

    \b
    pipeline watchlist
    pipeline watchlist 2024-02-20
    pipeline watchlist --data-dir demo
    """
    with reading(published()) as connection:
        session = day or last_session(connection)
        if not is_scanned(connection, session):
            raise NothingKnownError(why_none(session))
        rows = records(
            connection, "FROM daily_watchlist WHERE scan_date = ? ORDER BY priority, market_cap DESC, symbol", session
        )
        simulated = connection.execute("SELECT bool_or(source = 'simulated') FROM migrations").fetchone() == (True,)
    screen = console()
    screen.print(as_table(session, rows, simulated, screen.width))
    if not rows:
        click.echo("No scan found a symbol: a valid result.")
    for name, path in {"database": database_path(), "replica": replica_path(), "report": report_path(session)}.items():
        click.echo(f"{name + ':':10}{_relative(path) if path.exists() else 'not made'}")
    for command_line, told in what_next(session, rows):
        click.echo(f"{'next:':10}{command_line}    {told}")


def what_next(session: dt.date, rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Two commands that lead on from the list, each with what it tells."""
    if not rows:
        condition = given.pipeline_command("try", "rsi_14 < 35", str(session))
        return [
            (condition, "what another rule finds"),
            (given.pipeline_command("status", str(session)), "how the run went"),
        ]
    symbol = rows[0]["symbol"]
    return [
        (given.pipeline_command("explain", str(session), symbol), "why it is on the list"),
        (given.pipeline_command("show", symbol), "its chart and its history"),
    ]


def last_session(connection: DuckDBPyConnection) -> dt.date:
    """The newest session that was scanned, whether it had hits or not. Raises NothingKnownError."""
    row = connection.execute("SELECT max(session) FROM finished_stages WHERE stage = 'ScanWatchlist'").fetchone()
    if row is None or row[0] is None:
        raise NothingKnownError(f"no session has been scanned yet; run: {given.luigi_command('DailyPipeline')}")
    session: dt.date = row[0]
    return session


def is_scanned(connection: DuckDBPyConnection, session: dt.date) -> bool:
    query = "SELECT 1 FROM finished_stages WHERE stage = 'ScanWatchlist' AND session = ?"
    return connection.execute(query, [session]).fetchone() is not None


def why_none(day: dt.date) -> str:
    """Why the replica has no watchlist of the day, and what to do.

    Raises SessionNotSettledError and SessionOutOfRangeError for days that nobody could have one of.
    """
    if not calendar.check_session(day):
        around = calendar.around(day)
        return f"{day} was no session, and has no watchlist; the sessions around it are {around}"
    (status,) = Overview().sessions([day])
    again = given.luigi_command("DailyPipeline", "--date", str(day))
    if status.stages["ScanWatchlist"].state == "done":
        return f"{day} has been scanned, but the replica of before is still published; to finish it: {again}"
    if status.reason:
        return f"{day} has no watchlist, for its run failed; {status.reason}\nrun it again: {again}"
    running = [name for name, stage in status.stages.items() if stage.state == "running"]
    if running:
        return (
            f"{day} has no watchlist yet: {running[0]} is running; look: {given.pipeline_command('status', str(day))}"
        )
    if any(stage.state == "done" for stage in status.stages.values()):
        return f"{day} has no watchlist, for its run did not get so far; go on: {again}"
    return f"{day} was never run, and has no watchlist; run it: {again}"


def as_table(session: dt.date, rows: list[dict[str, Any]], simulated: bool, width: int) -> Table:
    note = " (simulated market: companies and prices are invented)" if simulated else ""
    cells = [[_cell(key, row[key]) for key in COLUMNS] for row in rows]
    return fitted(list(COLUMNS.values()), cells, width, f"Watchlist of {session}{note}")


def _cell(key: str, value: Any) -> str:
    if key == "market_cap":
        return f"{(value or 0) / 1e6:,.0f}"
    if key in FORMATS:
        return figure(value, FORMATS[key])
    if key == "name":
        return short_name(value)
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _relative(path: pathlib.Path) -> str:
    return str(path.relative_to(pathlib.Path.cwd())) if path.is_relative_to(pathlib.Path.cwd()) else str(path)
