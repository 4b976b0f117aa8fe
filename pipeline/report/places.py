"""Where the pages lie, and which there are."""

from __future__ import annotations

import datetime as dt
import pathlib

from pipeline.config import storage


def report_path(session: dt.date) -> pathlib.Path:
    return storage().root / "reports" / f"{session}.html"


def index_path() -> pathlib.Path:
    return storage().root / "reports" / "index.html"


def evaluation_path() -> pathlib.Path:
    return storage().root / "reports" / "evaluation.html"


def pages() -> list[dt.date]:
    """The sessions that have a page, the oldest first."""
    found = (storage().root / "reports").glob("????-??-??.html")
    return sorted(dt.date.fromisoformat(path.stem) for path in found)
