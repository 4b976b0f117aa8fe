"""Folders for what a process makes on its way and nobody needs afterwards."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from pipeline.config import storage
from pipeline.host import owner


@contextlib.contextmanager
def scratch_folder(kind: str) -> Iterator[pathlib.Path]:
    """An empty folder of this process in `work/KIND/`, removed at the end.

    Those of processes of this host that were killed are removed at the beginning. Each process has its own, since what
    a killed one had started may be writing for some seconds yet.
    """
    parent = storage().root / "work" / kind
    parent.mkdir(parents=True, exist_ok=True)
    mine = owner.this_process()
    for left in parent.iterdir():
        by = owner.parse(left.name)
        if by is not None and (by == mine or by.is_gone):
            shutil.rmtree(left, ignore_errors=True)
    folder = parent / str(mine)
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
