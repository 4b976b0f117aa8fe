"""The index of all report pages: a line for each session."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config import market
from pipeline.database.connection import records
from pipeline.database.markers import MarkerTarget
from pipeline.report.hit_groups import has_column
from pipeline.report.page import templates
from pipeline.report.places import evaluation_path, pages
from pipeline.sources.exchanges import market_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = dict[str, Any]


def render_index(connection: DuckDBPyConnection, made: Mapping[dt.date, Row] | None = None) -> str:
    """The page with a line for each session that has a page. `made` are the facts of pages that were just made.

    Facts of the others are those of their markers.
    """
    rows = _rows(connection, pages())
    priorities = connection.execute("SELECT scan_reason, min(priority) FROM daily_watchlist GROUP BY ALL").fetchall()
    for row in rows:
        row |= {"median_change": None, "is_provisional": False} | _told(row["date"], made or {})
    return (
        templates()
        .get_template("index.html")
        .render(
            rows=rows,
            rules=[rule for rule, _ in sorted(priorities, key=lambda pair: (pair[1], pair[0]))],
            market=market_name(),
            simulated=market().source == "simulated",
            has_evaluation=evaluation_path().exists(),
            scripts=(),
        )
    )


def _told(session: dt.date, made: Mapping[dt.date, Row]) -> Row:
    marker = MarkerTarget("GenerateReport", session)
    facts = made[session] if session in made else marker.read() if marker.exists() else {}
    return {name: facts[name] for name in ("median_change", "is_provisional") if name in facts}


def _rows(connection: DuckDBPyConnection, sessions: list[dt.date]) -> list[Row]:
    """For each of the sessions, the newest first: hits by rule, the symbols stored and expected, what changed."""
    amended = "SELECT scan_date FROM watchlist_amendments"
    if not has_column(connection, "watchlist_amendments", "scan_date"):
        amended = "SELECT NULL::DATE"
    return records(
        connection,
        f"""
        SELECT d.date, coalesce(h.hits, MAP {{}}) AS hits, c.stored, c.expected, d.date IN ({amended}) AS amended,
               d.date IN (SELECT date FROM stale_sessions) AS is_stale
        FROM (SELECT unnest(?::DATE[]) AS date) d
        LEFT JOIN (
            SELECT scan_date AS date, map_from_entries(list((scan_reason, hits))) AS hits
            FROM (SELECT scan_date, scan_reason, count(*) AS hits FROM daily_watchlist GROUP BY ALL) GROUP BY scan_date
        ) h USING (date)
        LEFT JOIN (
            SELECT date, count(*) FILTER (state = 'stored') AS stored, count(*) AS expected
            FROM price_coverage GROUP BY date
        ) c USING (date)
        ORDER BY d.date DESC
        """,
        sessions,
    )
