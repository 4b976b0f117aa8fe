"""A bucket holds what a folder does: the same tables, by a real S3 server on the loopback."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pyarrow.fs
import pytest

from pipeline.lake import expiry
from pipeline.lake.catalog import open_catalog, sqlite_path
from pipeline.lake.tables import TABLES
from tests.lake.test_publication import change, in_the_database, in_the_lake, publish, snapshots, stored  # noqa: F401
from tests.support.buckets import KEY, REGION, SECRET, buckets
from tests.support.stored_market import LAST

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(
    stored: None,  # noqa: F811  # the market that is published
    settings: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[pyarrow.fs.FileSystem]:
    """An empty bucket that pyiceberg is told of by its own settings."""
    with buckets("lake") as server:
        told = {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "REGION": REGION, "ENDPOINT": server.address}
        for name, value in told.items():
            monkeypatch.setenv(f"PYICEBERG_CATALOG__PIPELINE__S3__{name}", value)
        settings("publish", warehouse="s3://lake/tables", snapshot_days=0)
        yield server.storage


def test_a_bucket_holds_what_the_database_does(bucket: pyarrow.fs.FileSystem, data_dir: pathlib.Path) -> None:
    publish()
    change("UPDATE stock_data SET close = 1 WHERE date = ?", LAST)
    assert publish("two")["bars"] == 1
    for table in TABLES:
        assert in_the_lake(table.name) == in_the_database(table.name)
    assert snapshots("bars") == ["one", "two"]
    assert sqlite_path().is_relative_to(data_dir), "the catalog cannot lie in a bucket"
    found = bucket.get_file_info(pyarrow.fs.FileSelector("lake/tables", recursive=True))
    assert any(file.path.endswith(".parquet") for file in found)
    assert expiry.expire(open_catalog()) > 0
    assert in_the_lake("bars") == in_the_database("bars")
