"""A bucket holds what a folder does: the same tables, by a real S3 server on the loopback."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pyarrow.fs
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.utils.config import Config

from pipeline.lake import expiry
from pipeline.lake.catalog import open_catalog, troubles
from pipeline.lake.places import sqlite_path
from pipeline.lake.tables import TABLES
from tests.lake.test_publication import (  # noqa: F401
    change,
    check_publications,
    in_the_database,
    in_the_lake,
    publish,
    snapshots,
    stored,
)
from tests.support.buckets import KEY, REGION, SECRET, Buckets, buckets
from tests.support.stored_market import LAST

pytestmark = pytest.mark.slow


@pytest.fixture
def server(
    stored: None,  # noqa: F811  # the market that is published
    settings: Callable[..., None],
) -> Iterator[Buckets]:
    """An empty bucket, where the warehouse is."""
    with buckets("lake") as running:
        settings("publish", warehouse="s3://lake/tables", snapshot_days=0)
        yield running


def access(service: str, server: Buckets) -> dict[str, str]:
    """Where a service of the server is, and the keys of it."""
    keys = {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "REGION": REGION, "ENDPOINT": server.address}
    return {f"{service}__{name}": value for name, value in keys.items()}


def configure(patch: pytest.MonkeyPatch, catalog: str, server: Buckets, **more: str) -> None:
    """Tell pyiceberg of a catalog, and of the bucket, as its users do."""
    for name, value in {**access("S3", server), **more}.items():
        patch.setenv(f"PYICEBERG_CATALOG__{catalog}__{name}", value)
    patch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())  # which a program has read when it began


def test_a_bucket_holds_what_the_database_does(
    server: Buckets, data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, "PIPELINE", server)
    publish()
    change("UPDATE stock_data SET close = 1 WHERE date = ?", LAST)
    assert publish("two")["bars"] == 1
    for table in TABLES:
        assert in_the_lake(table.name) == in_the_database(table.name)
    assert snapshots("bars") == ["one", "two"]
    assert sqlite_path().is_relative_to(data_dir), "the catalog cannot lie in a bucket"
    found = server.storage.get_file_info(pyarrow.fs.FileSelector("lake/tables", recursive=True))
    assert any(file.path.endswith(".parquet") for file in found)
    assert expiry.expire(open_catalog()) > 0
    assert in_the_lake("bars") == in_the_database("bars")


def test_a_catalog_of_another_kind_holds_it_too(
    server: Buckets, data_dir: pathlib.Path, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, "COMPANY", server, TYPE="glue", WAREHOUSE="s3://lake/tables", **access("GLUE", server))
    settings("publish", catalog="company")
    check_publications()
    assert type(open_catalog()).__name__ == "GlueCatalog"
    assert {BotoCoreError, ClientError} < set(troubles())
    assert not sqlite_path().exists()
