"""What stands in SQL as text because DuckDB takes no bound value there: paths, names of columns, what is computed."""

from __future__ import annotations

import pathlib


def literal(text: str | pathlib.Path) -> str:
    """A path or another text as a string of SQL, with its quotes."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name of a column or table, with its quotes."""
    return '"' + name.replace('"', '""') + '"'


def digest(row: str) -> str:
    """One number for the rows of a group, whatever their order; a value that differs in one bit gives another one.

    Each row is hashed twice: DuckDB joins the hash of a row's last value to the others' by XOR, so that with one hash a
    change of it that two rows share, or a swap between them, would leave the XOR over all rows as it was.
    """
    return f"bit_xor(hash(hash({row})))"
