"""The console of the commands: as wide as the terminal, and wide enough for whole lines in a file or a pipe."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH_OF_A_FILE = 200


def console(stderr: bool = False) -> Console:
    """Where a command prints; on the standard error, beside its result, with `stderr`."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDTH_OF_A_FILE)
