"""The tables without a file, made once and empty for each test: for what only judges and stores rows."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from pipeline.database.connection import migrate


@pytest.fixture(scope="session")
def migrated() -> Iterator[duckdb.DuckDBPyConnection]:
    """Every table of the database, in memory."""
    with duckdb.connect() as connection:
        migrate(connection)
        yield connection


@pytest.fixture
def tables(migrated: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same, in a transaction of which nothing stays."""
    migrated.begin()
    try:
        yield migrated
    finally:
        migrated.rollback()
