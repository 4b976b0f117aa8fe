"""The outbox: events of four kinds, each with a JSON Schema in `schemas/`.

An event commits with the rows that it tells of, or not at all. Its `event_id` is its own for good: delivery is at least
once, and whoever must not count twice keeps the ids that it has seen.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import pathlib
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE_UPDATES, WATCHLIST, SIGNALS, CORRECTIONS = "table-updates", "watchlist", "signals", "corrections"

#: The kinds, with the version of each one's body; a field that is added does not raise it.
VERSIONS = {TABLE_UPDATES: 1, WATCHLIST: 1, SIGNALS: 1, CORRECTIONS: 1}

SCHEMAS = pathlib.Path(__file__).with_name("schemas")

#: What the names of events are made from that have to be the same when they are written once more.
NAMESPACE = uuid.UUID("5f3c1d0e-6f0b-4c57-9a43-6a8f4f0c2b11")


@dataclasses.dataclass(frozen=True)
class Event:
    """One event. `id` is its number in the outbox, `created_at` the beginning of its transaction."""

    id: int
    event_id: str
    kind: str
    version: int
    key: str
    created_at: dt.datetime
    body: str

    def as_json(self) -> str:
        """The event as it is delivered, on one line."""
        facts = {"event_id": self.event_id, "kind": self.kind, "version": self.version, "key": self.key}
        return json.dumps({**facts, "created_at": self.created_at.isoformat(), "body": json.loads(self.body)})


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind's body."""
    found: dict[str, Any] = json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))
    return found


def add(connection: DuckDBPyConnection, kind: str, key: str, body: dict[str, Any]) -> None:
    """Write an event, in the caller's transaction."""
    connection.execute(
        "INSERT INTO outbox (kind, version, key, body) VALUES (?, ?, ?, ?)",
        [kind, VERSIONS[kind], key, json.dumps(body, default=str)],
    )


def add_once(connection: DuckDBPyConnection, kind: str, key: str, name: str, body: dict[str, Any]) -> None:
    """Write an event whose `event_id` follows from `name`, unless it is there already."""
    event_id = str(uuid.uuid5(NAMESPACE, name))
    connection.execute(
        """
        INSERT INTO outbox (event_id, kind, version, key, body)
        SELECT $id, $kind, $version, $key, $body WHERE NOT EXISTS (FROM outbox WHERE event_id = $id)
        """,
        {"id": event_id, "kind": kind, "version": VERSIONS[kind], "key": key, "body": json.dumps(body, default=str)},
    )


def add_rows(connection: DuckDBPyConnection, kind: str, query: str, parameters: dict[str, Any] | None = None) -> None:
    """Write an event for each row of a query with the columns `key` and `body` (JSON), in its order."""
    connection.execute(
        f"INSERT INTO outbox (kind, version, key, body) "
        f"SELECT '{kind}', {VERSIONS[kind]}, key, body::VARCHAR FROM ({query})",
        parameters or {},
    )


def is_there(connection: DuckDBPyConnection) -> bool:
    """Whether the database has an outbox: one of an older version gets it when it is next written."""
    return bool(connection.execute("FROM duckdb_tables() SELECT 1 WHERE table_name = 'outbox'").fetchall())


def behind(connection: DuckDBPyConnection, transport: str, most: int) -> list[Event]:
    """The oldest events that a transport has not taken yet."""
    rows = connection.execute(
        """
        SELECT id, event_id, kind, version, key, created_at, body FROM outbox
        WHERE id > coalesce((SELECT id FROM outbox_positions WHERE transport = $transport), 0)
        ORDER BY id LIMIT $most
        """,
        {"transport": transport, "most": most},
    ).fetchall()
    return [Event(*row) for row in rows]


def count_behind(connection: DuckDBPyConnection, transport: str) -> tuple[int, dt.datetime | None]:
    """How many events a transport has not taken yet, and when the oldest of them was written."""
    row = connection.execute(
        """
        SELECT count(*), min(created_at) FROM outbox
        WHERE id > coalesce((SELECT id FROM outbox_positions WHERE transport = ?), 0)
        """,
        [transport],
    ).fetchone()
    return row or (0, None)


def move(connection: DuckDBPyConnection, transport: str, last: int) -> None:
    """Note that a transport has taken all events up to the number `last`."""
    connection.execute(
        "INSERT OR REPLACE INTO outbox_positions (transport, id, moved_at) VALUES (?, ?, now())", [transport, last]
    )


def trim(connection: DuckDBPyConnection, before: dt.datetime, transports: Iterable[str]) -> int:
    """Delete events from before a moment that every one of the transports has taken; their number."""
    ((count,),) = connection.execute(
        """
        DELETE FROM outbox WHERE created_at < $before AND NOT EXISTS (
            SELECT 1 FROM (SELECT unnest($transports::VARCHAR[]) AS transport) t
            LEFT JOIN outbox_positions p USING (transport)
            WHERE coalesce(p.id, 0) < outbox.id
        )
        """,
        {"before": before, "transports": list(transports)},
    ).fetchall()
    return int(count)
