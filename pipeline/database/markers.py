"""Luigi targets: a row of `table_updates` (the truth) and a marker file (looked at first, without a lock).

A stage's output for a session is the pair of both. The row is written in the transaction of the stage's data, the
file after the commit; a process killed between the two leaves a row without a file, and the stage then only writes
the file.
"""

from __future__ import annotations

import datetime as dt
import json
import pathlib
from typing import TYPE_CHECKING, Any

import luigi

from pipeline.config import storage
from pipeline.database.connection import database_path, reading
from pipeline.database.schema import MARKERS
from pipeline.host.files import write_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_Stamp = tuple[tuple[int, int, int] | None, ...]


class RowTarget(luigi.Target):
    """The marker row `TaskFamily:date` of `table_updates`."""

    _known: dict[pathlib.Path, tuple[_Stamp, frozenset[str]]] = {}

    def __init__(self, family: str, session: dt.date) -> None:
        self.path = database_path()
        self.update_id = f"{family}:{session}"

    def __str__(self) -> str:
        return f"{self.path}:{MARKERS}[{self.update_id}]"

    def exists(self) -> bool:
        return self.update_id in self.update_ids(self.path)

    def touch(self, connection: DuckDBPyConnection, table: str) -> None:
        """Write the marker with the caller's connection, so that it commits with the data."""
        connection.execute(f"INSERT OR REPLACE INTO {MARKERS} VALUES (?, ?, now())", [self.update_id, table])

    @staticmethod
    def state_of(connection: DuckDBPyConnection, *tables: str) -> tuple[Any, ...]:
        """Of how many markers these tables have, and of when, something that each commit of a stage to them changes."""
        query = f"SELECT count(*), max(inserted) FROM {MARKERS} WHERE target_table IN (SELECT unnest($tables))"
        return connection.execute(query, {"tables": list(tables)}).fetchone() or ()

    @classmethod
    def update_ids(cls, path: pathlib.Path) -> frozenset[str]:
        """All markers of the database by one query, asked again only when the file has changed."""
        stamp = _stamp(path)
        if stamp[0] is None:
            return frozenset()
        known = cls._known.get(path)
        if known is None or known[0] != stamp:
            known = cls._known[path] = (
                stamp,
                _stored_ids(path),
            )  # the stamp first: what is written meanwhile is read again
        return known[1]


def _stored_ids(path: pathlib.Path) -> frozenset[str]:
    import duckdb

    with reading(path) as connection:
        try:
            rows = connection.execute(f"SELECT update_id FROM {MARKERS}").fetchall()
        except duckdb.CatalogException:  # killed before the first migration was committed
            rows = []
    return frozenset(row[0] for row in rows)


def _stamp(path: pathlib.Path) -> _Stamp:
    """What changes whenever the database is written: time, size and inode of the file and of its log."""
    return tuple(_file_stamp(file) for file in (path, path.with_name(path.name + ".wal")))


def _file_stamp(path: pathlib.Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class MarkerTarget(luigi.LocalTarget):
    """The file `markers/TaskFamily/date.json`, with what the stage did in it."""

    def __init__(self, family: str, session: dt.date) -> None:
        super().__init__(str(storage().root / "markers" / family / f"{session}.json"))

    @classmethod
    def sessions(cls, family: str) -> set[dt.date]:
        """All sessions that have a marker of the family, by one look at its folder."""
        folder = storage().root / "markers" / family
        return {dt.date.fromisoformat(path.stem) for path in folder.glob("????-??-??.json")}

    def write(self, facts: dict[str, Any]) -> None:
        write_text(pathlib.Path(self.path), json.dumps(facts, indent=1, default=str) + "\n")

    def read(self) -> dict[str, Any]:
        return json.loads(pathlib.Path(self.path).read_text(encoding="utf-8"))
