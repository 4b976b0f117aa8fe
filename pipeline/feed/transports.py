"""The ways that events take out of the outbox: a file of JSON lines, a Redis stream, and Kafka.

Each sends events in their order and says how many it has surely taken. One that is sent again after a kill or a broken
connection has the same `event_id`.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from pipeline.config import absolute
from pipeline.config import events as settings
from pipeline.config import redis as redis_settings
from pipeline.errors import EventDeliveryError
from pipeline.events.outbox import Event
from pipeline.feed.server import clear, connect, key

if TYPE_CHECKING:
    from redis import Redis


class Transport(Protocol):
    """`name` says the way and where it leads to, and is what the outbox knows it by."""

    @property
    def name(self) -> str: ...

    def send(self, events: Sequence[Event]) -> int:
        """The number of events, from the first one on, that are surely taken.

        Raises PipelineError when it is none of them.
        """

    def probe(self, event: Event) -> str:
        """Send one event, read it again, and say where it was found. Raises PipelineError."""


def configured() -> Iterator[Transport]:
    """The transports that `[events]` names."""
    section = settings()
    if section.file:
        yield JsonLines(absolute(section.file))
    if section.redis_stream:
        yield RedisStream(section.redis_stream)
    if section.kafka_servers:
        from pipeline.feed.kafka import Kafka

        yield Kafka()


class JsonLines:
    """A file that grows by a line for each event."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return f"file {self._path}"

    def send(self, events: Sequence[Event]) -> int:
        try:
            self._append("".join(f"{event.as_json()}\n" for event in events).encode())
        except OSError as error:
            raise EventDeliveryError(f"{self._path} takes no events: {error.strerror}") from error
        return len(events)

    def _append(self, lines: bytes) -> None:
        """Behind the last whole line: a process that was killed while it wrote has left a part of one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(descriptor, "r+b") as file:
            file.seek(whole_lines(file.fileno()))
            file.write(lines)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def probe(self, event: Event) -> str:
        self.send([event])
        if event.event_id not in self._path.read_text(encoding="utf-8").splitlines()[-1]:
            raise EventDeliveryError(f"{self._path} does not end with the event that was just written to it")
        return str(self._path)


def whole_lines(descriptor: int, step: int = 1 << 16) -> int:
    """The length of a file without the line at its end that has no end."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - step)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class RedisStream:
    """A stream at `[redis] url`, an entry for each event; it keeps about `[redis] stream_length` of them."""

    def __init__(self, name: str) -> None:
        self._key = key(name)

    @property
    def name(self) -> str:
        return f"redis {self._key}"

    def send(self, events: Sequence[Event]) -> int:
        with connect() as client:
            clear(client, {self._key: "stream"})
            self._add(client, events)
        return len(events)

    def _add(self, client: Redis, events: Sequence[Event]) -> list[str]:
        pipe, length = client.pipeline(transaction=True), redis_settings().stream_length
        for event in events:
            facts = {"event_id": event.event_id, "kind": event.kind, "key": event.key, "event": event.as_json()}
            pipe.xadd(self._key, facts, maxlen=length)  # type: ignore[arg-type]
        found: list[str] = pipe.execute()
        return found

    def probe(self, event: Event) -> str:
        with connect() as client:
            (entry,) = self._add(client, [event])
            found = client.xrange(self._key, entry, entry)
        if not found or found[0][1]["event_id"] != event.event_id:  # type: ignore[index]
            raise EventDeliveryError(f"{self._key} does not have the event that was just added to it")
        return f"{self._key}, entry {entry}"
