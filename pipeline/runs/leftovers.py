"""What processes that are gone have left half made."""

from __future__ import annotations

import datetime as dt
import pathlib
import shutil
from collections.abc import Iterator

from pipeline import calendar
from pipeline.config import storage
from pipeline.host import scratch
from pipeline.host.files import PARTIAL, age, is_abandoned

#: An unfinished file that nobody has touched for this long is nobody's, even when another host was making it.
ABANDONED = dt.timedelta(hours=6)

#: Folders of `data_dir` in which files appear whole or not at all.
FOLDERS = (".", "replica", "backup", "reports", "metrics", "markers/*", "raw/*/*", "cache/*", "luigid")


def unfinished(now: dt.datetime) -> Iterator[pathlib.Path]:
    """Files and folders in the making whose maker is gone."""
    for folder in FOLDERS:
        found = storage().root.glob(f"{folder}/.*{PARTIAL}" if folder != "." else f".*{PARTIAL}")
        yield from (path for path in found if is_abandoned(path) or age(path, now) > ABANDONED)
    yield from scratch.abandoned()


def sweep() -> None:
    """Delete them: a run that was killed after its own clean-up has nobody else to do it before the next session."""
    for path in list(unfinished(calendar.now())):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
