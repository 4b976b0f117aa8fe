"""The columns of indicators that users defined: added by recorded migrations, and filled for sessions done before.

`migrations` gets `indicator atr_14 = ATR(14)` when the columns are added, and `filled atr_14 = ATR(14)` when the rows
of earlier sessions have their values: each in the transaction of what it says, so that a killed back-fill is done
again.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.config import indicators, market
from pipeline.database.sql import identifier, literal
from pipeline.indicators.definitions import Definition, configured_definitions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def add_columns(connection: DuckDBPyConnection) -> list[Definition]:
    """Add the columns that are missing; the definitions whose columns earlier sessions lack.

    A definition that was changed under its name loses its values, which belong to another formula.
    """
    for definition in configured_definitions():
        if not _is_recorded(connection, f"indicator {definition}"):
            _add(connection, definition)
    return [
        definition for definition in configured_definitions() if not _is_recorded(connection, f"filled {definition}")
    ]


def create_columns(connection: DuckDBPyConnection, definitions: Sequence[Definition]) -> None:
    for column in (column for definition in definitions for column in definition.columns):
        connection.execute(f"ALTER TABLE technical_indicators ADD COLUMN IF NOT EXISTS {identifier(column)} DOUBLE")


def _add(connection: DuckDBPyConnection, definition: Definition) -> None:
    create_columns(connection, [definition])
    nothing = ", ".join(f"{identifier(column)} = NULL" for column in definition.columns)
    connection.execute(f"UPDATE technical_indicators SET {nothing}")
    for done in ("indicator", "filled"):
        connection.execute("DELETE FROM migrations WHERE starts_with(name, ?)", [f"{done} {definition.name} = "])
    _record(connection, f"indicator {definition}")
    if not connection.execute("SELECT 1 FROM technical_indicators LIMIT 1").fetchall():
        _record(connection, f"filled {definition}")


def _is_recorded(connection: DuckDBPyConnection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM migrations WHERE name = ?", [name]).fetchall())


def _record(connection: DuckDBPyConnection, name: str) -> None:
    connection.execute(
        "INSERT INTO migrations (name, source, applied_at) VALUES (?, ?, now())", [name, market().source]
    )


def export_history(connection: DuckDBPyConnection, folder: pathlib.Path) -> None:
    """Write all bars of the symbols with indicators, bucketed as the job takes them; `wanted` are the stored rows."""
    for bucket in range(indicators().buckets):
        connection.execute(
            f"""
            COPY (
                SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.volume, t.symbol IS NOT NULL AS wanted
                FROM stock_data b LEFT JOIN technical_indicators t USING (symbol, date)
                WHERE b.symbol IN (SELECT symbol FROM technical_indicators) AND hash(b.symbol) % $buckets = $bucket
                ORDER BY b.symbol, b.date
            ) TO {literal(folder / f"bucket-{bucket:04d}.parquet")} (FORMAT parquet, COMPRESSION zstd)
            """,
            {"buckets": indicators().buckets, "bucket": bucket},
        )


def load_history(connection: DuckDBPyConnection, definitions: Sequence[Definition], folder: pathlib.Path) -> None:
    """Fill the columns of the definitions, and touch no other."""
    columns = [column for definition in definitions for column in definition.columns]
    values = ", ".join(f"{identifier(column)} = c.{identifier(column)}" for column in columns)
    connection.execute(
        f"""
        UPDATE technical_indicators t SET {values} FROM read_parquet({literal(folder / "*.parquet")}) c
        WHERE t.symbol = c.symbol AND t.date = c.date
        """
    )
    for definition in definitions:
        _record(connection, f"filled {definition}")
