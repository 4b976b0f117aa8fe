"""`pipeline alerts`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

import click
from rich.console import Group, RenderableType
from rich.table import Table

from pipeline import calendar, given
from pipeline.cli.tables import Column, as_records, fits
from pipeline.cli.terminal import console, escape, plain
from pipeline.runs.alerts import Alert, listed

COLUMNS = [Column(heading) for heading in ("Alert", "Raised", "Date", "Task", "What", "Told", "Resolved")]


@click.command()
@click.option("--days", type=click.IntRange(min=1), help="All that were raised in so many days, resolved ones too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def command(days: int | None, as_json: bool) -> None:
    """List the alerts that are open, from the database itself: the replica is older than they are.

    An alert is over when its session, or the stage that it is about, is done after all.

    \b
    pipeline alerts
    pipeline alerts --days 7 --json
    """
    found = listed(days)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(alert) for alert in found], indent=1, default=str))
        return
    if not found:
        click.echo("no alert is open" if days is None else f"no alert was raised in {days} days")
        return
    screen = console()
    screen.print(as_text(found, screen.width))
    for alert in found:
        screen.print(f"[red]{alert.id}[/] {escape(alert.message)}")
    again = sorted({(str(alert.date), alert.pipeline) for alert in found if alert.date and not alert.resolved_at})
    for date, pipeline in again:
        screen.print(f"run again: {escape(given.retry(pipeline, date))}")


def as_text(alerts: list[Alert], width: int) -> RenderableType:
    """A table where it has room, else a few lines for each alert, so that no name of a stage or a kind is cut."""
    rows = [
        [
            str(alert.id), calendar.local(alert.raised_at), str(alert.date or ""), alert.task or "", alert.type,
            _moment(alert.told_at), _moment(alert.resolved_at),
        ]
        for alert in alerts
    ]  # fmt: skip
    if not fits(COLUMNS, rows, width):
        return Group(*as_records(COLUMNS, rows))
    table = Table(*(column.heading for column in COLUMNS), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(plain, row))
    return table


def _moment(moment: dt.datetime | None) -> str:
    return calendar.local(moment) if moment else ""
