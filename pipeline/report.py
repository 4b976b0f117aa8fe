"""The report page of a session: one HTML file that needs nothing else."""

from __future__ import annotations

import datetime as dt
import pathlib
from typing import TYPE_CHECKING, Any

from pipeline.config import market, storage
from pipeline.replica import code_version

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def report_path(session: dt.date) -> pathlib.Path:
    return storage().root / "reports" / f"{session}.html"


def render(connection: DuckDBPyConnection, session: dt.date) -> str:
    """The page, from the tables alone; everything that came from outside is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["figure"] = figure
    return environment.get_template("report.html").render(facts(connection, session))


def figure(value: float | None, pattern: str) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else pattern % value


def facts(connection: DuckDBPyConnection, session: dt.date) -> dict[str, Any]:
    """What the page shows."""
    snapshot = connection.execute("SELECT snapshot_date FROM session_universe WHERE date = ?", [session]).fetchone()
    return {
        "session": session,
        "source": market().source,
        "simulated": market().source == "simulated",
        "version": code_version(),
        "snapshot": snapshot[0] if snapshot else "unknown",
        "watchlist": records(
            connection, "FROM daily_watchlist WHERE scan_date = ? ORDER BY priority, market_cap DESC, symbol", session
        ),
        "coverage": records(
            connection, "SELECT state, count(*) AS symbols FROM price_coverage WHERE date = ? GROUP BY state ORDER BY 2 DESC", session
        ),
        "rejected": records(connection, "FROM rejected_bars WHERE date = ? ORDER BY symbol", session),
    }


def records(connection: DuckDBPyConnection, query: str, *values: object) -> list[dict[str, Any]]:
    """The rows of a query as dictionaries."""
    cursor = connection.execute(query, list(values))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
