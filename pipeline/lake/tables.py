"""The tables of the warehouse: what each holds of the replica. Every one has the columns `symbol` and `date`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pipeline.database.sql import digest

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


@dataclasses.dataclass(frozen=True)
class LakeTable:
    """`query` gives its rows, `order` how they lie in a file; `date` is the session."""

    name: str
    query: str
    order: str = "symbol, date"

    def schema(self, connection: DuckDBPyConnection) -> pa.Schema:
        return connection.sql(f"FROM ({self.query}) LIMIT 0").to_arrow_table().schema

    def digests(self, connection: DuckDBPyConnection) -> dict[str, str]:
        """The months (`2024-02`) that have rows, each with their number and a hash independent of their order."""
        rows = connection.execute(
            f"""
            SELECT strftime(date, '%Y-%m') AS month, format('{{}}:{{:x}}', count(*), {digest("t")})
            FROM ({self.query}) t GROUP BY month ORDER BY month
            """
        )
        return dict(rows.fetchall())

    def rows(self, connection: DuckDBPyConnection, month: str) -> pa.Table:
        first = f"{month}-01"
        return connection.sql(
            f"""
            FROM ({self.query})
            WHERE date >= $first::DATE AND date < $first::DATE + INTERVAL 1 MONTH ORDER BY {self.order}
            """,
            params={"first": first},
        ).to_arrow_table()


#: Bars are adjusted for splits and not for dividends; prices in dollars, volume in shares of today's count.
TABLES: tuple[LakeTable, ...] = (
    LakeTable("bars", "SELECT symbol, date, open, high, low, close, volume, is_final FROM stock_data"),
    LakeTable("indicators", "SELECT * EXCLUDE (source) FROM technical_indicators"),
    LakeTable(
        "watchlist", "SELECT symbol, scan_date AS date, * EXCLUDE (symbol, scan_date, stored_at) FROM daily_watchlist"
    ),
    LakeTable("actions", "SELECT symbol, date, kind, value FROM corporate_actions", "symbol, date, kind"),
    LakeTable("coverage", "SELECT symbol, date, state, reason FROM price_coverage"),
)
