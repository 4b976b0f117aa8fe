"""`pipeline show`."""

from __future__ import annotations

import datetime as dt
import sys

import click

from pipeline.cli.arguments import SYMBOL, one_day
from pipeline.database.connection import reading
from pipeline.database.replica import published
from pipeline.host.files import write_text
from pipeline.report.symbol_page import render_symbol, symbol_path


@click.command()
@click.argument("symbol", type=SYMBOL)
@one_day
@click.option("--open/--no-open", "opens", default=None, help="Open the page; default: when called from a terminal.")
def command(symbol: str, day: dt.date | None, opens: bool | None) -> None:
    """Make the page of a symbol: chart, indicators, hits, splits and dividends, corrections, coverage over time.

    Of the bars up to DATE, or of all. Reads the replica.

    \b
    pipeline show NVDA
    pipeline show BRK/B 2024-02-20 --no-open
    """
    with reading(published()) as connection:
        html = render_symbol(connection, symbol, day)
    page = symbol_path(symbol)
    write_text(page, html)
    click.echo(f"page: {page}")
    if sys.stdout.isatty() if opens is None else opens:
        click.launch(str(page))
