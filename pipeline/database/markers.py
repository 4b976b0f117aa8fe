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
from pipeline.database import query_cache
from pipeline.database.connection import database_path
from pipeline.database.schema import MARKERS
from pipeline.host.files import write_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class RowTarget(luigi.Target):
    """The marker row `TaskFamily:date` of `table_updates`."""

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
        return query_cache.values(path, "markers", f"SELECT update_id FROM {MARKERS}")


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
