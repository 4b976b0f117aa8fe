"""What stands in SQL as text because DuckDB takes no bound value there: paths, and names of columns."""

from __future__ import annotations

import pathlib


def literal(text: str | pathlib.Path) -> str:
    """A path or another text as a string of SQL, with its quotes."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name of a column or table, with its quotes."""
    return '"' + name.replace('"', '""') + '"'
