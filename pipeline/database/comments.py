"""What every table and column means, kept in the database itself as `COMMENT ON` for whoever opens it."""

from __future__ import annotations

import functools
import hashlib
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.config import market
from pipeline.database.schema import MIGRATIONS
from pipeline.database.sql import identifier, literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FILE = pathlib.Path(__file__).with_name("comments.toml")
#: The section of columns that mean the same in all tables, and the key of a table itself.
COMMON, ITSELF = "common", "table"


@functools.cache
def declared() -> dict[str, dict[str, str]]:
    """By table: what it is, under ITSELF, and what its columns are."""
    import tomllib

    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@functools.cache
def version() -> str:
    """The name under which `migrations` notes that they are written; a view that is made anew needs them again."""
    names = " ".join(name for name, _ in MIGRATIONS)
    return f"comments {hashlib.sha256((FILE.read_text(encoding='utf-8') + names).encode()).hexdigest()[:12]}"


def meaning(table: str, column: str = ITSELF) -> str:
    """What a table or its column is; empty where nothing is declared."""
    tables = declared()
    common = "" if column == ITSELF else tables[COMMON].get(column, "")
    return tables.get(table, {}).get(column, common)


def keep(connection: DuckDBPyConnection) -> None:
    """Write the comments where these ones have not been written yet, in the caller's transaction."""
    if not connection.execute("SELECT 1 FROM migrations WHERE name = ?", [version()]).fetchall():
        write(connection)
        connection.execute(
            "INSERT INTO migrations (name, source, applied_at) VALUES (?, ?, now())", [version(), market().source]
        )


def write(connection: DuckDBPyConnection) -> None:
    """Write the comments on all tables and views that there are, in the caller's transaction."""
    statements = ";\n".join(_statements(connection))
    connection.execute(statements)


def _statements(connection: DuckDBPyConnection) -> Iterator[str]:
    views = {
        name for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    }
    for table, names in columns(connection).items():
        yield f"COMMENT ON {'VIEW' if table in views else 'TABLE'} {identifier(table)} IS {_quoted(meaning(table))}"
        for name in names:
            yield f"COMMENT ON COLUMN {identifier(table)}.{identifier(name)} IS {_quoted(meaning(table, name))}"


def columns(connection: DuckDBPyConnection) -> dict[str, list[str]]:
    """The columns of each table and view, in their order."""
    rows = connection.execute(
        """
        SELECT table_name, list(column_name ORDER BY column_index)
        FROM duckdb_columns()
        WHERE schema_name = 'main' AND NOT internal AND database_name = current_database()
        GROUP BY table_name ORDER BY table_name
        """
    ).fetchall()
    return dict(rows)


def _quoted(text: str) -> str:
    return literal(text) if text else "NULL"
