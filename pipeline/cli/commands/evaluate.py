"""`pipeline evaluate`."""

from __future__ import annotations

import datetime as dt
import pathlib

import click
from rich.table import Table

from pipeline.cli.terminal import console, plain
from pipeline.config import market
from pipeline.database.connection import reading
from pipeline.database.replica import published
from pipeline.host.files import write_text
from pipeline.report.evaluation_page import render_evaluation
from pipeline.report.page import evaluation_path
from pipeline.watchlist.evaluation import Evaluation, evaluate
from pipeline.watchlist.intervals import Estimate
from pipeline.watchlist.scans import configured_scans

DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.option("--start", type=DAY, required=True, help="First session.")
@click.option("--stop", type=DAY, required=True, help="Last session, included.")
@click.option("--strict", is_flag=True, help="Leave sessions out whose listing is of a later day.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    help="The page; default: reports/evaluation.html.",
)
def command(start: dt.datetime, stop: dt.datetime, strict: bool, output: pathlib.Path | None) -> None:
    """Judge each rule by what its hits did next, and make a page of it.

    Every rule is applied to the stored sessions of the range as it is configured now. Its hits are compared, after 1, 5
    and 20 sessions, with the median of all symbols of their session. Reads the replica.

    \b
    pipeline evaluate --start 2023-09-01 --stop 2024-02-20
    pipeline evaluate --start 2023-09-01 --stop 2024-02-20 --set scans.extra=mine.toml
    """
    declared = configured_scans()
    with reading(published()) as connection:
        found = evaluate(connection, start.date(), stop.date(), declared, strict)
    screen = console()
    screen.print(as_table(found))
    if found.later_listings:
        screen.print(
            f"{found.later_listings} of {found.sessions} sessions used a listing of a later day (--strict leaves them out)"
        )
    page = output or evaluation_path()
    write_text(page, render_evaluation(found, declared, market().source == "simulated"))
    click.echo(f"page: {page}")


def as_table(found: Evaluation) -> Table:
    table = Table(
        title=f"{found.first} to {found.last}, {found.sessions} sessions; in brackets the 95 % interval",
        caption="* remains when all results are judged at once (false discoveries held at 5 %)",
    )
    for heading in ("Rule", "Sessions", "Hits", "Past it", "Median return, %", "Mean excess, %", "Hit rate, %"):
        table.add_column(heading, justify="left" if heading == "Rule" else "right")
    for each in found.outcomes:
        median = "–" if each.median_return is None else f"{100 * each.median_return:+.2f}"
        table.add_row(
            plain(each.rule), str(each.horizon), f"{each.hits:,}", f"{each.mature:,}", median,
            _estimate(each.excess, "+.2f"), _estimate(each.hit_rate, ".1f"),
        )  # fmt: skip
    return table


def _estimate(value: Estimate | None, form: str) -> str:
    if value is None:
        return "–"
    if value.low is None or value.high is None:
        return f"{100 * value.mean:{form}}, too few blocks"
    interval = f"({100 * value.low:{form}} to {100 * value.high:{form}})"
    return f"{100 * value.mean:{form}} {interval}{' *' if value.is_discovery else '  '}"
