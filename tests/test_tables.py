"""What is said of each table and column: in pipeline/database/comments.toml, in the database, and in docs/tables.md.

`python tests/test_tables.py` writes docs/tables.md anew.
"""

from __future__ import annotations

import pathlib
import shutil

import duckdb
import pytest
from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.config import ROOT
from pipeline.database import comments
from pipeline.database.connection import database_path, migrate, reading, writing
from pipeline.database.replica import checkpoint, replica_path

PAGE = ROOT / "docs" / "tables.md"
HEAD = """# The tables

Every table and view of the database and its replica, and every column: \
what it means, its unit, its zone, and when it is
null. Moments are stored with their zone; a session is a day of the exchange's calendar. Indicators of your own
(`[indicators] extra`) are further columns of `technical_indicators`. The same text stands in the database, and
`pipeline query "DESCRIBE stock_data"` shows it. Written from `pipeline/database/comments.toml` by
`python tests/test_tables.py`.
"""


def page(connection: duckdb.DuckDBPyConnection) -> str:
    """docs/tables.md as it should be: the tables that an analyst asks first, then the others."""
    kinds = dict(connection.execute("SELECT table_name, table_type FROM information_schema.tables").fetchall())
    found = comments.columns(connection)
    parts = [HEAD]
    for table in sorted(found, key=lambda name: (list(comments.declared()).index(name), name)):
        view = ", a view" if kinds[table] == "VIEW" else ""
        parts.append(f"## {table}{view}\n\n{comments.meaning(table)}.\n\n| column | type | what it is |\n|---|---|---|")
        types = dict(
            connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND schema_name = 'main'",
                [table],
            ).fetchall()
        )
        rows = [f"| `{name}` | {types[name]} | {comments.meaning(table, name)} |" for name in found[table]]
        parts[-1] += "\n" + "\n".join(rows) + "\n"
    return "\n".join(parts)


def made() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    migrate(connection)
    return connection


def test_every_table_and_column_is_described_and_nothing_else() -> None:
    with made() as connection:
        found = comments.columns(connection)
    missing = [table for table in found if not comments.meaning(table)]
    missing += [
        f"{table}.{name}" for table, names in found.items() for name in names if not comments.meaning(table, name)
    ]
    assert missing == [], "say what they are in pipeline/database/comments.toml"
    told = {table: set(names) - {comments.ITSELF} for table, names in comments.declared().items()}
    told.pop(comments.COMMON)
    left = [f"{table}.{name}" for table, names in told.items() for name in names if name not in found.get(table, ())]
    assert left == []


def test_the_page_is_what_the_database_says() -> None:
    with made() as connection:
        assert PAGE.read_text(encoding="utf-8") == page(connection), "python tests/test_tables.py brings it up to date"


def test_the_database_carries_what_its_columns_mean_when_it_is_published(data_dir: pathlib.Path) -> None:
    checkpoint()
    with reading() as connection:
        told = dict(
            connection.execute("SELECT table_name || '.' || column_name, comment FROM duckdb_columns()").fetchall()
        )
        views = dict(connection.execute("SELECT view_name, comment FROM duckdb_views()").fetchall())
    assert told["stock_data.close"] == "dollars, adjusted for splits and not for dividends"
    assert told["session_listings.listed_as"].startswith("ticker in that listing")
    assert views["finished_stages"].startswith("The stages of sessions that are done")


def test_they_are_written_once_and_again_when_they_have_changed(data_dir: pathlib.Path) -> None:
    checkpoint()
    gone = "COMMENT ON COLUMN stock_data.close IS NULL"
    told = "SELECT comment FROM duckdb_columns() WHERE table_name = 'stock_data' AND column_name = 'close'"
    with writing() as connection:
        connection.execute(gone)
    checkpoint()
    with writing() as connection:
        assert connection.execute(told).fetchall() == [(None,)], "written once"
        connection.execute("UPDATE migrations SET name = 'comments of before' WHERE name = ?", [comments.version()])
    checkpoint()
    with reading() as connection:
        assert connection.execute(told).fetchall() == [("dollars, adjusted for splits and not for dividends",)]


@pytest.mark.parametrize("words", ["DESCRIBE stock_data", 'describe table "stock_data";'])
def test_describe_tells_what_the_columns_mean(data_dir: pathlib.Path, words: str) -> None:
    checkpoint()
    replica_path().parent.mkdir()
    shutil.copyfile(database_path(), replica_path())
    answer = CliRunner().invoke(main, ["query", words, "--format", "csv"])
    assert answer.exit_code == 0
    assert 'close,DOUBLE,"dollars, adjusted for splits and not for dividends"' in answer.output
    other = CliRunner().invoke(main, ["query", "DESCRIBE stock_dta"])
    assert other.exit_code == 1
    assert "stock_data" in other.output


if __name__ == "__main__":
    with made() as database:
        PAGE.write_text(page(database), encoding="utf-8")
