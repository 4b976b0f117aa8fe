"""`pipeline retry`."""

from __future__ import annotations

import datetime as dt

import click
import luigi.configuration

from pipeline import calendar, given
from pipeline.cli.arguments import DAY
from pipeline.cli.launch import become, luigi_command
from pipeline.runs import central, command_line


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("date", type=DAY, metavar="DATE")
@click.option(
    "--task",
    type=click.Choice(given.RETRIED),
    default="DailyPipeline",
    show_default=True,
    help="What is to be run.",
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[LUIGI OPTIONS]...")
def command(date: dt.date, task: str, options: tuple[str, ...]) -> None:
    """Run a session again that failed: what is done stays, the rest is tried anew.

    Tasks that luigid has given up after too many failures are enabled again first. The exit code is Luigi's.

    \b
    pipeline retry 2024-02-20
    pipeline retry 2024-02-20 --task RedisWatchlistSync
    pipeline retry 2024-02-20 --local-scheduler --quality-min-coverage 0.9
    """
    session = date
    if not calendar.check_session(session) and task == "DailyPipeline":
        calendar.say_no_session(session)
    named = command_line.parse(options)
    if named.scheduler_url:
        luigi.configuration.get_config().set("core", "scheduler_url", named.scheduler_url)
    if not named.local_scheduler and central.answers():
        for known in central.known_tasks("DISABLED"):
            if session in known.sessions:
                central.enable_again(known)
                click.echo(f"{known.family} of {session} is enabled again", err=True)
    become(luigi_command(task, "--date", str(session), *options))
