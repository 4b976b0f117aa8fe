"""What DuckDB says of a file that is not a database any more, or of a disk that is full, in words for people."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from pipeline import given
from pipeline.errors import DatabaseDamagedError, DataFolderError, PipelineError

#: What DuckDB's messages hold for a file that is cut off, overwritten, or of something else. It has no class for them.
DAMAGE = (
    "not a valid DuckDB database",
    "Could not read enough bytes",
    "Corrupt database file",
    "Failed to deserialize",
    "Is a directory",
    "sqlite_scanner",  # a file of SQLite, for which it would fetch an extension
)
NO_ROOM = ("No space left on device", "Disk quota exceeded")


@contextlib.contextmanager
def in_words(path: pathlib.Path) -> Iterator[None]:
    """Raises DatabaseDamagedError and DataFolderError in place of what DuckDB raises for such a file in the block."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        told = _in_words(path, str(error))
        if told is None:
            raise
        raise told from error


def _in_words(path: pathlib.Path, text: str) -> PipelineError | None:
    reason = text.splitlines()[0] if text else ""
    if any(words in text for words in NO_ROOM):
        return DataFolderError(f"{path} cannot be written: no room is left on its disk ({reason})")
    if "Permission denied" in text:
        return DataFolderError(f"{path} cannot be opened by this user ({reason}); run as the user who owns it")
    if any(words in text for words in DAMAGE):
        return DatabaseDamagedError(f"{path} is damaged ({reason}). {remedy(path)}")
    return None


def remedy(path: pathlib.Path) -> str:
    """What helps when this file of an installation is damaged."""
    from pipeline.database.backups import newest_good
    from pipeline.database.connection import database_path

    if path != database_path():
        return "Delete it; the command that runs a session makes the replica anew, and a backup with it"
    good = newest_good()
    if good is None:
        return (
            f"There is no good backup of it. Move it away and make it anew from what was received: "
            f"{given.pipeline_command('backfill', 'FIRST', 'LAST', '--set', 'market.offline=true')}"
        )
    return f"The newest good backup is {good.name}; put it back: {given.pipeline_command('restore')}"
