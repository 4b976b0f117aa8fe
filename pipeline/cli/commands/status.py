"""`pipeline status`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import click
from rich.table import Table

from pipeline import calendar, given
from pipeline.cli.status import Overview, SessionStatus, StageState
from pipeline.cli.terminal import console, escape
from pipeline.tasks.stages import STAGES

COLOURS = {"done": "green", "running": "cyan", "pending": "dim"}


@click.command()
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of sessions, the newest ones that were worked on.",
)
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="One session instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list, with every stage's start, duration and reason.")
def command(days: int, date: dt.datetime | None, as_json: bool) -> None:
    """Show how far each session is: stages, duration, coverage, hits, and why one failed.

    A stage that is done shows its seconds, and after the stroke its usual ones: the median of the last 20 runs. Works
    while a run goes on, with luigid or without.

    \b
    pipeline status
    pipeline status --days 60
    pipeline status --date 2024-02-20 --json
    """
    overview = Overview()
    found = overview.sessions([date.date()] if date else overview.newest(days))
    if as_json:
        click.echo(json.dumps([as_facts(status) for status in found], indent=1, default=_text))
        return
    screen = console()
    screen.print(as_table(found))
    for status in found:
        if status.reason:
            screen.print(f"[red]{status.session}[/] {escape(status.reason)}")
    _say_never_run(found)


def as_facts(status: SessionStatus) -> dict[str, Any]:
    """What --json prints of a session."""
    derived = {"is_done": status.is_done, "seconds": status.seconds, "reason": status.reason}
    return dataclasses.asdict(status) | derived


def as_table(found: list[SessionStatus]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in [
        "Session",
        *(stage.heading for stage in STAGES),
        "seconds",
        "coverage",
        "bars",
        "hits",
    ]:
        table.add_column(heading, justify="right" if heading in ("seconds", "coverage", "bars", "hits") else "left")
    for status in found:
        table.add_row(
            f"{status.session}{' stale' if status.is_stale else ''}",
            *(_cell(stage) for stage in status.stages.values()),
            f"{status.seconds:.1f}" if status.seconds else "",
            "" if status.coverage is None else f"{status.coverage:.2%}",
            f"{status.symbols.get('stored', 0):,}" if status.symbols else "",
            "" if status.hits is None else str(status.hits),
        )
    return table


def _cell(stage: StageState) -> str:
    colour = COLOURS.get(stage.state, "red")
    text = {"done": "done", "pending": "-"}.get(stage.state, stage.state)
    if stage.state == "running":
        text = f"{stage.percent} %" if stage.percent is not None else f"running {stage.seconds or 0:.0f} s"
    elif stage.seconds is not None and stage.state == "done":
        usual = f"/{stage.usual_seconds:.1f}" if stage.usual_seconds is not None else ""
        text = f"{stage.seconds / stage.combined:.1f}{usual} s"
    return f"[{colour}]{text}[/]"


def _say_never_run(found: list[SessionStatus]) -> None:
    """Name the sessions between those shown that nobody has run."""
    days = {status.session for status in found}
    missing = [day for day in calendar.sessions_between(min(days), max(days)) if day not in days]
    if missing:
        click.echo(
            f"{len(missing)} sessions between {missing[0]} and {missing[-1]} were never run: "
            f"{given.pipeline_command('backfill', str(missing[0]), str(missing[-1]))}"
        )


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.date | dt.datetime) else str(value)
