"""`pipeline watchlist`."""

from __future__ import annotations

import datetime as dt
import pathlib
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from pipeline.cli.terminal import console, plain
from pipeline.database.connection import database_path, reading, records
from pipeline.database.replica import replica_path
from pipeline.report.page import figure, report_path

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COLUMNS = {
    "symbol": "Symbol", "name": "Name", "scan_reason": "Found by", "close_price": "Close", "volume": "Volume",
    "volume_ratio": "x mean", "rsi_14": "RSI", "bb_position": "Band", "market_cap": "Cap, $ M",
}  # fmt: skip
FORMATS = {"close_price": "%.2f", "volume_ratio": "%.1f", "rsi_14": "%.1f", "bb_position": "%.2f"}


@click.command()
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="Session; default: the last one with a watchlist.")
def command(date: dt.datetime | None) -> None:
    """Show the watchlist of a session, and where database, replica and report lie.

    \b
    pipeline watchlist
    pipeline watchlist --date 2024-02-20
    pipeline watchlist --data-dir demo
    """
    source = replica_path()
    if not source.exists():
        raise click.ClickException(f"{source} does not exist; run: luigi --module pipeline DailyPipeline")
    with reading(source) as connection:
        session = date.date() if date else last_session(connection)
        rows = records(
            connection, "FROM daily_watchlist WHERE scan_date = ? ORDER BY priority, market_cap DESC, symbol", session
        )
        simulated = connection.execute("SELECT bool_or(source = 'simulated') FROM migrations").fetchone() == (True,)
    console().print(as_table(session, rows, simulated))
    for name, path in {"database": database_path(), "replica": source, "report": report_path(session)}.items():
        click.echo(f"{name + ':':10}{_relative(path)}")


def last_session(connection: DuckDBPyConnection) -> dt.date:
    """The newest session that was scanned, whether it had hits or not."""
    row = connection.execute("SELECT max(session) FROM finished_stages WHERE stage = 'ScanWatchlist'").fetchone()
    if row is None or row[0] is None:
        raise click.ClickException("no session has been scanned yet; run: luigi --module pipeline DailyPipeline")
    return row[0]


def as_table(session: dt.date, rows: list[dict[str, Any]], simulated: bool) -> Table:
    note = " (simulated market: companies and prices are invented)" if simulated else ""
    table = Table(
        title=f"Watchlist of {session}{note}", caption=None if rows else "No scan found a symbol: a valid result."
    )
    for key, heading in COLUMNS.items():
        table.add_column(
            heading,
            justify="left" if key in ("symbol", "name", "scan_reason") else "right",
            no_wrap=True,
            min_width=len("bollinger_lower_touch") if key == "scan_reason" else None,
            overflow="ellipsis",
        )
    for row in rows:
        table.add_row(*(plain(_cell(key, row[key])) for key in COLUMNS))
    return table


def _cell(key: str, value: Any) -> str:
    if key == "market_cap":
        return f"{(value or 0) / 1e6:,.0f}"
    if key in FORMATS:
        return figure(value, FORMATS[key])
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _relative(path: pathlib.Path) -> str:
    return str(path.relative_to(pathlib.Path.cwd())) if path.is_relative_to(pathlib.Path.cwd()) else str(path)
