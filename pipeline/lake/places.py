"""Where the tables are published to, for those who do not need pyiceberg to know."""

from __future__ import annotations

import pathlib
from urllib.parse import urlparse

from pipeline.config import absolute, publish, storage


def is_wanted() -> bool:
    """Whether anybody has named a place."""
    return bool(publish().warehouse or publish().catalog)


def title() -> str:
    """What messages call the place that is published to."""
    return f"catalog {publish().catalog}" if publish().catalog else warehouse()


def warehouse() -> str:
    """`[publish] warehouse`: an address as it stands, a folder as an absolute path."""
    given = publish().warehouse
    return given if urlparse(given).scheme else str(absolute(given))


def sqlite_path() -> pathlib.Path:
    """The SQLite file: in the warehouse where that is a folder, beside the database where it is a bucket."""
    if urlparse(publish().warehouse).scheme:
        return storage().root / "lake" / "catalog.db"
    return absolute(publish().warehouse) / "catalog.db"
