"""The files of one folder as one table: which files count, how their columns are read, and which of them is to blame.

DuckDB reads them in memory. In a CSV file every column is text until it is cast to the type wanted, so that no ticker
(NA, TRUE) is taken for something else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import logging
import pathlib
from collections.abc import Iterator, Sequence

import duckdb

from pipeline.database.interruption import interruptible
from pipeline.database.sql import identifier, literal
from pipeline.errors import FilesSourceError


@dataclasses.dataclass(frozen=True)
class Column:
    type: str
    is_required: bool = False


LISTING_COLUMNS = {
    "symbol": Column("VARCHAR", is_required=True),
    "name": Column("VARCHAR", is_required=True),
    "market_cap": Column("DOUBLE", is_required=True),
    "date": Column("DATE"),
    "sector": Column("VARCHAR"),
    "industry": Column("VARCHAR"),
    "country": Column("VARCHAR"),
    "ipo_year": Column("INTEGER"),
    "last_sale": Column("DOUBLE"),
    "net_change": Column("DOUBLE"),
    "volume": Column("BIGINT"),
    "exchange": Column("VARCHAR"),
}
BAR_COLUMNS = {
    "symbol": Column("VARCHAR", is_required=True),
    "date": Column("DATE", is_required=True),
    "open": Column("DOUBLE", is_required=True),
    "high": Column("DOUBLE", is_required=True),
    "low": Column("DOUBLE", is_required=True),
    "close": Column("DOUBLE", is_required=True),
    "volume": Column("BIGINT", is_required=True),
    "dividend": Column("DOUBLE"),
    "split_ratio": Column("DOUBLE"),
}
TABLES = {"listings": LISTING_COLUMNS, "bars": BAR_COLUMNS}
_CSV = "read_csv({path}, header = true, all_varchar = true, delim = ',', quote = '\"', skip = 0)"
#: By the ends of names, in small letters; DuckDB tells a packed file by its name.
READERS = {".parquet": "read_parquet({path})", ".csv": _CSV, ".csv.gz": _CSV}
#: What stands for "none" in files in which no field is empty: a market cap nobody knows, a session without an event.
NONE = {"market_cap": (0,), "dividend": (0,), "split_ratio": (0, 1)}

logger = logging.getLogger("pipeline")


@contextlib.contextmanager
def opened(folder: pathlib.Path, name: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database with one of TABLES as a view of the files in its folder.

    `file` is a row's place among `data_files`, whose last one counts. Raises FilesSourceError, also for what a query in
    the block fails with.
    """
    paths = data_files(folder / name)
    with interruptible(), duckdb.connect() as connection:
        selects = [_select(connection, path, number, TABLES[name]) for number, path in enumerate(paths)]
        try:
            connection.execute(f"CREATE VIEW {name} AS FROM ({' UNION ALL '.join(selects)}) WHERE symbol IS NOT NULL")
            yield connection
        except duckdb.Error as error:
            raise FilesSourceError(_unreadable(connection, paths, selects, error)) from error


def data_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The data files of a folder in order of their names. Raises FilesSourceError when there is none."""
    if not folder.is_dir():
        raise FilesSourceError(f"there is no folder {folder}; [files] path is the folder that has listings/ and bars/")
    present = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found = [path for path in present if _reader(path)]
    for path in present:
        if path not in found:
            _say_passed_over(path)
    if not found:
        raise FilesSourceError(
            f"{folder} has no file that ends in {' or '.join(READERS)}; docs/files-source.md says what belongs there"
        )
    for path in found:
        if not path.is_file():  # a pipe would be waited for
            raise FilesSourceError(f"{path} is no file but a folder, a pipe or a device; move it elsewhere")
    return found


def _reader(path: pathlib.Path) -> str | None:
    return next((reader for end, reader in READERS.items() if path.name.lower().endswith(end)), None)


@functools.cache
def _say_passed_over(path: pathlib.Path) -> None:
    logger.warning("%s is passed over: its name ends in none of %s", path, ", ".join(READERS))


def _select(connection: duckdb.DuckDBPyConnection, path: pathlib.Path, number: int, columns: dict[str, Column]) -> str:
    """The query that reads a file as `columns`. Raises FilesSourceError when it lacks a required one."""
    reader = (_reader(path) or "").format(path=literal(path))
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
    except duckdb.Error as error:
        raise FilesSourceError(f"{path} cannot be read: {_first_line(error)}") from error
    present = {str(name).strip().lower(): (str(name), str(kind)) for name, kind, *_ in described}
    fields = [f"{_expression(path, present, name, column)} AS {name}" for name, column in columns.items()]
    return f"SELECT {', '.join(fields)}, {number} AS file FROM {reader}"


def _expression(path: pathlib.Path, present: dict[str, tuple[str, str]], name: str, column: Column) -> str:
    """How a column is read: empty text and NaN are null, as is what NONE has of the column.

    `present` has the file's columns, by their name in small letters: the name as written, and DuckDB's type.
    """
    if name not in present:
        if column.is_required:
            near = difflib.get_close_matches(name, present, n=1)
            hint = f"nearest: {present[near[0]][0]}" if near else "none is like it"
            raise FilesSourceError(f"{path} lacks the column {name} ({hint}); it has {', '.join(present)[:300]}")
        return f"NULL::{column.type}"
    written, kind = present[name]
    value = identifier(written)
    if kind == "TIMESTAMP WITH TIME ZONE" and column.type == "DATE":
        return _day_of(path, name, value)
    if kind == "VARCHAR":
        value = f"nullif(trim({value}), '')"
        if column.type == "DATE":  # a cast would read 16/02/24 as a day of the year 16
            return f"strptime({value}, '%Y-%m-%d')::DATE"
    if column.type in ("DOUBLE", "BIGINT", "INTEGER"):
        value = f"nullif({value}::DOUBLE, 'NaN'::DOUBLE)"
    for none in NONE.get(name, ()):
        value = f"nullif({value}, {none})"
    return f"{value}::{column.type}"


def _day_of(path: pathlib.Path, name: str, moment: str) -> str:
    """The date of a moment with a time zone: that of UTC where it is midnight there. Of another one nobody can tell.

    Not DuckDB's own cast, which takes the time zone of this host.
    """
    utc = f"make_timestamp(epoch_us({moment}))"
    refused = f"{path}: the column {name} has times of day with a time zone; write dates, such as 2024-02-20"
    return f"CASE WHEN {utc} <> date_trunc('day', {utc}) THEN error({literal(refused)}) ELSE {utc}::DATE END"


def _unreadable(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[pathlib.Path], selects: Sequence[str], error: duckdb.Error
) -> str:
    """Which of the files is to blame for the error of a query over all of them: the first that fails alone."""
    for path, query in zip(paths, selects, strict=True):
        try:
            connection.execute(f"SELECT min(COLUMNS(*)) FROM ({query})")
        except duckdb.Error as own:
            return f"{path} has a value that cannot be read: {_first_line(own)}"
    return f"the files in {paths[0].parent} cannot be read: {_first_line(error)}"


def _first_line(error: duckdb.Error) -> str:
    return next(iter(str(error).splitlines()), "no reason given")[:300]
