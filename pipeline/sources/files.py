"""Listings and bars from a folder of Parquet or CSV files; docs/files-source.md is its contract for people.

    [files] path/listings/*.parquet|csv|csv.gz     which companies are listed
    [files] path/bars/*.parquet|csv|csv.gz         their daily bars

DuckDB reads them in memory. In a CSV file every column is text until it is cast to the type wanted, so that no ticker
(NA, TRUE) is taken for something else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import difflib
import functools
import json
import logging
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import calendar
from pipeline.config import absolute, files
from pipeline.database.interruption import interruptible
from pipeline.database.sql import identifier, literal
from pipeline.errors import FilesSourceError, ListingUnavailableError
from pipeline.sources.answers import ANSWER_SCHEMA
from pipeline.sources.batches import collect_in_batches, repeated
from pipeline.sources.digests import DIGESTS, digest_query
from pipeline.sources.exchanges import configured_exchanges
from pipeline.sources.protocol import BarRequest, Company, Listing, Progress, is_symbol


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


class FilesSource:
    """The `Source` of `[market] source = files`.

    Every method raises FilesSourceError for a folder, file, column or value that is missing or unusable.
    """

    name = "files"

    def __init__(self) -> None:
        self.folder = absolute(files().path)

    @property
    def keeps_listings(self) -> bool:
        """Whether any row has a date. Rows without one are the present's: for a past session, a later listing."""
        with self._opened("listings") as connection:
            return bool(connection.execute("SELECT count(date) > 0 FROM listings").fetchall()[0][0])

    def listing(self, session: dt.date) -> Listing:
        """The rows of the newest date up to `session`, and the rows without a date; of a symbol's rows the last counts.

        `Listing.session` is that date. When no row of any file has a date, it is the latest session that has settled:
        which companies were listed before, such files do not say. Raises ListingUnavailableError when all rows are of
        later dates.
        """
        with self._opened("listings") as connection:
            rows: pa.Table = connection.sql(_LISTING_OF, params={"session": session}).to_arrow_table()
            if not len(rows):
                raise ListingUnavailableError(self._none_yet(connection, session))
            present = session if self.keeps_listings else calendar.latest_session()
        newest = max((date for date in rows["date"].to_pylist() if date), default=present)
        exchange = configured_exchanges()[0]  # of the rows that do not say theirs
        facts = rows.drop(["date", "file"]).to_pylist()
        self._refuse_odd(facts)
        companies = {row["symbol"]: Company(**row | {"exchange": row["exchange"] or exchange}) for row in facts}
        raw = json.dumps([company.__dict__ for company in companies.values()]).encode()
        of_session = calendar.session_before(newest + dt.timedelta(days=1))  # a weekend's listing is Friday's
        return Listing(of_session, tuple(companies.values()), raw)

    def _refuse_odd(self, facts: Sequence[dict[str, Any]]) -> None:
        for odd in (row["symbol"] for row in facts if not is_symbol(row["symbol"])):
            raise FilesSourceError(
                f"{self.folder / 'listings'} has a symbol that none can be, {odd[:40]!r}: letters, digits and the "
                f"signs of share classes, 20 at most"
            )
        for boundless in (row["symbol"] for row in facts if math.isinf(row["market_cap"] or 0)):
            raise FilesSourceError(f"{self.folder / 'listings'} has an infinite market_cap, of {boundless}")

    def _none_yet(self, connection: duckdb.DuckDBPyConnection, session: dt.date) -> str:
        (first,) = connection.execute("SELECT min(date) FROM listings").fetchone() or (None,)
        found = f"the first one there is of {first}" if first else "its files have no rows"
        return f"{self.folder / 'listings'} has no listing for {session} or earlier: {found}"

    def collect(self, requests: Sequence[BarRequest], folder: pathlib.Path, progress: Progress) -> None:
        """See `Source`; a symbol without any bar in the files is unknown."""
        with self._opened("bars") as connection:
            connection.execute("CREATE TEMP TABLE known AS SELECT DISTINCT symbol FROM bars")
            connection.execute(  # once, because a CSV file has no index: each look into it reads it whole
                "CREATE TEMP TABLE bars_in_range AS SELECT * FROM bars WHERE date BETWEEN ? AND ?",
                [min((r.first for r in requests), default=None), max((r.last for r in requests), default=None)],
            )
            collect_in_batches(requests, folder, progress, lambda batch: self._answer(connection, batch))

    def changed_at(self) -> dt.datetime:
        """See `StandingSource`. A file's change is the moment at which it was written, or got its name."""
        stamps = [path.stat() for path in data_files(self.folder / "bars")]
        return dt.datetime.fromtimestamp(max(max(stamp.st_mtime, stamp.st_ctime) for stamp in stamps), dt.UTC)

    def digests(self, spans: pa.Table) -> pa.Table:
        """See `StandingSource`."""
        with self._opened("bars") as connection:
            connection.register("spans", spans)
            return connection.sql(digest_query(f"({_STANDING_BARS})")).to_arrow_table().cast(DIGESTS)

    def _answer(self, connection: duckdb.DuckDBPyConnection, requests: Sequence[BarRequest]) -> pa.Table:
        wanted = pa.table(
            {
                "number": pa.array(range(len(requests))),
                "symbol": pa.array([request.symbol for request in requests], pa.string()),
                "first": pa.array([request.first for request in requests], pa.date32()),
                "last": pa.array([request.last for request in requests], pa.date32()),
            }
        )
        connection.register("wanted", wanted)
        found: pa.Table = connection.sql(_BARS_WANTED).to_arrow_table()
        self._refuse_repeated(found)
        moment = repeated(calendar.now(), "fetched_at", len(found))
        return found.append_column("fetched_at", moment).select(ANSWER_SCHEMA.names).cast(ANSWER_SCHEMA)

    def _refuse_repeated(self, found: pa.Table) -> None:
        for row in found.filter(pc.greater(found["copies"], 1)).slice(0, 1).to_pylist():
            file = data_files(self.folder / "bars")[row["file"]]
            raise FilesSourceError(
                f"{file} has {row['copies']} bars of {row['symbol']} on {row['date']}; leave one of them "
                f"(a correction belongs in a file whose name sorts later: it replaces the bar)"
            )

    @contextlib.contextmanager
    def _opened(self, table: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """An in-memory database with one of TABLES as a view of its files, `file` being a row's place among them."""
        paths = data_files(self.folder / table)
        with interruptible(), duckdb.connect() as connection:
            selects = [select(connection, path, number, TABLES[table]) for number, path in enumerate(paths)]
            try:
                connection.execute(
                    f"CREATE VIEW {table} AS FROM ({' UNION ALL '.join(selects)}) WHERE symbol IS NOT NULL"
                )
                yield connection
            except duckdb.Error as error:
                raise FilesSourceError(unreadable(connection, paths, selects, error)) from error


_LISTING_OF = """
    SELECT * REPLACE (coalesce(name, symbol) AS name) FROM listings
    WHERE date IS NULL OR date = (SELECT max(date) FROM listings WHERE date <= $session)
    ORDER BY date NULLS FIRST, file
"""
_STANDING_BARS = """
    SELECT b.* FROM bars b JOIN spans s ON s.symbol = b.symbol AND b.date BETWEEN s.first AND s.last
    WHERE coalesce(b.open, b.high, b.low, b.close) IS NOT NULL
    QUALIFY b.file = max(b.file) OVER (PARTITION BY b.symbol, b.date)
"""
_BARS_WANTED = """
    WITH latest AS (
        SELECT w.number, b.*, count(*) OVER (PARTITION BY w.number, b.date, b.file) AS copies
        FROM bars_in_range b JOIN wanted w ON b.symbol = w.symbol AND b.date BETWEEN w.first AND w.last
        QUALIFY b.file = max(b.file) OVER (PARTITION BY w.number, b.date)
    )
    SELECT w.symbol, w.first AS asked_from, w.last AS asked_to,
           CASE WHEN w.symbol IN (FROM known) THEN 'ok' ELSE 'unknown' END AS status,
           CASE WHEN w.symbol IN (FROM known) THEN NULL ELSE 'the files have no bar of this symbol' END AS reason,
           l.date, l.open, l.high, l.low, l.close, l.volume, l.dividend, l.split_ratio, l.file, l.copies
    FROM wanted w LEFT JOIN latest l USING (number) ORDER BY w.number, l.date
"""


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


def select(connection: duckdb.DuckDBPyConnection, path: pathlib.Path, number: int, columns: dict[str, Column]) -> str:
    """The query that reads a file as `columns`. Raises FilesSourceError when it lacks a required one."""
    reader = (_reader(path) or "").format(path=literal(path))
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
    except duckdb.Error as error:
        raise FilesSourceError(f"{path} cannot be read: {first_line(error)}") from error
    present = {str(name).strip().lower(): (str(name), str(kind)) for name, kind, *_ in described}
    fields = [f"{expression(path, present, name, column)} AS {name}" for name, column in columns.items()]
    return f"SELECT {', '.join(fields)}, {number} AS file FROM {reader}"


def expression(path: pathlib.Path, present: dict[str, tuple[str, str]], name: str, column: Column) -> str:
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


def unreadable(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[pathlib.Path], selects: Sequence[str], error: duckdb.Error
) -> str:
    """Which of the files is to blame for the error of a query over all of them: the first that fails alone."""
    for path, query in zip(paths, selects, strict=True):
        try:
            connection.execute(f"SELECT min(COLUMNS(*)) FROM ({query})")
        except duckdb.Error as own:
            return f"{path} has a value that cannot be read: {first_line(own)}"
    return f"the files in {paths[0].parent} cannot be read: {first_line(error)}"


def first_line(error: duckdb.Error) -> str:
    return next(iter(str(error).splitlines()), "no reason given")[:300]
