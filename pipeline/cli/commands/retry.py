"""`pipeline retry`."""

from __future__ import annotations

import datetime as dt

import click

from pipeline import calendar
from pipeline.cli.launch import become, luigi_command
from pipeline.runs import central


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("date", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[LUIGI OPTIONS]...")
def command(date: dt.datetime, options: tuple[str, ...]) -> None:
    """Run a session again that failed: what is done stays, the rest is tried anew.

    Tasks that luigid has given up after too many failures are enabled again first. The exit code is Luigi's.

    \b
    pipeline retry 2024-02-20
    pipeline retry 2024-02-20 --local-scheduler --quality-min-coverage 0.9
    """
    session = date.date()
    calendar.check_session(session)
    if "--local-scheduler" not in options and central.answers():
        for task in central.known_tasks("DISABLED"):
            if session in task.sessions:
                central.enable_again(task)
                click.echo(f"{task.family} of {session} is enabled again", err=True)
    become(luigi_command("DailyPipeline", "--date", str(session), *options))
