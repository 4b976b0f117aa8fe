"""How long a stage usually takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Runs that the usual duration of a task is taken from.
RECENT = 20


def medians(connection: DuckDBPyConnection) -> dict[str, float]:
    """The usual duration of each task in seconds: the median of its last 20 runs that were done, of one date each."""
    return dict(
        connection.execute(
            """
            SELECT task, median(duration_seconds) FROM (
                SELECT task, duration_seconds, row_number() OVER (PARTITION BY task ORDER BY started_at DESC) AS age
                FROM task_runs WHERE status = 'done' AND combined = 1 AND duration_seconds IS NOT NULL
            ) WHERE age <= $recent GROUP BY task
            """,
            {"recent": RECENT},
        ).fetchall()
    )
