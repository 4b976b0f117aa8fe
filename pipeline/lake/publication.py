"""From the replica to the warehouse: the months that differ, each table in one commit with one snapshot."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.table import Table, TableProperties
from pyiceberg.transforms import MonthTransform

from pipeline.config import market
from pipeline.errors import LakeError
from pipeline.lake.catalog import NAMESPACE
from pipeline.lake.places import title
from pipeline.lake.tables import TABLES, LakeTable

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyiceberg.manifest import DataFile

#: Property of a table: what the month of that name held when its files were written.
DIGEST = "pipeline.digest."
#: Property of a table: the source of its rows.
SOURCE = "pipeline.source"
#: Earlier versions of a table's metadata that are kept as files of their own.
PREVIOUS_METADATA = 20


def publish_tables(
    catalog: Catalog, connection: DuckDBPyConnection, sessions: Sequence[dt.date], run: str
) -> dict[str, int]:
    """Bring the tables up to date; how many months of each were written. `connection` is one to the replica.

    The summary of a snapshot has the newest of the sessions, all of them, and the run. A table that holds everything
    already gets no snapshot. Raises pyiceberg's CommitFailedException when another process has published meanwhile, and
    LakeError for tables of another source.
    """
    summary = {
        "session": str(sessions[-1]),
        "sessions": ",".join(map(str, sessions)),
        "run": run,
    }
    return {table.name: _publish(catalog, connection, table, summary) for table in TABLES}


def _publish(catalog: Catalog, connection: DuckDBPyConnection, source: LakeTable, summary: Mapping[str, str]) -> int:
    table = _table(catalog, source, source.schema(connection))
    digests = source.digests(connection)
    known = published_digests(table)
    changed = sorted(month for month in digests.keys() | known.keys() if digests.get(month) != known.get(month))
    if changed:
        _replace(table, source, connection, {month: digests.get(month) for month in changed}, summary)
    return len(changed)


def published_digests(table: Table) -> dict[str, str]:
    """The months that the table holds, each with the digest of its rows."""
    return {name.removeprefix(DIGEST): value for name, value in table.properties.items() if name.startswith(DIGEST)}


def _table(catalog: Catalog, source: LakeTable, schema: pa.Schema) -> Table:
    """The table, made when it is not there, by months, with the columns that have come since."""
    try:
        table = catalog.load_table((NAMESPACE, source.name))
    except NoSuchTableError:
        table = _made(catalog, source, schema)
    _check_source(table)
    if table.spec().is_unpartitioned():  # new, or left so by a publication that was killed
        with table.update_spec() as update:
            update.add_field("date", MonthTransform(), "month")
    if set(schema.names) - set(table.schema().column_names):
        with table.update_schema() as update:
            update.union_by_name(schema)
    return table


def _check_source(table: Table) -> None:
    """Raises LakeError for a table of another source: it would be replaced, month by month, as if it were corrected."""
    theirs = table.properties.get(SOURCE, market().source)
    if theirs != market().source:
        raise LakeError(
            f"{title()} has the tables of source {theirs}, and [market] source = {market().source}; name another "
            f"warehouse for this one"
        )


def _made(catalog: Catalog, source: LakeTable, schema: pa.Schema) -> Table:
    properties = {
        TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
        TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: str(PREVIOUS_METADATA),
        "commit.retry.num-retries": "0",  # what another process has published meanwhile is looked at anew
    }
    return catalog.create_table((NAMESPACE, source.name), schema=schema, properties=properties)


def _replace(
    table: Table,
    source: LakeTable,
    connection: DuckDBPyConnection,
    months: Mapping[str, str | None],
    summary: Mapping[str, str],
) -> None:
    """Put the rows of the months in place of their files; months without a digest have no rows any more."""
    with table.transaction() as transaction:
        with transaction.update_snapshot(snapshot_properties=dict(summary)).overwrite() as snapshot:
            for old in _files(table, months):
                snapshot.delete_data_file(old)
            for month in (month for month, digest in months.items() if digest):
                rows = source.rows(connection, month)
                for new in _dataframe_to_data_files(transaction.table_metadata, rows, table.io):
                    snapshot.append_data_file(new)
        noted = {DIGEST + month: digest for month, digest in months.items() if digest}
        transaction.set_properties({SOURCE: market().source, **noted})
        gone = [DIGEST + month for month, digest in months.items() if not digest]
        if gone:
            transaction.remove_properties(*gone)


def _files(table: Table, months: Iterable[str]) -> list[DataFile]:
    """The files of the table that hold the months."""
    wanted = {_number(month) for month in months}
    return [task.file for task in table.scan().plan_files() if task.file.partition[0] in wanted]


def _number(month: str) -> int:
    """Months since 1970, as Iceberg counts them."""
    found = re.fullmatch(r"(\d{4})-(\d\d)", month)
    assert found, month
    return (int(found[1]) - 1970) * 12 + int(found[2]) - 1
