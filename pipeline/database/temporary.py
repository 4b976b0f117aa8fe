"""Temporary tables with an owner, who makes, names and drops them: they may be made again on the same connection."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Temporary:
    """Temporary tables on one connection, gone at the end of the block.

    with Temporary(connection) as tables:
        tables.make("wanted", "SELECT symbol FROM stock_data WHERE date = $date", {"date": session})
        tables.execute("DELETE FROM technical_indicators WHERE symbol IN (FROM wanted)")
    """

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self.connection = connection
        self._made: dict[str, None] = {}

    def __enter__(self) -> Temporary:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # an error ends the transaction, and the tables with it
            for name in self._made:
                self.connection.execute(f"DROP TABLE IF EXISTS {name}")

    def make(self, name: str, query: str, parameters: dict[str, Any] | None = None) -> None:
        """The table `name` of the rows of a query, in the place of one that has the name already."""
        self._made[name] = None
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}", parameters or {})

    def execute(self, query: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a statement that may read the tables."""
        return self.connection.execute(query, parameters or {}).fetchall()
