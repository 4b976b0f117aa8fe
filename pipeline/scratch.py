"""Folders for what a process makes on its way and nobody needs afterwards."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator

from pipeline.config import storage
from pipeline.processes import is_alive


@contextlib.contextmanager
def scratch_folder(kind: str) -> Iterator[pathlib.Path]:
    """An empty folder of this process in `work/KIND/`, removed at the end.

    Those of processes of this host that were killed are removed at the beginning. Each process has its own, since what
    a killed one had started may be writing for some seconds yet.
    """
    parent = storage().root / "work" / kind
    parent.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    for left in parent.glob(f"{host}@*"):
        pid = left.name.rpartition("@")[2]
        if pid.isdecimal() and (int(pid) == os.getpid() or not is_alive(int(pid))):
            shutil.rmtree(left, ignore_errors=True)
    folder = parent / f"{host}@{os.getpid()}"
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
