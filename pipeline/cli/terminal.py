"""The console of the commands: as wide as the terminal, and wide enough for whole lines in a file or a pipe."""

from __future__ import annotations

import sys

from rich import markup
from rich.console import Console
from rich.text import Text

from pipeline.text import line, shown

WIDTH_OF_A_FILE = 200


def console(stderr: bool = False) -> Console:
    """Where a command prints; on the standard error, beside its result, with `stderr`."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_OF_A_FILE
    return Console(stderr=stderr, highlight=False, emoji=False, width=width)


def plain(value: object) -> Text:
    """A value as it stands in the database: neither markup nor a command to the terminal."""
    return Text(line(str(value)))


def escape(text: str) -> str:
    """The same inside of a line with markup of ours."""
    return markup.escape(shown(text))
