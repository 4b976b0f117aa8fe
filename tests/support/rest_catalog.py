"""An Iceberg REST catalog on the loopback: the part of its protocol that tables are made, read and committed by.

https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import CommitTableRequest, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from pipeline.lake.catalog import SqliteCatalog

TOKEN = "a token of nobody's"

#: What the protocol calls an error of ours, and its status.
ERRORS = {
    NoSuchTableError: (404, "NoSuchTableException"),
    TableAlreadyExistsError: (409, "AlreadyExistsException"),
    CommitFailedException: (409, "CommitFailedException"),
}


class Rest(ThreadingHTTPServer):
    """Tables of a warehouse, for those who have the token.

    A `status` other than 200 is an outage; while `open` is not set, nobody is answered.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tables = SqliteCatalog(folder / "rest.db", warehouse=str(folder / "tables"))
        self.namespaces: set[str] = set()
        self.status = 200
        self.open = threading.Event()
        self.open.set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Rest

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the screen."""

    def do_GET(self) -> None:
        self._answered("GET")

    def do_POST(self) -> None:
        self._answered("POST")

    def _answered(self, method: str) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.open.wait()
        if self.server.status != 200:
            return self._send(self.server.status, error(self.server.status, "ServiceFailure", "an outage"))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._send(401, error(401, "NotAuthorizedException", "who are you?"))
        try:
            self._send(*self._answer(method, self.path.partition("?")[0].split("/")[2:], text))
        except tuple(ERRORS) as problem:
            status, kind = ERRORS[type(problem)]
            self._send(status, error(status, kind, str(problem)))

    def _answer(self, method: str, words: list[str], text: str) -> tuple[int, dict[str, Any]]:
        match method, words:
            case "GET", ["config"]:
                return 200, {"defaults": {}, "overrides": {}}
            case "POST", ["namespaces"]:
                return self._namespace(json.loads(text)["namespace"])
            case "GET", ["namespaces", _, "tables", name]:
                return 200, described(self.server.tables.load_table(("market", name)))
            case "POST", ["namespaces", _, "tables"]:
                return 200, described(self._made(json.loads(text)))
            case "POST", ["namespaces", _, "tables", name]:
                request = CommitTableRequest.model_validate_json(text)
                table = self.server.tables.load_table(("market", name))
                self.server.tables.commit_table(table, request.requirements, request.updates)
                return 200, described(self.server.tables.load_table(("market", name)))
        return 404, error(404, "NotFoundException", f"{method} {self.path}")

    def _namespace(self, names: list[str]) -> tuple[int, dict[str, Any]]:
        if names[0] in self.server.namespaces:
            return 409, error(409, "AlreadyExistsException", names[0])
        self.server.namespaces.add(names[0])
        return 200, {"namespace": names, "properties": {}}

    def _made(self, wanted: dict[str, Any]) -> Table:
        optional = dict.fromkeys(("location", "partition-spec", "write-order"))
        request = CreateTableRequest.model_validate({**optional, **wanted})
        return self.server.tables.create_table(
            ("market", request.name), request.table_schema, request.location,
            request.partition_spec or UNPARTITIONED_PARTITION_SPEC, request.write_order or UNSORTED_SORT_ORDER,
            request.properties,
        )  # fmt: skip

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def error(status: int, kind: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": status}}


def described(table: Table) -> dict[str, Any]:
    metadata = json.loads(table.metadata.model_dump_json())
    return {"metadata-location": table.metadata_location, "metadata": metadata, "config": {}}


@contextlib.contextmanager
def rest_catalog(folder: pathlib.Path) -> Iterator[Rest]:
    with Rest(folder) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        try:
            yield server
        finally:
            server.open.set()
            server.shutdown()
