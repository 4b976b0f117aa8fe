"""The mirror of task runs and alerts in Redis: the lists `dag_performance_metrics` and `system_alerts`.

The tables `task_runs` and `alerts` are the record. Each list holds the newest rows as JSON, newest first, and beside it
lies the number of the last row that was pushed, written in the same transaction: rows that came while Redis was away
follow later, and none is pushed twice.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING, Any

from pipeline import calendar
from pipeline.config import redis
from pipeline.database.connection import reading, records
from pipeline.errors import PipelineError, RedisFeedError
from pipeline.feed.server import clear, connect, key, seconds

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

logger = logging.getLogger("pipeline")

#: The lists, and the table and columns that their entries come from.
LISTS = {
    "dag_performance_metrics": (
        "task_runs", "pipeline, task, date, started_at, duration_seconds, status, try_number, combined, run_id"
    ),
    "system_alerts": ("alerts", "type, pipeline, task, date, message, raised_at, run_id"),
}  # fmt: skip


def mirror() -> None:
    """Push the rows that the lists in Redis do not have yet. Fails for no reason of Redis's or the database's."""
    if not redis().url:
        return
    try:
        with connect() as client:
            for name, (table, columns) in LISTS.items():
                _push_new(client, key(name), table, columns)
    except PipelineError as error:
        logger.info("metrics and alerts wait in the database: Redis does not take them (%s)", type(error).__name__)
        logger.debug("%s", error)


def _push_new(client: Redis, name: str, table: str, columns: str) -> None:
    """The watermark names the database too: another one counts its rows anew. A damaged one begins the list anew."""
    watermark = f"{name}:pushed"
    clear(client, {name: "list", watermark: "string"})
    stored: str | None = client.get(watermark)  # type: ignore[assignment]
    known = _mark(stored)
    with reading() as connection:
        (database,) = connection.execute("SELECT min(applied_at)::VARCHAR FROM migrations").fetchone() or ("",)
        (newest,) = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone() or (0,)
        if known is not None and known["database"] == database and known["id"] > newest:
            known = None  # nobody but a hand counts further than the table does
        last = known["id"] if known is not None and known["database"] == database else 0
        query = f"SELECT id, {columns} FROM {table} WHERE id > ? ORDER BY id DESC LIMIT ?"
        rows = records(connection, query, last, redis().list_length)[::-1]
    if rows:
        mark = json.dumps({"database": database, "id": rows[-1]["id"]})
        entries = [json.dumps({k: v for k, v in row.items() if k != "id"}, default=_text) for row in rows]
        push = _Push(name, watermark, stored, mark, entries, anew=known is None)
        client.transaction(push, watermark)


def _mark(text: str | None) -> dict[str, Any] | None:
    """What a watermark says: that nothing was pushed when there is none, and None when it is damaged."""
    if text is None:
        return {"database": "", "id": 0}
    try:
        mark = json.loads(text)
    except ValueError:
        return None
    if (
        isinstance(mark, dict)
        and isinstance(mark.get("database"), str)
        and type(mark.get("id")) is int
        and mark["id"] >= 0
    ):
        return mark
    return None


@dataclasses.dataclass(frozen=True)
class _Push:
    """The transaction that pushes entries and moves the watermark, unless another process has just done so."""

    name: str
    watermark: str
    before: str | None
    mark: str
    entries: list[str]
    anew: bool

    def __call__(self, pipe: Pipeline) -> None:
        is_same = pipe.get(self.watermark) == self.before
        pipe.multi()
        if not is_same:
            return
        if self.anew:
            pipe.delete(self.name)
        pipe.lpush(self.name, *self.entries)
        pipe.ltrim(self.name, 0, redis().list_length - 1)
        pipe.set(self.watermark, self.mark)
        for name in (self.name, self.watermark):
            pipe.expire(name, seconds(redis().ttl_days))


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def push_test_alert(text: str) -> str | None:
    """Put a test entry into `system_alerts`; why that failed, None when it did not, "not configured" without Redis."""
    if not redis().url:
        return "not configured"
    entry = {
        "type": "test",
        "pipeline": None,
        "task": None,
        "date": None,
        "message": text,
        "raised_at": calendar.now().isoformat(),
    }
    try:
        with connect() as client:
            clear(client, {key("system_alerts"): "list"})
            client.lpush(key("system_alerts"), json.dumps(entry))
            client.ltrim(key("system_alerts"), 0, redis().list_length - 1)
    except RedisFeedError as error:
        return str(error)
    return None
