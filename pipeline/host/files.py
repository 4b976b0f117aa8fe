"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator

from pipeline.host import owner

#: Suffix of files in the making; those that a killed process left are swept by CleanUpFiles.
PARTIAL = ".partial"
#: Suffix of what was received, and cannot be read any more.
DAMAGED = ".damaged"

logger = logging.getLogger("pipeline")


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary name beside `path`; after the block it is synced to disk and renamed to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary folder beside `path`; after the block it is renamed to `path`, unless one is there: it stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def set_aside(path: pathlib.Path) -> None:
    """Give a damaged file of `raw/` a name that nobody reads, and say so in one line."""
    os.replace(path, path.with_name(path.name + DAMAGED))
    logger.warning("%s is damaged and set aside; what it answered is asked for again", path)


def unfinished(path: pathlib.Path) -> pathlib.Path:
    """The name, beside `path`, of a file or folder of this process in the making."""
    return path.with_name(f".{path.name}!{owner.this_process()}{PARTIAL}")


def is_abandoned(temporary: pathlib.Path) -> bool:
    """Whether the process that was making an unfinished file or folder is gone, as far as its name tells."""
    by = owner.parse(temporary.name.removesuffix(PARTIAL).rpartition("!")[2])
    return by is None or by.is_gone


def sync(path: pathlib.Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: pathlib.Path, text: str) -> None:
    """Replace the content of a text file (UTF-8) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def age(path: pathlib.Path, now: dt.datetime) -> dt.timedelta:
    """How long ago a file or folder was changed last."""
    return now - dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
