"""The tables of the database, made by named migrations: the SQL files of `migrations/`, applied once each, by name.

A database holds one source only, so every table carries the source's name as the default of its column `source`
(`{source}` in the files). The big tables have no primary key: a day or a symbol is replaced as a whole, and
`pipeline.database.connection.duplicated_rows` proves that nothing is there twice. A migration that has been released is
never edited; what changes gets a file of its own.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable

MARKERS = "table_updates"

#: What a replica must hold to be published.
TABLES = (
    "nasdaq_symbols",
    "symbol_snapshots",
    "stock_data",
    "corporate_actions",
    "price_coverage",
    "rejected_bars",
    "technical_indicators",
    "daily_watchlist",
    "task_runs",
    "alerts",
    MARKERS,
)

#: Name and SQL of every migration, in their order.
MIGRATIONS: tuple[tuple[str, str], ...] = tuple(
    (path.stem, path.read_text(encoding="utf-8"))
    for path in sorted(pathlib.Path(__file__).with_name("migrations").glob("*.sql"))
)


def unknown_migrations(applied: Iterable[str]) -> list[str]:
    """Those of the names that are migrations (others note columns of the configuration) and that this code lacks."""
    known = {name for name, _ in MIGRATIONS}
    return sorted(name for name in applied if re.match(r"\d{3}_", name) and name not in known)
