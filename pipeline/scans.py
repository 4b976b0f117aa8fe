"""Watchlist scans as declarations: read from a TOML file, run as queries over the view of one session."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib
import tomllib
from typing import TYPE_CHECKING

from pipeline.config import absolute, scans
from pipeline.errors import ScanError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclasses.dataclass(frozen=True)
class Scan:
    """One declaration. `condition` and `order` are SQL expressions over the columns of `day_view`."""

    name: str
    description: str
    priority: int
    condition: str
    order: str
    limit: int


def configured_scans() -> list[Scan]:
    """The scans of `[scans] file`, smallest priority first.

    Raises ScanError when the file is missing, is no TOML, or a scan lacks a setting.
    """
    path = absolute(scans().file)
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ScanError(f"[scans] file = {path}: there is no such file") from error
    except tomllib.TOMLDecodeError as error:
        raise ScanError(f"{path} is no valid TOML: {error}") from error
    return sorted((_scan(path, name, settings) for name, settings in declared.items()), key=lambda s: s.priority)


def _scan(path: pathlib.Path, name: str, settings: dict[str, object]) -> Scan:
    try:
        return Scan(name=name, **settings)  # type: ignore[arg-type]
    except TypeError as error:
        fields = ", ".join(field.name for field in dataclasses.fields(Scan)[1:])
        raise ScanError(f"{path}, scan [{name}]: {error}; a scan has {fields}") from error


def create_day_view(connection: DuckDBPyConnection, session: dt.date) -> None:
    """The temporary table `day_view`: one row for each symbol expected on `session` that has a bar.

    Columns: those of `stock_data`, of `technical_indicators` and the facts of the listing that serves the session
    (name, sector, industry, country, market_cap, ipo_year), and `volume_ratio` = volume / avg_volume_30.
    """
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE day_view AS
        SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.volume,
               t.* EXCLUDE (symbol, date, source), b.volume / nullif(t.avg_volume_30, 0) AS volume_ratio,
               s.name, s.sector, s.industry, s.country, s.market_cap, s.ipo_year
        FROM price_coverage c
        JOIN session_universe u USING (date)
        JOIN symbol_snapshots s ON s.date = u.snapshot_date AND s.symbol = c.symbol
        JOIN stock_data b ON b.date = c.date AND b.symbol = c.symbol
        LEFT JOIN technical_indicators t ON t.date = c.date AND t.symbol = c.symbol
        WHERE c.date = $session AND b.date = $session AND c.state = 'stored'
          AND (t.date = $session OR t.date IS NULL)
        """,
        {"session": session},
    )


def find_hits(connection: DuckDBPyConnection, scan: Scan) -> None:
    """Append the symbols of `day_view` that the scan finds to the temporary table `hits`.

    Raises ScanError with DuckDB's own explanation when the condition or the order is no expression over the view.
    """
    import duckdb

    try:
        connection.execute(
            f"""
            INSERT INTO hits SELECT symbol, $name, $priority FROM day_view
            WHERE {scan.condition} ORDER BY {scan.order}, symbol LIMIT $limit
            """,
            {"name": scan.name, "priority": scan.priority, "limit": scan.limit},
        )
    except duckdb.Error as error:
        raise ScanError(f"scan [{scan.name}] of {absolute(scans().file)} cannot be run: {error}") from error


def store_watchlist(connection: DuckDBPyConnection, session: dt.date) -> dict[str, int]:
    """Replace the session's rows of `daily_watchlist`; hits by scan, after each symbol was kept once."""
    create_day_view(connection, session)
    connection.execute("CREATE OR REPLACE TEMP TABLE hits (symbol VARCHAR, scan VARCHAR, priority INTEGER)")
    declared = configured_scans()
    for scan in declared:
        find_hits(connection, scan)
    connection.execute("DELETE FROM daily_watchlist WHERE scan_date = ?", [session])
    connection.execute(
        """
        INSERT INTO daily_watchlist BY NAME
        SELECT d.date AS scan_date, d.symbol, d.name, d.sector, d.market_cap, h.scan AS scan_reason, h.priority,
               d.close AS close_price, d.volume, d.rsi_14, d.bb_position, d.volume_ratio,
               CASE WHEN d.market_cap >= 50e9 THEN 1 WHEN d.market_cap >= 10e9 THEN 2 ELSE 3 END AS market_cap_tier
        FROM (SELECT DISTINCT ON (symbol) * FROM hits ORDER BY symbol, priority, scan) h
        JOIN day_view d USING (symbol) ORDER BY h.priority, d.market_cap DESC, d.symbol
        """
    )
    rows = connection.execute(
        "SELECT scan_reason, count(*) FROM daily_watchlist WHERE scan_date = ? GROUP BY scan_reason", [session]
    ).fetchall()
    return dict.fromkeys((scan.name for scan in declared), 0) | dict(rows)
