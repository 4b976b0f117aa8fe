"""One run at a time: a lock in `data_dir` that names the process holding it.

Without a central scheduler a run has the installation for itself (an exclusive lock). Runs under luigid share the
lock, since the scheduler keeps them apart; it keeps out a run without luigid. The lock ends with its process.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import pathlib
import sys
from typing import IO

from pipeline.config import storage
from pipeline.errors import RunInProgressError


def acquire(shared: bool) -> IO[str]:
    """Take the lock for the life of the returned file. Raises RunInProgressError, which names the holder."""
    path = storage().root / "run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _holder(path)
        file.close()
        raise RunInProgressError(
            f"another run holds {path}: {holder}. Wait until it has ended, or start luigid (scripts/luigid), under "
            f"which several runs share the work"
        ) from error
    file.truncate(0)
    file.write(
        f"process {os.getpid()}, since {dt.datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}: {' '.join(sys.argv)}\n"
    )
    file.flush()
    return file


def _holder(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8").strip() or "a process that has not said its name yet"
