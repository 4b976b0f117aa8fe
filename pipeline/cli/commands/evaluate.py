"""`pipeline evaluate`."""

from __future__ import annotations

import datetime as dt
import pathlib
from typing import TYPE_CHECKING

import click
from rich.table import Table

from pipeline import given
from pipeline.cli.arguments import DAY
from pipeline.cli.tables import Column, fitted
from pipeline.cli.terminal import console
from pipeline.config import market
from pipeline.database.connection import reading
from pipeline.database.replica import published
from pipeline.errors import NothingKnownError
from pipeline.host.files import write_text
from pipeline.report.evaluation_page import render_evaluation
from pipeline.report.places import evaluation_path
from pipeline.watchlist.evaluation import Evaluation, evaluate
from pipeline.watchlist.intervals import Estimate
from pipeline.watchlist.scans import configured_scans

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@click.command()
@click.argument("start", type=DAY, required=False, metavar="[START]")
@click.argument("end", type=DAY, required=False, metavar="[END]")
@click.option("--start", "named_start", type=DAY, help="The same as START.")
@click.option("--stop", "named_stop", type=DAY, help="The same as END: the last session, included.")
@click.option("--strict", is_flag=True, help="Leave sessions out whose listing is of a later day.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    help="The page; default: reports/evaluation.html.",
)
def command(
    start: dt.date | None,
    end: dt.date | None,
    named_start: dt.date | None,
    named_stop: dt.date | None,
    strict: bool,
    output: pathlib.Path | None,
) -> None:
    """Judge each rule by what its hits did next, and make a page of it.

    Every rule is applied, as it is configured now, to the stored sessions from START to END, both included, or to all.
    Its hits are compared, after 1, 5 and 20 sessions, with all symbols of their session. Reads the replica.

    \b
    pipeline evaluate
    pipeline evaluate 2023-09-01 2024-02-20
    pipeline evaluate 2023-09-01 2024-02-20 --set scans.extra=mine.toml
    """
    declared = configured_scans()
    with reading(published()) as connection:
        first, last = stored_range(connection)
        found = evaluate(connection, start or named_start or first, end or named_stop or last, declared, strict)
    show(found)
    page = output or evaluation_path()
    write_text(page, render_evaluation(found, declared, market().source == "simulated"))
    click.echo(f"page: {page}")


def stored_range(connection: DuckDBPyConnection) -> tuple[dt.date, dt.date]:
    """The first and the last session with indicators. Raises NothingKnownError where there is none."""
    first, last = connection.execute("SELECT min(date), max(date) FROM technical_indicators").fetchall()[0]
    if first is None:
        raise NothingKnownError(f"no session has been run yet; run: {given.luigi_command('DailyPipeline')}")
    return first, last


def show(found: Evaluation) -> None:
    screen = console()
    screen.print(as_table(found, screen.width))
    click.echo(
        "After so many sessions; in brackets the 95 % interval. * remains when all results are judged at once "
        "(false discoveries held at 5 %)"
    )
    if found.later_listings:
        screen.print(
            f"{found.later_listings} of {found.sessions} sessions used a listing of a later day "
            "(--strict leaves them out)"
        )
    if found.corrected:
        screen.print(f"{found.corrected:,} rows are left out: their closes were put right after the next open")


def as_table(found: Evaluation, width: int) -> Table:
    columns = [
        Column(heading, is_number=heading != "Rule")
        for heading in ("Rule", "After", "Hits", "Past it", "Mean excess, %", "Hit rate, %", "Median return, %")
    ]
    cells = [
        [
            each.rule, str(each.horizon), f"{each.hits:,}", f"{each.mature:,}", _estimate(each.excess, "+.2f"),
            _estimate(each.hit_rate, ".1f"), "–" if each.median_return is None else f"{100 * each.median_return:+.2f}",
        ] for each in found.outcomes
    ]  # fmt: skip
    return fitted(columns, cells, width, f"{found.first} to {found.last}, {found.sessions} sessions")


def _estimate(value: Estimate | None, form: str) -> str:
    if value is None:
        return "–"
    if value.low is None or value.high is None:
        return f"{100 * value.mean:{form}}, too few blocks"
    interval = f"({100 * value.low:{form}} to {100 * value.high:{form}})"
    return f"{100 * value.mean:{form}} {interval}{' *' if value.is_discovery else '  '}"
