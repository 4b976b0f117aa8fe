"""A real S3 server on the loopback, and what clients have to be told to find it."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import pyarrow.fs
from moto.server import ThreadedMotoServer

KEY, SECRET, REGION = "reader", "no secret", "us-east-1"


class Buckets:
    """The server's address; `storage` are its files, by their paths behind `s3://`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.storage = pyarrow.fs.S3FileSystem(
            access_key=KEY, secret_key=SECRET, region=REGION, endpoint_override=address, allow_bucket_creation=True
        )

    def environment(self, folder: pathlib.Path) -> dict[str, str]:
        """What a program is told by its environment; the keys are in a file of the folder."""
        keys = folder / "keys"
        keys.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        return {"AWS_ENDPOINT_URL": self.address, "AWS_REGION": REGION, "AWS_SHARED_CREDENTIALS_FILE": str(keys)}


@contextlib.contextmanager
def buckets(*names: str) -> Iterator[Buckets]:
    """A server that has these buckets, all empty."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        found = Buckets(f"http://{host}:{port}")
        for name in names:
            found.storage.create_dir(name)
        yield found
    finally:
        server.stop()
