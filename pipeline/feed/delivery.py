"""The delivery of events, after the commit: from the outbox to each configured transport, at least once, in order.

How far a transport is, is noted when it has taken events. A process that is killed between the two sends them again,
with the same `event_id`. A transport that is down delays its events, and no others; it fails no run.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from typing import Any

from pipeline import calendar
from pipeline.config import retention
from pipeline.database.connection import database_path, reading, writing
from pipeline.errors import PipelineError
from pipeline.events import outbox
from pipeline.events.outbox import Event
from pipeline.feed.transports import Transport, configured

logger = logging.getLogger("pipeline")

#: Events that are sent at once.
AT_ONCE = 500


def deliver() -> dict[str, int]:
    """Send what is in the outbox, and forget what is old and delivered; the number of events by transport.

    Fails for no reason of a transport's or the database's.
    """
    counts = {}
    try:
        transports = list(configured())
        for transport in transports:
            counts[transport.name] = _deliver_by(transport)
        _trim(transports)
    except PipelineError as error:
        logger.warning("events wait in the outbox: %s", error)
    return counts


def _deliver_by(transport: Transport) -> int:
    """How many events a transport has taken; one that takes no more is said in one line."""
    count = 0
    try:
        while events := _behind(transport):
            taken = transport.send(events)
            with writing() as connection:
                outbox.move(connection, transport.name, events[taken - 1].id)
            count += taken
    except PipelineError as error:
        logger.warning("events wait in the outbox for %s: %s", transport.name, error)
    return count


def _behind(transport: Transport) -> list[Event]:
    if not database_path().exists():
        return []
    with reading() as connection:
        return outbox.behind(connection, transport.name, AT_ONCE) if outbox.is_there(connection) else []


def _trim(transports: list[Transport]) -> None:
    """Nothing is written while there is nothing to forget."""
    if not database_path().exists():
        return
    before = calendar.now() - dt.timedelta(days=retention().event_days)
    with reading() as connection:
        is_due = (
            outbox.is_there(connection)
            and connection.execute("FROM outbox WHERE created_at < ? LIMIT 1", [before]).fetchall()
        )
    if is_due:
        with writing() as connection:
            outbox.trim(connection, before, [transport.name for transport in transports])


def standing() -> list[dict[str, Any]]:
    """Of each configured transport: its name, how many events it has not taken yet, and since when the oldest waits."""
    transports = list(configured())
    if not transports or not database_path().exists():
        return []
    with reading() as connection:
        if not outbox.is_there(connection):
            return []
        found = [(transport.name, *outbox.count_behind(connection, transport.name)) for transport in transports]
    return [{"transport": name, "waiting": count, "since": since} for name, count, since in found]


def probe() -> dict[str, str]:
    """Send a probe by each transport and read it back: by its name where it was found, or why it was not, after `!`."""
    event = Event(0, str(uuid.uuid4()), "probe", 1, "probe", calendar.now(), '{"probe": true}')
    return {transport.name: _probed(transport, event) for transport in configured()}


def _probed(transport: Transport, event: Event) -> str:
    try:
        return transport.probe(event)
    except PipelineError as error:
        return f"! {error}"
