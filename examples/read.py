"""A session's watchlist from the published Iceberg tables, in Polars, DuckDB and Spark: the same rows.

    python examples/read.py /srv/lake 2024-02-20
    python examples/read.py /srv/lake 2024-02-20 --engine spark

The warehouse is the folder of `[publish] warehouse`; the program needs the extra `iceberg`, and nothing else of the
pipeline. Its catalog is a SQLite file that says where the newest version of each table is described. Polars reads
Iceberg itself; DuckDB and Spark are given the files that pyiceberg has planned.
"""

from __future__ import annotations

import argparse
import pathlib
import sqlite3
from collections.abc import Callable

from pyiceberg.table import StaticTable

Rows = list[tuple[str, str, float]]
COLUMNS = ("symbol", "scan_reason", "close_price")


def newest(warehouse: pathlib.Path, name: str) -> StaticTable:
    """The table as it was last published. A version that is open stays as it is, whatever is published meanwhile."""
    address = (warehouse.absolute() / "catalog.db").as_uri()
    with sqlite3.connect(f"{address}?mode=ro", uri=True) as catalog:
        query = "SELECT metadata_location FROM iceberg_tables WHERE table_name = ?"
        (location,) = catalog.execute(query, [name]).fetchone()
    return StaticTable.from_metadata(location)


def files(table: StaticTable, session: str) -> list[str]:
    """The few files that may have rows of the session."""
    return [task.file.file_path for task in table.scan(row_filter=f"date = '{session}'").plan_files()]


def polars(table: StaticTable, session: str) -> Rows:
    import polars as pl

    rows = pl.scan_iceberg(table).filter(pl.col("date") == pl.lit(session).str.to_date())
    return rows.select(COLUMNS).sort("symbol").collect().rows()


def duckdb(table: StaticTable, session: str) -> Rows:
    import duckdb

    found = files(table, session)
    query = f"SELECT {', '.join(COLUMNS)} FROM read_parquet(?) WHERE date = ? ORDER BY symbol"
    return duckdb.execute(query, [found, session]).fetchall() if found else []


def spark(table: StaticTable, session: str) -> Rows:
    from pyspark.sql import SparkSession

    found = files(table, session)
    session_rows = f"date = DATE '{session}'"
    engine = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        rows = (
            engine.read.parquet(*found).where(session_rows).select(*COLUMNS).orderBy("symbol").collect()
            if found
            else []
        )
        return [tuple(row) for row in rows]
    finally:
        engine.stop()


ENGINES: dict[str, Callable[[StaticTable, str], Rows]] = {"polars": polars, "duckdb": duckdb, "spark": spark}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("warehouse", type=pathlib.Path, help="folder of [publish] warehouse")
    parser.add_argument("session", help="YYYY-MM-DD")
    parser.add_argument("--engine", choices=ENGINES, default="polars")
    given = parser.parse_args()
    for symbol, reason, close in ENGINES[given.engine](newest(given.warehouse, "watchlist"), given.session):
        print(f"{symbol:8} {reason:24} {close:10.2f}")


if __name__ == "__main__":
    main()
