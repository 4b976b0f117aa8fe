"""The DuckDB of this process, to which a file is attached for the moments in which it is open.

A new DuckDB registers its functions, which takes ten times as long as to open a file, and a run opens one some forty
times. This one has no file of its own: between the moments nothing is open and nothing locked. It is given up before
the process forks, since a fork has none of its threads, and after any error, which may have made it unusable. So the
memory that it has taken is free when Spark or those who ask the source are started.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.database.sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: None, or the one.
_standing: list[DuckDBPyConnection] = []
#: Held while a file is attached: who opens another one meanwhile has a DuckDB of its own, and so has a fork.
_taken = threading.Lock()


@contextlib.contextmanager
def opened(
    path: pathlib.Path, read_only: bool, config: Mapping[str, str], limits: Mapping[str, str]
) -> Iterator[DuckDBPyConnection]:
    """A connection to a file, closed and unlocked at the end of the block.

    `config` are settings that are the same for every file, `limits` those that may differ from one to the next. Raises
    what `duckdb.connect` does.
    """
    import duckdb

    if not _taken.acquire(blocking=False):
        with contextlib.closing(duckdb.connect(path, read_only=read_only, config={**config, **limits})) as connection:
            yield connection
        return
    try:
        if not _standing:
            _standing.append(duckdb.connect(config=dict(config)))
        for name, value in limits.items():
            _standing[0].execute(f"SET {name} = {literal(value)}")
        with _attached(_standing[0], path, read_only) as connection:
            yield connection
        if os.path.exists(limits["temp_directory"]):  # it has put something there, and stays with that folder
            _give_up()
    except BaseException:
        _give_up()
        raise
    finally:
        _taken.release()


@contextlib.contextmanager
def _attached(standing: DuckDBPyConnection, path: pathlib.Path, read_only: bool) -> Iterator[DuckDBPyConnection]:
    import duckdb

    standing.execute(f"ATTACH {literal(path)} AS attached{' (READ_ONLY)' if read_only else ''}")
    with contextlib.closing(standing.cursor()) as connection:
        connection.execute("USE attached")
        yield connection
    try:
        standing.execute("DETACH attached")
    except duckdb.Error:  # the write-ahead log stays, as it does when a connection cannot write the file at its end
        _give_up()


def _give_up() -> None:
    while _standing:
        _standing.pop().close()


def _give_up_idle() -> None:
    if _taken.acquire(blocking=False):
        try:
            _give_up()
        finally:
            _taken.release()


os.register_at_fork(before=_give_up_idle)
