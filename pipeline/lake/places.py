"""Where the tables are published to, for those who do not need pyiceberg to know."""

from __future__ import annotations

import contextlib
import datetime as dt
import pathlib
import sqlite3
from urllib.parse import urlparse

from pipeline.config import absolute, publish, storage

#: Property of the namespace in the SQLite file: the newest session of a publication that has ended.
PUBLISHED = "published"


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


def published_until() -> dt.date | None:
    """The newest session that the tables of the SQLite file were published for; None where none was, or it is damaged.

    The file itself says so: that it is there tells of a publication that has begun, and the database's own marks tell
    of publications wherever they went.
    """
    if not sqlite_path().is_file():
        return None
    query = "SELECT property_value FROM iceberg_namespace_properties WHERE property_key = ?"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(sqlite_path())) as connection:
        for (session,) in connection.execute(query, [PUBLISHED]):
            return dt.date.fromisoformat(session)
    return None


def sqlite_path() -> pathlib.Path:
    """The SQLite file: in the warehouse where that is a folder, beside the database where it is a bucket."""
    if urlparse(publish().warehouse).scheme:
        return storage().root / "lake" / "catalog.db"
    return absolute(publish().warehouse) / "catalog.db"
