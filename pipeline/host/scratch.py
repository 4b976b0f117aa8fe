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

    Those that are abandoned are removed at the beginning. Each process has its own, since what a killed one had started
    may be writing for some seconds yet.
    """
    folder = storage().root / "work" / kind / str(owner.this_process())
    for left in (folder, *abandoned()):
        shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def abandoned() -> Iterator[pathlib.Path]:
    """The folders of processes of this host that are gone."""
    for folder in (storage().root / "work").glob("*/*"):
        by = owner.parse(folder.name)
        if by is not None and by.is_gone:
            yield folder
