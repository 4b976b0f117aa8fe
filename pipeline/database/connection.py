"""The DuckDB file: opened for moments, one process at a time, its tables made by named migrations."""

from __future__ import annotations

import contextlib
import datetime as dt
import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import tenacity

from pipeline import given
from pipeline.config import market, storage
from pipeline.database import standing
from pipeline.database.damage import in_words
from pipeline.database.interruption import interruptible
from pipeline.database.schema import MIGRATIONS, unknown_migrations
from pipeline.errors import DatabaseLockedError, DatabaseNewerError, MixedSourcesError
from pipeline.version import code_version

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Files that DuckDB 1.4 and later can read, so that readers of the replica need not upgrade with us; and no loop over
#: all bars for an ASOF JOIN whose rows DuckDB expects to be few: it expected 20 of what were a million.
CONFIG = {"storage_compatibility_version": "v1.4.0", "asof_loop_join_threshold": "0"}


def database_path() -> pathlib.Path:
    return storage().root / "stock_data.duckdb"


@contextlib.contextmanager
def reading(path: pathlib.Path | None = None) -> Iterator[DuckDBPyConnection]:
    """The database, for queries.

    Raises DatabaseLockedError when a writer keeps it for too long, DatabaseDamagedError for a file that is none, and
    DataFolderError for one that this user may not read.
    """
    path = path or database_path()
    with in_words(path), _opened(path, read_only=True) as connection:
        yield connection


@contextlib.contextmanager
def writing() -> Iterator[DuckDBPyConnection]:
    """The database, in one transaction that the end of the block commits and an exception rolls back.

    Creates the file and applies missing migrations. Raises what `reading` does, DataFolderError on a full disk,
    MixedSourcesError when the database holds another source's data, and DatabaseNewerError when newer code has changed
    its tables.
    """
    path = database_path()
    (path.parent / "work").mkdir(parents=True, exist_ok=True)
    with in_words(path), _opened(path, read_only=False) as connection:
        connection.begin()
        migrate(connection)
        check_source(connection)
        yield connection
        connection.commit()


@contextlib.contextmanager
def _opened(path: pathlib.Path, read_only: bool) -> Iterator[DuckDBPyConnection]:
    """The file, once nobody else has it open."""
    import duckdb

    def locked(error: BaseException) -> bool:
        return isinstance(error, duckdb.IOException) and "lock" in str(error)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(locked),
        wait=tenacity.wait_exponential(multiplier=0.02, max=1.0),
        stop=tenacity.stop_after_delay(storage().lock_timeout),
        reraise=True,
    )
    with contextlib.ExitStack() as stack:
        try:
            connection = retrying(lambda: stack.enter_context(standing.opened(path, read_only, CONFIG, _limits())))
        except duckdb.IOException as error:
            if not locked(error):
                raise
            raise DatabaseLockedError(_locked_message(path, str(error))) from error
        with interruptible():
            yield connection


def _limits() -> dict[str, str]:
    """What DuckDB may take, and where it puts what does not fit; a killed process leaves that to `CleanUpFiles`."""
    return {"memory_limit": f"{storage().memory_gb}GB", "temp_directory": str(storage().root / "work" / "duckdb")}


def _locked_message(path: pathlib.Path, error: str) -> str:
    holder = re.search(r"held in (.+? \(PID \d+\))", error)
    return (
        f"{path} has been open in {holder.group(1) if holder else 'another process'} for more than "
        f"{storage().lock_timeout:g} s; close it there (readers should open the replica), then run the command again"
    )


