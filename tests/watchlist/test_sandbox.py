"""What SQL of users can reach: nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pytest

from pipeline.watchlist.sandbox import closed_replica, sandbox

#: As DuckDB itself tells them.
SHUT = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
    "temp_directory": "",
}


@pytest.fixture(params=["sandbox", "replica"])
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path / "replica.duckdb"
    duckdb.connect(str(path)).close()
    opened: dict[str, Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]] = {
        "sandbox": sandbox,
        "replica": lambda: closed_replica(path, "1GB"),
    }
    with opened[request.param]() as connection:
        yield connection


@pytest.mark.parametrize(("name", "value"), SHUT.items())
def test_a_door_is_shut(connection: duckdb.DuckDBPyConnection, name: str, value: str) -> None:
    assert connection.execute("SELECT value FROM duckdb_settings() WHERE name = ?", [name]).fetchone() == (value,)


def test_no_door_can_be_opened(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match="locked"):
        connection.execute("SET enable_external_access = true")


def test_no_variable_of_the_program_is_a_table(connection: duckdb.DuckDBPyConnection) -> None:
    secrets = duckdb.sql("SELECT 'hunter2' AS word").arrow()
    assert secrets is not None
    with pytest.raises(duckdb.CatalogException, match="secrets does not exist"):
        connection.execute("FROM secrets")
