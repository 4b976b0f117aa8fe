"""The DuckDB of this process, in which tests have the database opened: a new one registers its functions for 25 ms."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import duckdb

from pipeline.database.connection import CONFIG
from pipeline.database.sql import identifier, literal

if TYPE_CHECKING:
    import pytest

#: By process: a fork has the memory of its parent's, and none of its threads.
_standing: dict[int, duckdb.DuckDBPyConnection] = {}


class Attached:
    """A file in that DuckDB, with a connection of its own; `close` writes and unlocks it, as a connection does."""

    def __init__(self, path: pathlib.Path, read_only: bool) -> None:
        self._standing = _standing[os.getpid()].cursor()
        self._name = identifier(path.stem)  # as DuckDB names a file that it is opened with
        self._standing.execute(f"ATTACH {literal(str(path))} AS {self._name}{' (READ_ONLY)' if read_only else ''}")
        self._connection = self._standing.cursor()
        self._connection.execute(f"USE {self._name}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def close(self) -> None:
        self._connection.close()
        try:
            self._standing.execute(f"DETACH {self._name}")
        except duckdb.Error:  # it has given up, and so would every later one
            del _standing[os.getpid()]
            raise


def open_in_standing(patch: pytest.MonkeyPatch) -> None:
    """Have `pipeline.database.connection` open files there; what else is opened has a DuckDB of its own."""
    connect: Callable[..., Any] = duckdb.connect

    def attach(path: str = ":memory:", *, read_only: bool = False, config: dict[str, str] | None = None) -> Any:
        if not CONFIG.items() <= (config or {}).items():
            return connect(path, read_only=read_only, config=config or {})
        if os.getpid() not in _standing:
            _standing[os.getpid()] = connect(config=config)
        return Attached(pathlib.Path(path), read_only)

    patch.setattr(duckdb, "connect", attach)
