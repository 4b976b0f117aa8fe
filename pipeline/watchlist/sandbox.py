"""A database in memory with no way out: for expressions that users wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: No file, no network, no extension, no Python variable; a division by zero is null, not an infinity that passes for
#: a large number.
CONFIG: dict[str, Any] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "ieee_floating_point_ops": False,
    "error_on_division_by_zero": False,
    "memory_limit": "2GB",
}


@contextlib.contextmanager
def sandbox(view: Any = None) -> Iterator[DuckDBPyConnection]:
    """A connection in which nothing exists but the table `day_view`, a copy of the Arrow table `view` when one is given.

    Its configuration cannot be changed any more.
    """
    import duckdb

    with contextlib.closing(duckdb.connect(":memory:", config=CONFIG)) as connection:
        if view is not None:
            connection.register("loaded", view)
            connection.execute("CREATE TABLE day_view AS FROM loaded")
            connection.unregister("loaded")
        connection.execute("SET lock_configuration = true")
        yield connection
