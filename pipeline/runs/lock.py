"""One run at a time: a lock in `data_dir` that names the process holding it.

Without a central scheduler a run has the installation for itself (an exclusive lock). Runs under luigid share the
lock, since the scheduler keeps them apart; it keeps out a run without luigid. The lock ends with its process.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import getpass
import os
import pathlib
import shlex
import sys
from typing import IO

from pipeline.config import storage
from pipeline.errors import DataFolderError, RunInProgressError


def acquire(shared: bool) -> IO[str]:
    """Take the lock for the life of the returned file; makes `data_dir` and its `work/`.

    Raises RunInProgressError, which names the holder, and DataFolderError for a folder that this user cannot write.
    """
    path = storage().root / "run.lock"
    try:
        (path.parent / "work").mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise DataFolderError(_unwritable(path, error)) from error
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _holder(path)
        file.close()
        raise RunInProgressError(
            f"another run holds {path}: {holder}. Wait until it has ended, or start luigid (scripts/luigid), under "
            f"which several runs share the work"
        ) from error
    _sign(file, path)
    return file


def _sign(file: IO[str], path: pathlib.Path) -> None:
    """Write who holds the lock. Raises DataFolderError on a full disk, where no run could do anything."""
    since = dt.datetime.now().astimezone()
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()}, since {since:%Y-%m-%d %H:%M:%S %Z}: {shlex.join(sys.argv)}\n")
        file.flush()
    except OSError as error:
        raise DataFolderError(_unwritable(path, error)) from error


def _unwritable(path: pathlib.Path, error: OSError) -> str:
    place = pathlib.Path(error.filename or path)
    return (
        f"{place} cannot be written by the user {getpass.getuser()} ({error.strerror}){_owned_by(place)}; run as the "
        f"user who owns [storage] data_dir = {path.parent}, give it to this one (chown -R), or set another folder"
    )


def _owned_by(place: pathlib.Path) -> str:
    try:
        return f", it belongs to {place.owner()}"
    except (OSError, KeyError):  # it is not there, or its owner has no name
        return ""


def _holder(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8").strip() or "a process that has not said its name yet"
