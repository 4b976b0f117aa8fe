"""What many tests begin with, made once and copied: tables without rows, and sessions that are done."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pipeline import config
from pipeline.database import connection as database

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Begun:
    """Data folders in which something is done already: once for the tests of a file, which begin with copies."""

    def __init__(self, folder: pathlib.Path, forget: Callable[[], None]) -> None:
        self.folder, self.forget = folder, forget

    def __call__(self, name: str, data_dir: pathlib.Path, make: Callable[[], bool]) -> None:
        """Have `data_dir` be as `make` leaves it, which says that it went well; `name` says what is done."""
        kept = self.folder / name
        if kept.exists():
            shutil.copytree(kept, data_dir)
        else:
            assert make()
            shutil.copytree(data_dir, kept)
        self.forget()


def copy_new_databases(patch: pytest.MonkeyPatch, empty: Callable[[str], pathlib.Path]) -> None:
    """Have each new database be a copy of `empty(source)`: a tenth of the work of its migrations."""
    opened = database._opened

    def open_copy(path: pathlib.Path, read_only: bool) -> contextlib.AbstractContextManager[DuckDBPyConnection]:
        if not read_only and not path.exists():
            with pytest.MonkeyPatch.context() as unpatched:
                unpatched.setattr(database, "_opened", opened)
                template = empty(config.market().source)
            shutil.copyfile(template, path)
        return opened(path, read_only)

    patch.setattr(database, "_opened", open_copy)
