"""What a query found in the whole database, for as long as its file stays as it is: in memory, and in `cache/queries/`.

A rerun of a finished date asks nothing else, so that it neither opens the database nor imports DuckDB.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import time

from pipeline.database.connection import reading
from pipeline.host.files import write_text

_Stamp = list[list[int] | None]

#: Nanoseconds for which a file has to rest before its stamp is believed by other processes: file systems count the time
#: of a change in steps, and two changes within one step may leave the same stamp.
REST = 2_000_000_000

_known: dict[tuple[pathlib.Path, str], tuple[_Stamp, frozenset[str]]] = {}


def values(path: pathlib.Path, name: str, query: str) -> frozenset[str]:
    """The texts in the query's one column; none where the file or the table is missing.

    `name` is that of the file in which they are kept. Raises what `reading` does.
    """
    stamp = _stamp(path)
    if stamp[0] is None:
        return frozenset()
    known = _known.get((path, name))
    if known is None or known[0] != stamp:
        found = _kept(path, name, query, stamp)
        if found is None:
            found = _queried(path, query)
            _keep(path, name, query, stamp, found)
        known = _known[path, name] = stamp, found  # the stamp of before: what is written meanwhile is read again
    return known[1]


def _queried(path: pathlib.Path, query: str) -> frozenset[str]:
    import duckdb

    with reading(path) as connection:
        try:
            rows = connection.execute(query).fetchall()
        except duckdb.CatalogException:  # killed before the first migration was committed
            rows = []
    return frozenset(row[0] for row in rows)


def _kept(path: pathlib.Path, name: str, query: str, stamp: _Stamp) -> frozenset[str] | None:
    """What an earlier process has kept of the same file; None where there is none, or it cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(_file(path, name).read_bytes())
        if kept["query"] == query and kept["stamp"] == stamp:
            return frozenset(kept["values"])
    return None


def _keep(path: pathlib.Path, name: str, query: str, stamp: _Stamp, found: frozenset[str]) -> None:
    """Keep it for other processes, where the file has rested and this user may write."""
    changed = max(time_ns for file in stamp if file for time_ns in file[:2])
    if _stamp(path) != stamp or time.time_ns() - changed < REST:
        return
    with contextlib.suppress(OSError):
        write_text(_file(path, name), json.dumps({"query": query, "stamp": stamp, "values": sorted(found)}))


def _file(path: pathlib.Path, name: str) -> pathlib.Path:
    return path.parent / "cache" / "queries" / f"{name}.json"


def _stamp(path: pathlib.Path) -> _Stamp:
    """What changes whenever the database is written: times, size and inode of the file and of its log."""
    return [_file_stamp(file) for file in (path, path.with_name(path.name + ".wal"))]


def _file_stamp(path: pathlib.Path) -> list[int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino]
