"""`pipeline query`."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import sys
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from pipeline.cli.terminal import console
from pipeline.database.connection import reading
from pipeline.database.replica import published
from pipeline.errors import QueryError
from pipeline.files import atomic_path

FORMATS = ("table", "csv", "json", "parquet")


@click.command()
@click.argument("sql")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="Default: what the name of the output ends in, else a table."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=pathlib.Path), help="File to write instead of the screen."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Rows of a table; files get all."
)
def command(sql: str, form: str | None, output: pathlib.Path | None, limit: int) -> None:
    """Ask the replica a question in SQL; nothing can be changed by it. A minus sign as SQL reads the standard input.

    \b
    pipeline query "FROM daily_watchlist WHERE scan_date = '2024-02-20' ORDER BY priority"
    pipeline query "SELECT date, close FROM stock_data WHERE symbol = 'AAPL'" --output aapl.parquet
    pipeline query "SHOW TABLES" --format json
    """
    import duckdb

    chosen = form or _form_of(output)
    text = sys.stdin.read() if sql == "-" else sql
    with reading(published()) as connection:
        try:
            _answer(connection.sql(text), chosen, output, limit)
        except duckdb.Error as error:
            raise QueryError(f"the replica cannot answer: {error}") from error


def _form_of(output: pathlib.Path | None) -> str:
    if output is None:
        return "table"
    ending = output.suffix.lstrip(".")
    return ending if ending in ("csv", "json", "parquet") else "csv"


def _answer(relation: Any, form: str, output: pathlib.Path | None, limit: int) -> None:
    if relation is None:
        raise QueryError(
            "this statement has no rows to show; the replica is read-only, and a query starts with SELECT or FROM"
        )
    if form == "table":
        _print(relation, limit)
    elif output:
        with atomic_path(output.absolute()) as temporary:
            _write(relation, form, temporary)
        click.echo(f"{output}: {len(relation):,} rows", err=True)
    elif form == "parquet":
        raise QueryError("Parquet is no text for a screen; name a file: --output answer.parquet")
    else:
        click.echo(_csv(relation) if form == "csv" else _json(relation), nl=form == "json")


def _write(relation: Any, form: str, path: pathlib.Path) -> None:
    if form == "parquet":
        relation.to_parquet(str(path), compression="zstd")
    else:
        path.write_text(_csv(relation) if form == "csv" else _json(relation), encoding="utf-8")


def _print(relation: Any, limit: int) -> None:
    rows = relation.limit(limit + 1).fetchall()
    table = Table(caption=f"the first {limit} rows; --limit or --output gives more" if len(rows) > limit else None)
    for name, kind in zip(relation.columns, relation.types, strict=True):
        table.add_column(
            escape(name), justify="right" if str(kind) in ("DOUBLE", "BIGINT", "INTEGER", "HUGEINT") else "left"
        )
    for row in rows[:limit]:
        table.add_row(*("" if value is None else escape(str(value)) for value in row))
    console().print(table)


def _csv(relation: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(relation.columns)
    writer.writerows(relation.fetchall())
    return text.getvalue()


def _json(relation: Any) -> str:
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    return json.dumps(rows, default=str, indent=1)
