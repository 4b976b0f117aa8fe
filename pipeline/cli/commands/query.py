"""`pipeline query`."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import json
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

import click

from pipeline import calendar
from pipeline.cli.question import asked
from pipeline.cli.tables import Column, as_records, fits, fitted, readable
from pipeline.cli.terminal import console
from pipeline.database import comments
from pipeline.database.replica import published
from pipeline.database.sql import literal
from pipeline.errors import QueryError
from pipeline.host.files import atomic_path

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DESCRIBE = re.compile(r'\s*DESCRIBE\s+(?:TABLE\s+)?"?(\w+)"?\s*;?\s*', re.IGNORECASE)
FILES = ("csv", "json", "parquet")
NUMBERS = ("DOUBLE", "FLOAT", "BIGINT", "INTEGER", "HUGEINT", "UBIGINT", "SMALLINT")
#: Up to so many rows that are too wide for the screen are shown as records; more as a table of what has room.
FEW = 10
#: The width that a text is cut down to before a column is left out.
SHORTEST = 16
#: Rows that are in memory at once on their way into a file.
BATCH = 10_000


@click.command()
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "records", *FILES)),
    help="Default: what the name of the output ends in, else a table; records are a line for each value.",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=pathlib.Path), help="File to write instead of the screen."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Rows of a table; files get all."
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=300, show_default=True, help="Seconds.")
@click.option("--memory", type=click.IntRange(min=64), default=2048, show_default=True, help="MB that DuckDB may take.")
@click.option(
    "--known-at", metavar="MOMENT", help="As the tables were then: 2024-02-16T22:00Z. Those whose past is kept."
)
@click.option(
    "--excel-safe", is_flag=True, help="CSV: an apostrophe before texts that a spreadsheet would run as a formula."
)
def command(
    sql: str,
    form: str | None,
    output: pathlib.Path | None,
    limit: int,
    timeout: float,
    memory: int,
    known_at: str | None,
    excel_safe: bool,
) -> None:
    """Ask the replica a question in SQL; nothing can be changed by it. A minus sign as SQL reads the standard input.

    \b
    pipeline query "FROM daily_watchlist WHERE scan_date = '2024-02-20' ORDER BY priority"
    pipeline query "SELECT date, close FROM stock_data WHERE symbol = 'AAPL'" --output aapl.parquet
    pipeline query "SHOW TABLES" --format json
    pipeline query "DESCRIBE daily_watchlist"
    pipeline query "FROM daily_watchlist WHERE scan_date = '2024-02-16'" --known-at 2024-02-16T22:00Z

    One SELECT of the replica's tables: no file, no network, no setting can be reached from it.
    """
    chosen = form or _form_of(output)
    if chosen == "parquet" and output is None:
        raise QueryError("Parquet is no text for a screen; name a file: --output answer.parquet")
    if chosen not in FILES and output is not None:
        raise QueryError("tables and records are for the screen; a file is csv, json or parquet")
    text = with_meanings(sys.stdin.read() if sql == "-" else sql)
    with asked(published(), text, memory, timeout, _moment(known_at)) as (connection, statement):
        if chosen not in FILES:
            _print(connection, statement, limit, form)
        elif output is None:
            _write_rows(connection, statement, chosen, sys.stdout, excel_safe)
        else:
            count = _write_file(connection, statement, chosen, output.absolute(), excel_safe)
            click.echo(f"{output}: {count:,} rows", err=True)


def with_meanings(text: str) -> str:
    """DESCRIBE of a table of ours as a query that tells what its columns mean, too; any other text as it is."""
    found = DESCRIBE.fullmatch(text)
    if found is None or found.group(1) not in comments.declared():
        return text
    return f"""
        SELECT column_name, data_type AS column_type, comment
        FROM duckdb_columns()
        WHERE database_name = current_database() AND schema_name = 'main' AND table_name = {literal(found.group(1))}
        ORDER BY column_index
    """


def _moment(text: str | None) -> dt.datetime | None:
    """Raises QueryError for what is no moment of the past with its time zone."""
    if text is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise QueryError(f"{text!r} is no moment; say it as 2024-02-16T22:00Z, or 2024-02-17T07:00+09:00") from None
    if moment.tzinfo is None:
        raise QueryError(
            f"{text} has no time zone; say {text}Z for UTC, or the offset: {text}-05:00 in New York's winter"
        )
    if moment > calendar.now():
        raise QueryError(f"{text} lies ahead; without --known-at the newest replica answers")
    return moment


def _form_of(output: pathlib.Path | None) -> str:
    """Raises QueryError for an ending that names none of the formats."""
    if output is None:
        return "table"
    ending = output.suffix.lstrip(".").lower()
    if ending not in FILES:
        raise QueryError(f"{output.name} ends in none of .csv, .json, .parquet; name it so, or say --format")
    return ending


def _print(connection: DuckDBPyConnection, statement: str, limit: int, form: str | None) -> None:
    """A table where it fits; else records, where they are few, or a table of the columns that have room."""
    cursor = connection.execute(statement)
    described = cursor.description or ()
    rows = cursor.fetchmany(limit + 1)
    cells = [[readable(value) for value in row] for row in rows[:limit]]
    columns = [
        Column(name, str(kind) in NUMBERS, SHORTEST if str(kind) == "VARCHAR" else None) for name, kind, *_ in described
    ]
    screen = console()
    is_wide = not fits([dataclasses.replace(one, least=None) for one in columns], cells, screen.width)
    if form == "records" or (form is None and is_wide and len(cells) <= FEW):
        for record in as_records(columns, cells):
            screen.print(record, soft_wrap=True)
    else:
        screen.print(fitted(columns, cells, screen.width, more="; --format records shows them"))
    if len(rows) > limit:
        click.echo(f"the first {limit} rows; --limit or --output gives more")


def _write_file(connection: DuckDBPyConnection, statement: str, form: str, path: pathlib.Path, excel_safe: bool) -> int:
    """The number of rows written; the file appears whole or not at all."""
    with atomic_path(path) as temporary:
        if form == "parquet":
            return _write_parquet(connection, statement, temporary)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            return _write_rows(connection, statement, form, file, excel_safe)


def _write_parquet(connection: DuckDBPyConnection, statement: str, path: pathlib.Path) -> int:
    import pyarrow.parquet as pq

    count = 0
    reader = connection.sql(statement).to_arrow_reader(BATCH)
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _write_rows(connection: DuckDBPyConnection, statement: str, form: str, file: IO[str], excel_safe: bool) -> int:
    cursor = connection.execute(statement)
    names = [column[0] for column in cursor.description or ()]
    rows = _rows(cursor)
    return _write_json(names, rows, file) if form == "json" else _write_csv(names, rows, file, excel_safe)


def _rows(cursor: Any) -> Iterator[tuple[Any, ...]]:
    while batch := cursor.fetchmany(BATCH):
        yield from batch


def _write_csv(names: list[str], rows: Iterable[tuple[Any, ...]], file: IO[str], excel_safe: bool) -> int:
    writer = csv.writer(file, lineterminator="\n")
    count = 0
    writer.writerow(_harmless(names) if excel_safe else names)
    for row in rows:
        writer.writerow(_harmless(row) if excel_safe else row)
        count += 1
    return count


def _harmless(cells: Iterable[Any]) -> list[Any]:
    """The cells with no text among them that a spreadsheet takes for a formula (OWASP, CSV injection)."""
    starts = ("=", "+", "-", "@", "\t", "\r", "\n")
    return [f"'{cell}" if isinstance(cell, str) and cell.startswith(starts) else cell for cell in cells]


def _write_json(names: list[str], rows: Iterable[tuple[Any, ...]], file: IO[str]) -> int:
    count, separator = 0, "["
    for row in rows:
        file.write(f"{separator}\n{json.dumps(dict(zip(names, row, strict=True)), default=str)}")
        count, separator = count + 1, ","
    file.write("\n]\n" if count else "[]\n")
    return count
