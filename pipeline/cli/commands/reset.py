"""`pipeline reset`."""

from __future__ import annotations

import datetime as dt

import click

from pipeline import given
from pipeline.cli import reset
from pipeline.cli.arguments import DAY
from pipeline.tasks.stages import stage_names


@click.command()
@click.argument("dates", nargs=-1, required=True, type=DAY, metavar="DATE...")
@click.option(
    "--from",
    "first",
    required=True,
    type=click.Choice(stage_names()),
    help="The first stage to do again; all after it follow.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(dates: tuple[dt.date, ...], first: str, yes: bool) -> None:
    """Undo a stage of a session and all stages after it, so that the next run does them again.

    Rows and markers go, bars and listings stay: from CollectPrices on, the source is asked for the session anew, and
    its answer replaces what is stored (with [market] offline: what lies in raw/).

    \b
    pipeline reset 2024-02-20 --from ScanWatchlist
    pipeline reset 2024-02-20 2024-02-21 --from CollectPrices --yes
    pipeline retry 2024-02-20
    """
    plan = reset.plan(sorted(set(dates)), first)
    days = ", ".join(str(session) for session in plan.sessions)
    rows = ", ".join(f"{count:,} of {table}" for table, count in plan.rows.items()) or "none"
    click.echo(
        f"sessions:  {days}\nstages:    {', '.join(stage.__name__ for stage in plan.stages)}\n"
        f"markers:   {plan.markers:,}\nrows:      {rows}"
    )
    if not yes:
        click.confirm("Undo them?", abort=True)
    reset.carry_out(plan)
    click.echo(
        "\n".join(f"undone; run again: {given.pipeline_command('retry', str(session))}" for session in plan.sessions)
    )
