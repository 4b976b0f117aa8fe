"""A bucket holds what a folder does: the same tables, by a real S3 server on the loopback."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pyarrow.fs
import pytest
from moto.server import ThreadedMotoServer

from pipeline.lake import expiry
from pipeline.lake.catalog import open_catalog, sqlite_path
from pipeline.lake.tables import TABLES
from tests.lake.test_publication import change, in_the_database, in_the_lake, publish, snapshots, stored  # noqa: F401
from tests.support.stored_market import LAST

pytestmark = pytest.mark.slow

KEYS = {"S3__ACCESS_KEY_ID": "reader", "S3__SECRET_ACCESS_KEY": "no secret", "S3__REGION": "us-east-1"}


@pytest.fixture
def bucket(
    stored: None,  # noqa: F811  # the market that is published
    data_dir: pathlib.Path,
    settings: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[pyarrow.fs.FileSystem]:
    """An empty bucket that pyiceberg is told of by its own settings."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {**KEYS, "S3__ENDPOINT": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__PIPELINE__{name}", value)
    storage = pyarrow.fs.S3FileSystem(
        access_key=KEYS["S3__ACCESS_KEY_ID"], secret_key=KEYS["S3__SECRET_ACCESS_KEY"], region=KEYS["S3__REGION"],
        endpoint_override=f"http://{host}:{port}", allow_bucket_creation=True,
    )  # fmt: skip
    storage.create_dir("lake")
    settings("publish", warehouse="s3://lake/tables", snapshot_days=0)
    yield storage
    server.stop()


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
