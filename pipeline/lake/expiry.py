"""Old snapshots go, and with them the files that no other snapshot needs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import publish
from pipeline.lake.catalog import NAMESPACE
from pipeline.lake.tables import TABLES

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table


def expire(catalog: Catalog) -> int:
    """Forget the snapshots older than `[publish] snapshot_days`, the newest never; the number of files deleted."""
    before = calendar.now() - dt.timedelta(days=publish().snapshot_days)
    return sum(_expire(catalog.load_table((NAMESPACE, table.name)), before) for table in TABLES)


def _expire(table: Table, before: dt.datetime) -> int:
    newest = table.current_snapshot()
    limit = int(before.timestamp() * 1000)
    old = [s.snapshot_id for s in table.snapshots() if s.timestamp_ms < limit and newest and s != newest]
    if not old:
        return 0
    reached = files(table)
    table.maintenance.expire_snapshots().by_ids(old).commit()
    table.refresh()
    for path in reached - files(table):
        table.io.delete(path)
    return len(reached - files(table))


def files(table: Table) -> set[str]:
    """What the snapshots of the table need: data, manifests, and the lists of these."""
    found: set[str] = set()
    for snapshot in table.snapshots():
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            found.add(manifest.manifest_path)
            found |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    return found
