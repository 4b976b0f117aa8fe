"""`pipeline status`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import textwrap
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from pipeline import calendar, given
from pipeline.cli.arguments import one_day
from pipeline.cli.status import Overview, SessionStatus, StageState
from pipeline.cli.terminal import console, escape
from pipeline.errors import NothingKnownError
from pipeline.feed import delivery
from pipeline.tasks.stages import STAGES

COLOURS = {"done": "green", "running": "cyan", "pending": "dim"}
#: States that are no failure.
WAITING = tuple(COLOURS)


@click.command()
@one_day
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of sessions, the newest ones that were worked on.",
)
@click.option("--short/--stages", "is_short", default=None, help="Default: short where the stages have no room.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list, with every stage's start, duration and reason.")
def command(day: dt.date | None, days: int, is_short: bool | None, as_json: bool) -> None:
    """Show how far each session is, or that of DATE: stages, duration, coverage, hits, and why one failed.

    A stage that is done shows its seconds, and after the stroke its usual ones: the median of the last 20 runs. In
    short a session has one word instead. Works while a run goes on, with luigid or without.

    \b
    pipeline status
    pipeline status --days 60 --short
    pipeline status 2024-02-20 --json
    """
    if day and not calendar.check_session(day):
        around = calendar.around(day)
        raise NothingKnownError(f"{day} was no session; the sessions around it are {around}")
    overview = Overview()
    found = overview.sessions([day] if day else overview.newest(days))
    if as_json:
        click.echo(json.dumps([as_facts(status) for status in found], indent=1, default=_text))
        return
    screen = console()
    table = as_short_table(found) if is_short else as_table(found)
    if is_short is None and measured(screen, table) > screen.width:
        table = as_short_table(found)
    screen.print(table)
    for status in found:
        if status.reason:
            screen.print(f"[red]{status.session}[/] {escape(status.reason)}")
        if status.healed:
            screen.print(
                f"{status.session} {status.healed} of {status.audited} audited histories differed and were healed"
            )
    _say_never_run(found)
    for line in delivery.standing():
        if line["waiting"]:
            since = calendar.local(line["since"])
            click.echo(
                f"{line['waiting']:,} events wait for {line['transport']}, the oldest since {since}: "
                "pipeline events --check"
            )


def measured(screen: Console, table: Table) -> int:
    """The width of the table with every cell whole."""
    return Measurement.get(screen, screen.options.update(width=10_000), table).maximum


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
        table.add_row(_session(status), *(_cell(stage) for stage in status.stages.values()), *_figures(status))
    return table


def as_short_table(found: list[SessionStatus]) -> Table:
    """A line for each session: how far it is, in words."""
    table = Table("Session", "State", box=None, pad_edge=False)
    for heading in ("seconds", "coverage", "bars", "hits"):
        table.add_column(heading, justify="right")
    for status in found:
        table.add_row(_session(status), _state(status), *_figures(status))
    return table


def _state(status: SessionStatus) -> str:
    """In words: done, running indicators, failed at prices: why, to do from prices on, never run."""
    stages = {one.heading: status.stages[one.__name__] for one in STAGES}
    running = next((heading for heading, stage in stages.items() if stage.state == "running"), "")
    failed = next((heading for heading, stage in stages.items() if stage.state not in WAITING), "")
    pending = next((heading for heading, stage in stages.items() if stage.state == "pending"), "")
    if running:
        return f"[{COLOURS['running']}]running {running}[/]"
    if failed:
        reason = first_words(stages[failed].reason)
        return f"[red]{stages[failed].state} at {failed}{': ' if reason else ''}{escape(reason)}[/]"
    if pending:
        is_begun = any(stage.state == "done" for stage in stages.values())
        return f"[{COLOURS['pending']}]{f'to do from {pending} on' if is_begun else 'never run'}[/]"
    return f"[{COLOURS['done']}]done[/]"


def first_words(text: str, longest: int = 28) -> str:
    """The beginning of a reason, up to a whole word."""
    return textwrap.shorten(text, longest, placeholder=" …")


def _session(status: SessionStatus) -> str:
    return f"{status.session}{' stale' if status.is_stale else ''}"


def _figures(status: SessionStatus) -> tuple[str, ...]:
    return (
        f"{status.seconds:.1f}" if status.seconds else "",
        "" if status.coverage is None else f"{status.coverage:.2%}",
        f"{status.symbols.get('stored', 0):,}" if status.symbols else "",
        "" if status.hits is None else str(status.hits),
    )


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
