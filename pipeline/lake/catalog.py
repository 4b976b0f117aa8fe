"""Where the current version of each table is noted: any catalog pyiceberg knows, or a SQLite file of the same layout.

pyiceberg's own SQLite catalog needs SQLAlchemy 2, and Luigi's history of runs needs 1.4; so the file is kept with
Python's sqlite3. It has the tables of the JDBC catalog of Iceberg, which pyiceberg's `SqlCatalog` and Spark's `jdbc`
catalog read too.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import pathlib
import re
import sqlite3
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from pyiceberg.catalog import Catalog, MetastoreCatalog, load_catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, RESTError, TableAlreadyExistsError
from pyiceberg.io import SCHEMA_TO_FILE_IO
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.utils.config import Config

from pipeline.config import publish
from pipeline.errors import ConfigurationError, LakeError
from pipeline.lake.places import PUBLISHED, sqlite_path, warehouse

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

NAME = "pipeline"
#: The only namespace of the warehouse.
NAMESPACE = "market"
#: Seconds that a writer waits for another one.
PATIENCE = 30.0

TABLES = """
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key)
);
INSERT OR IGNORE INTO iceberg_namespace_properties VALUES ('pipeline', 'market', 'exists', 'true');
"""


#: In the path of a file: for Spark a pattern, wherever it stands.
PATTERN = re.compile(r"[*?\[\]{}\\\x00-\x1f\x7f]")
#: What a store or a catalog that is away, full or forbidden raises; of a library that only some catalogs load, by name.
TROUBLES = (OSError, sqlite3.Error, RESTError)
LATER_TROUBLES = {"botocore.exceptions": ("BotoCoreError", "ClientError"), "thrift.Thrift": ("TException",)}


def check_catalog() -> None:
    """Raises ConfigurationError for a catalog that pyiceberg has no settings of, or a place that nobody could read."""
    name, scheme = publish().catalog, urlparse(publish().warehouse).scheme
    known = Config().get_known_catalogs()
    if name and name not in known:
        raise ConfigurationError(
            f"[publish] catalog = {name}: pyiceberg knows {', '.join(known) or 'no catalog'}; say where this one is, "
            f"in ~/.pyiceberg.yaml or as PYICEBERG_CATALOG__{name.upper()}__URI: docs/lake.md"
        )
    if not name and scheme and scheme not in SCHEMA_TO_FILE_IO:
        raise ConfigurationError(
            f"[publish] warehouse = {publish().warehouse}: {scheme}: is not written to; give a folder, or an address "
            f"that begins with one of: {', '.join(sorted(SCHEMA_TO_FILE_IO))}"
        )
    if not name and PATTERN.search(warehouse()):
        raise ConfigurationError(
            f"[publish] warehouse = {warehouse()!a}: Spark would take it for a pattern that many names match; "
            f"{PATTERN.sub('_', warehouse())} can be used"
        )


def troubles() -> tuple[type[Exception], ...]:
    loaded = ((sys.modules.get(module), names) for module, names in LATER_TROUBLES.items())
    return (*TROUBLES, *(getattr(module, name) for module, names in loaded if module for name in names))


def open_catalog() -> Catalog:
    """The catalog that `[publish] catalog` names in pyiceberg's own settings, or the SQLite file.

    What those settings say of a catalog called `pipeline` (an endpoint, a region, credentials) holds for the file, too.
    Raises LakeError when the file's tables are elsewhere.
    """
    if publish().catalog:
        catalog = load_catalog(publish().catalog)
        catalog.create_namespace_if_not_exists(NAMESPACE)
        return catalog
    own = {name: str(value) for name, value in (Config().get_catalog_config(NAME) or {}).items()}
    catalog = SqliteCatalog(sqlite_path(), **own | {"warehouse": warehouse()})
    if urlparse(warehouse()).scheme:  # a folder has its catalog in it
        catalog.check_place(warehouse())
    return catalog


class SqliteCatalog(MetastoreCatalog, NoopCatalog):
    """Tables of one namespace: made, loaded and committed to. A commit holds only if nobody else committed since."""

    def __init__(self, path: pathlib.Path, **properties: str) -> None:
        super().__init__(NAME, **properties)
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.executescript(TABLES)

    def note_published(self, session: dt.date) -> None:
        """Note that a publication for the session has ended; see `places.published_until`."""
        with self._open() as connection:
            connection.execute(
                """
                INSERT INTO iceberg_namespace_properties VALUES (?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET property_value = max(property_value, excluded.property_value)
                """,
                [NAME, NAMESPACE, PUBLISHED, str(session)],
            )

    def check_place(self, place: str) -> None:
        """Raises LakeError when the tables are at another address than `place`."""
        for table in self.list_tables():
            location = self._location(table)
            if not location.startswith(f"{place.rstrip('/')}/"):
                raise LakeError(
                    f"{self.path} is the catalog of {location.rpartition(f'/{NAMESPACE}')[0]}, and not of {place}; to "
                    f"publish there, move it away: mv {self.path} {self.path}.before"
                )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=PATIENCE)) as connection, connection:
            yield connection

    def load_namespace_properties(self, namespace: str | tuple[str, ...]) -> dict[str, str]:
        return {}

    def list_tables(self, namespace: str | tuple[str, ...] = NAMESPACE) -> list[tuple[str, ...]]:
        with self._open() as connection:
            rows = connection.execute("SELECT table_name FROM iceberg_tables WHERE catalog_name = ? ORDER BY 1", [NAME])
            return [(NAMESPACE, name) for (name,) in rows]

    def create_table(
        self,
        identifier: str | tuple[str, ...],
        schema: Schema | Any,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: dict[str, str] = {},  # noqa: B006  # as pyiceberg has it
    ) -> Table:
        staged = self._create_staged_table(identifier, schema, location, partition_spec, sort_order, properties)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        row = [NAME, *_names(identifier), staged.metadata_location]
        try:
            with self._open() as connection:
                connection.execute("INSERT INTO iceberg_tables VALUES (?, ?, ?, ?, NULL, 'TABLE')", row)
        except sqlite3.IntegrityError as error:
            raise TableAlreadyExistsError(f"Table {identifier} already exists") from error
        return self.load_table(identifier)

    def load_table(self, identifier: str | tuple[str, ...]) -> Table:
        location = self._location(identifier)
        io = self._load_file_io(location=location)
        metadata = FromInputFile.table_metadata(io.new_input(location))
        return Table(_names(identifier), metadata, location, self._load_file_io(metadata.properties, location), self)

    def _location(self, identifier: str | tuple[str, ...]) -> str:
        with self._open() as connection:
            row = connection.execute(
                """
                SELECT metadata_location FROM iceberg_tables
                WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?
                """,
                [NAME, *_names(identifier)],
            ).fetchone()
        if not row:
            raise NoSuchTableError(f"Table does not exist: {identifier}")
        return str(row[0])

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        current = self.load_table(table.name())
        staged = self._update_and_stage_table(current, table.name(), requirements, updates)
        if staged.metadata == current.metadata:
            return _response(current)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        with self._open() as connection:
            changed = connection.execute(
                """
                UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
                WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?
                """,
                [staged.metadata_location, current.metadata_location,
                 NAME, *_names(table.name()), current.metadata_location],
            )  # fmt: skip
            if changed.rowcount != 1:
                raise CommitFailedException(f"Table has been updated by another process: {table.name()}")
        return _response(staged)


def _response(table: Table) -> CommitTableResponse:
    return CommitTableResponse.model_validate(
        {"metadata": table.metadata, "metadata-location": table.metadata_location}
    )


def _names(identifier: str | tuple[str, ...]) -> tuple[str, str]:
    namespace, name = Catalog.identifier_to_tuple(identifier)
    return namespace, name
