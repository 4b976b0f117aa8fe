"""How long a stage usually takes: one rule, for `pipeline status`, the report and the metrics."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Runs that the usual duration of a task is taken from.
RECENT = 20


def usual(connection: DuckDBPyConnection, before: dt.date | None = None) -> dict[str, tuple[float, int]]:
    """The usual duration of each task in seconds, and of how many runs it is the median: the last 20 that were done.

    Runs of one date each count alone: the share that a session had in a combined run says nothing of its own. With
    `before`, only runs of earlier dates.
    """
    rows = connection.execute(
        """
        SELECT task, median(duration_seconds), count(*) FROM (
            SELECT task, duration_seconds, row_number() OVER (PARTITION BY task ORDER BY started_at DESC) AS age
            FROM task_runs
            WHERE status = 'done' AND combined = 1 AND duration_seconds IS NOT NULL
                AND ($before IS NULL OR date < $before)
        ) WHERE age <= $recent GROUP BY task
        """,
        {"recent": RECENT, "before": before},
    ).fetchall()
    return {task: (seconds, count) for task, seconds, count in rows}
