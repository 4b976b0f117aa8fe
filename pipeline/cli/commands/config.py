"""`pipeline config`."""

from __future__ import annotations

import dataclasses
import json

import click
from rich.table import Table

from pipeline.cli.settings import Setting, effective
from pipeline.cli.terminal import console, escape


@click.command()
@click.argument("section", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON list instead of a table.")
def command(section: str | None, as_json: bool) -> None:
    """Show every setting with its effective value, and where that comes from. Secrets are masked.

    \b
    pipeline config
    pipeline config yahoo
    LUIGI_CONFIG_PATH=/etc/nasdaq.cfg pipeline config --json
    """
    settings = effective()
    sections = list(dict.fromkeys(setting.section for setting in settings))
    if section and section not in sections:
        raise click.ClickException(f"there is no section [{section}]; there are: {', '.join(sections)}")
    chosen = [setting for setting in settings if section in (None, setting.section)]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(setting) for setting in chosen], indent=1))
    else:
        console().print(as_table(chosen))


def as_table(settings: list[Setting]) -> Table:
    table = Table("Setting", "Value", "From", box=None, pad_edge=False)
    table.columns[1].overflow = "fold"  # a value is shown whole in a narrow terminal, too
    section = ""
    for setting in settings:
        if setting.section != section:
            section = setting.section
            table.add_row(escape(f"[{section}]"))
        table.add_row(f"  {setting.name}", escape(setting.value), escape(setting.origin))
    return table