def migrate(connection: DuckDBPyConnection) -> None:
    """Apply the migrations that the database lacks, each once. Raises DatabaseNewerError."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name VARCHAR PRIMARY KEY, source VARCHAR, applied_at TIMESTAMPTZ)"
    )
    applied = {name for (name,) in connection.execute("SELECT name FROM migrations").fetchall()}
    check_version(connection, applied)
    missing = [(name, sql) for name, sql in MIGRATIONS if name not in applied]
    source = market().source
    if missing:
        connection.execute("ALTER TABLE migrations ADD COLUMN IF NOT EXISTS code_version VARCHAR")
    for name, sql in missing:
        connection.execute(sql.replace("{source}", source))
        _move_markers(name)
        connection.execute(
            "INSERT INTO migrations (name, source, applied_at, code_version) VALUES (?, ?, now(), ?)",
            [name, source, code_version()],
        )


def check_version(connection: DuckDBPyConnection, applied: set[str]) -> None:
    """Raises DatabaseNewerError when the database has migrations that this code does not know."""
    newer = unknown_migrations(applied)
    if not newer:
        return
    columns = {row[0] for row in connection.execute("SELECT column_name FROM (DESCRIBE migrations)").fetchall()}
    made_by = "newer code"
    if "code_version" in columns:
        row = connection.execute("SELECT code_version FROM migrations WHERE name = ?", [newer[-1]]).fetchone()
        made_by = f"version {row[0]}" if row and row[0] else made_by
    raise DatabaseNewerError(
        f"{database_path()} was changed by {made_by} ({', '.join(newer)}), and this is version {code_version()}, which "
        f"knows the tables up to {MIGRATIONS[-1][0]}. Nothing was written; run the newer code, or put a backup "
        f"from before back: {given.pipeline_command('restore')}"
    )


def _move_markers(migration: str) -> None:
    """The marker files follow the rows that the migration renames; done before its commit, and once."""
    before, after = (storage().root / "markers" / name for name in ("DailyPipeline", "CloseSession"))
    if migration == "007_close_session" and before.is_dir() and not after.exists():
        before.rename(after)


def check_source(connection: DuckDBPyConnection) -> None:
    """Raises MixedSourcesError when the database was filled from another source."""
    (stored,) = connection.execute("SELECT source FROM migrations ORDER BY name LIMIT 1").fetchone() or ("",)
    if stored != market().source:
        raise MixedSourcesError(
            f"{database_path()} holds data of source {stored}, and the configuration says source {market().source}; "
            f"set [market] source = {stored}, or give the other source a folder of its own with [storage] data_dir"
        )


def duplicated_rows(connection: DuckDBPyConnection, since: dt.date | None = None) -> dict[str, int]:
    """Rows that occur more than once by their natural key, by table; empty when all is well.

    With `since` only among rows that can have been written from then on, so that the look costs the same however long
    the history is: rows of those sessions, and all of symbols whose older bars were added or replaced meanwhile.
    """
    keys = {
        "stock_data": "symbol, date",
        "technical_indicators": "symbol, date",
        "symbol_snapshots": "symbol, date",
        "price_coverage": "symbol, date",
        "corporate_actions": "symbol, date, kind",
        "daily_watchlist": "symbol, scan_date",
        "nasdaq_symbols": "symbol",
        "price_ranges": "symbol",
    }
    touched = _touched(connection, since) if since else []
    counts = {}
    for table, key in keys.items():
        columns = key.split(", ")
        where = (
            f"WHERE {columns[1]} >= $since OR symbol IN (SELECT unnest($touched::VARCHAR[]))"
            if since and columns[1:]
            else ""
        )
        values = {"since": since, "touched": touched} if where else {}
        (extra,) = connection.execute(
            f"SELECT count(*) - count(DISTINCT ({key})) FROM {table} {where}", values
        ).fetchall()[0]
        if extra:
            counts[table] = extra
    return counts


def _touched(connection: DuckDBPyConnection, since: dt.date) -> list[str]:
    """The symbols of which a bar older than `since` was added, replaced or deleted from then on."""
    rows = connection.execute(
        """
        SELECT symbol FROM stock_data WHERE date < $since AND stored_at >= $since
        UNION SELECT symbol FROM bar_versions WHERE date < $since AND replaced_at >= $since
        """,
        {"since": since},
    )
    return [symbol for (symbol,) in rows.fetchall()]


def records(connection: DuckDBPyConnection, query: str, *values: object, **named: object) -> list[dict[str, Any]]:
    """The rows of a query as dictionaries; its values by their places, or by their names."""
    cursor = connection.execute(query, named or list(values))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
