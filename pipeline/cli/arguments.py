"""Dates and symbols on the command line, with their completion in the shell."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from pipeline.config import all_settings
from pipeline.errors import PipelineError

#: Answers that a shell is given at most: more is no choice.
MOST = 50


class Day(click.ParamType):
    """A date, as YYYY-MM-DD; completed by the sessions that have a report page, the newest first."""

    name = "date"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> dt.date:
        if isinstance(value, dt.date):
            return value
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date; write year, month and day as in 2024-02-20", parameter, context)

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from pipeline.report.places import pages

        found = [str(day) for day in reversed(pages()) if str(day).startswith(incomplete)]
        return [CompletionItem(day) for day in found[:MOST]]


class Symbol(click.ParamType):
    """A symbol in capitals; completed by those of the replica."""

    name = "symbol"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        return str(value).strip().upper()

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from pipeline.database.connection import reading
        from pipeline.database.replica import published

        try:
            with reading(published()) as connection:
                rows = connection.execute(
                    """
                    SELECT symbol, name
                    FROM nasdaq_symbols
                    WHERE starts_with(symbol, ?) ORDER BY symbol LIMIT ?
                    """,
                    [incomplete.upper(), MOST],
                ).fetchall()
        except PipelineError:  # nothing has been published: nothing to complete from
            return []
        return [CompletionItem(symbol, help=name) for symbol, name in rows]


class Setting(click.ParamType):
    """SECTION.NAME=VALUE; the name is completed."""

    name = "setting"

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        known = (f"{section}.{name}=" for section, name in all_settings())
        return [CompletionItem(name) for name in known if name.startswith(incomplete)]


DAY, SYMBOL, SETTING = Day(), Symbol(), Setting()


def one_day(function: Callable[..., Any]) -> Callable[..., Any]:
    """The argument DATE of a command, which may be given as --date, too; the command gets it as `day`, or None."""

    def take(context: click.Context, parameter: click.Parameter, value: dt.date | None) -> dt.date | None:
        named: dt.date | None = context.params.pop("named_day", None)
        return value or named

    function = click.argument("day", type=DAY, required=False, metavar="[DATE]", callback=take)(function)
    return click.option("--date", "named_day", type=DAY, is_eager=True, help="The same as DATE.")(function)
