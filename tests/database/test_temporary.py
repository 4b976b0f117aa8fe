"""Temporary tables with an owner."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from pipeline.database.temporary import Temporary


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def made(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]


def test_tables_are_gone_at_the_end_and_may_be_made_again(connection: duckdb.DuckDBPyConnection) -> None:
    for number in (1, 2):
        with Temporary(connection) as tables:
            tables.make("wanted", "SELECT $number AS number", {"number": number})
            tables.make("twice", "SELECT 2 * number AS number FROM wanted")
            assert tables.execute("FROM twice") == [(2 * number,)]
            assert sorted(made(connection)) == ["twice", "wanted"]
        assert made(connection) == []


def test_a_table_replaces_one_that_somebody_left(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TEMP TABLE wanted AS SELECT 'left' AS text")
    with Temporary(connection) as tables:
        tables.make("wanted", "SELECT 1 AS number")
        tables.make("wanted", "SELECT 2 AS number")
        assert tables.execute("FROM wanted") == [(2,)]


def test_an_error_ends_the_transaction_and_the_tables_with_it(connection: duckdb.DuckDBPyConnection) -> None:
    connection.begin()
    with pytest.raises(duckdb.ConversionException), Temporary(connection) as tables:
        tables.make("wanted", "SELECT 1 AS number")
        tables.execute("SELECT 'x'::INTEGER")
    connection.rollback()
    assert made(connection) == []
