"""DuckDB with no way out: for SQL that users wrote."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.database.interruption import interruptible

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: No file, no network, no extension, no Python variable, no spill to disk.
CLOSED: dict[str, Any] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "memory_limit": "2GB",
    "temp_directory": "",
}
#: A division by zero is null, not an infinity that passes for a large number.
ARITHMETIC: dict[str, Any] = {"ieee_floating_point_ops": False, "error_on_division_by_zero": False}

#: What can make a NaN, which DuckDB sorts above all numbers, or an infinity of numbers that are neither.
_POWERS = ("power", "pow", "^", "**")
_FINITE = 'CREATE MACRO "{name}"({given}) AS CASE WHEN isfinite({value}) THEN {value} END'


@contextlib.contextmanager
def sandbox(view: Any = None) -> Iterator[DuckDBPyConnection]:
    """A connection in which nothing exists but the table `day_view`, a copy of the Arrow table `view` if one is given.

    Its configuration cannot be changed any more.
    """
    import duckdb

    with contextlib.closing(duckdb.connect(":memory:", config=CLOSED | ARITHMETIC)) as connection:
        if view is not None:
            connection.register("loaded", view)
            connection.execute("CREATE TABLE day_view AS FROM loaded")
            connection.unregister("loaded")
        for name in _POWERS:
            value = "system.main.power(x::DOUBLE, y::DOUBLE)"
            connection.execute(_FINITE.format(name=name, given="x, y", value=value))
        connection.execute(_FINITE.format(name="exp", given="x", value="system.main.exp(x::DOUBLE)"))
        connection.execute("SET lock_configuration = true")
        with interruptible():
            yield connection


@contextlib.contextmanager
def closed_replica(path: pathlib.Path, memory: str) -> Iterator[DuckDBPyConnection]:
    """The database file at `path`, read-only, with `memory` (2GB) at most, and its configuration locked.

    DuckDB leaves one door open: statements may read the file itself as bytes, and write the file that would be its
    write-ahead log. So let nothing in that `pipeline.cli.question` has not looked at.
    """
    import duckdb

    config = CLOSED | {"memory_limit": memory}
    with contextlib.closing(duckdb.connect(str(path), read_only=True, config=config)) as connection:
        connection.execute("SET lock_configuration = true")
        with interruptible():
            yield connection
