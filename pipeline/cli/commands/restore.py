"""`pipeline restore`."""

from __future__ import annotations

import subprocess

import click

from pipeline import given
from pipeline.cli import restore
from pipeline.cli.launch import luigi_command
from pipeline.database.connection import database_path


@click.command()
@click.argument("backup", required=False, metavar="[BACKUP]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--only", is_flag=True, help="Put the backup back, and run nothing.")
def command(backup: str | None, yes: bool, only: bool) -> None:
    """Put a backup in the place of the database: the newest good one, or the one named.

    It is read whole first. The file that it replaces is kept beside it. The sessions that came after the backup are
    then made anew from the answers in raw/, each with the listing received for it, and without asking a source; and
    the session in which it was made is finished.

    \b
    pipeline restore
    pipeline restore stock_data-20240220T220512.104233Z.duckdb
    """
    chosen = restore.choose(backup, lambda line: click.echo(line, err=True))
    click.echo(f"backup:    {chosen.path}\nholds:     bars up to {chosen.session}\nreplaces:  {database_path()}")
    if not yes:
        click.confirm("Put it back?", abort=True)
    aside = restore.put_back(chosen.path)
    click.echo(f"put back{f'; what it replaced is kept as {aside}' if aside else ''}")
    groups = restore.lost()
    if not groups:
        click.echo("nothing was done after it")
        return
    click.echo(f"it lacks:  {restore.spanned(groups)}")
    commands = [words for group in groups for words in group.commands()]
    if only:
        click.echo("\n".join(f"to do: {given.luigi_command(*words)}" for words in commands))
        return
    raise SystemExit(max(run(words) for words in commands))


def run(words: list[str]) -> int:
    """A run of Luigi; its exit code, 128 + signal when it was killed."""
    click.echo(f"running: {given.luigi_command(*words)}", err=True)
    code = subprocess.call(luigi_command(*words))
    return code if code >= 0 else 128 - code
