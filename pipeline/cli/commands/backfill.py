"""`pipeline backfill`."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import sys
from collections.abc import Callable, Iterator

import click

from pipeline.cli.arguments import DAY
from pipeline.cli.backfill import Progress, missing_sessions, prepare_stale
from pipeline.cli.launch import become, follow, luigi_command
from pipeline.cli.terminal import console, plain
from pipeline.tasks.stages import stage_names

#: The beginning of a line of config/logging.ini's format.
LEVEL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ([A-Z]+) ")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("start", type=DAY, required=False, metavar="START")
@click.argument("end", type=DAY, required=False, metavar="END")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[LUIGI OPTIONS]...")
@click.option(
    "--stale", is_flag=True, help="Do again the sessions whose watchlist rests on bars that have changed since."
)
@click.option("--verbose", is_flag=True, help="Luigi's whole log, instead of a progress bar with warnings.")
def command(start: dt.date | None, end: dt.date | None, options: tuple[str, ...], stale: bool, verbose: bool) -> None:
    """Run every session from START to END, both included, that is not done.

    However many they are, prices are collected once for all of them, Spark runs once, and one replica is published. A
    session that fails keeps no other one back. The exit code is Luigi's.

    \b
    pipeline backfill 2023-12-01 2024-02-29
    pipeline backfill 2024-02-20 2024-02-20 --workers 2
    pipeline backfill --stale
    """
    if not stale and (start is None or end is None):
        raise click.UsageError("which sessions? pipeline backfill 2023-12-01 2024-02-29, or pipeline backfill --stale")
    sessions = prepare_stale(start, end) if stale else missing_sessions(start, end)  # type: ignore[arg-type]
    if not sessions:
        click.echo(
            "nothing to do: no session is stale" if stale else "nothing to do: every session of the range is done"
        )
        return
    click.echo(f"{len(sessions)} sessions to do, from {sessions[0]} to {sessions[-1]}", err=True)
    more = ("--only-stale", *options) if stale else options
    stop = str(sessions[-1] + dt.timedelta(days=1))
    run = luigi_command("RangeTradingDays", "--of", "DailyPipeline", "--start", str(sessions[0]), "--stop", stop, *more)
    if verbose or not sys.stderr.isatty():
        become(run)
    with bar(len(sessions)) as see:
        code = follow(run, see)
    click.echo(
        "all of them are done" if code == 0 else f"not all of them are done (exit code {code}); look: pipeline status",
        err=True,
    )
    raise SystemExit(code)


class LogFilter:
    """Tells the lines of a log that are warnings or errors, with the lines that belong to them, from all others."""

    def __init__(self) -> None:
        self._is_loud = False

    def __call__(self, line: str) -> bool:
        level = LEVEL.match(line)
        if level:
            self._is_loud = level.group(1) not in ("INFO", "DEBUG")
        return self._is_loud


@contextlib.contextmanager
def bar(sessions: int) -> Iterator[Callable[[str, int], None]]:
    """A progress bar over all stages of all sessions, above it the warnings of the run's log."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("stages"),
        TimeElapsedColumn(),
    )
    progress, is_loud = Progress(), LogFilter()
    with Display(*columns, console=console(stderr=True)) as display:
        row = display.add_task("starting", total=sessions * len(stage_names()))

        def see(line: str, pid: int) -> None:
            progress.read(pid)
            failures = f", {len(progress.failed)} failed" if progress.failed else ""
            display.update(row, completed=len(progress.done), description=f"{progress.running or 'starting'}{failures}")
            if is_loud(line):
                display.console.print(plain(line))

        yield see
