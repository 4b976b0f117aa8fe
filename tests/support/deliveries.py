"""Deliveries of events that are killed at many moments, to each of the transports."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

import luigi.configuration
import redis.asyncio  # noqa: F401  # once, not in each child

import pipeline.feed.kafka  # noqa: F401
from pipeline.database.connection import reading, writing
from pipeline.events import outbox
from pipeline.feed import delivery
from tests.support.kafka import consumed, mock_cluster
from tests.support.servers import RedisServer

#: Where a child may be killed, and the events that are written before each kill.
TRACED, EACH = ("delivery.py", "transports.py", "kafka.py", "outbox.py", "connection.py"), 20
KEYS = ("AAA", "BBB", "CCC")

Events = list[dict[str, Any]]


@contextlib.contextmanager
def file(folder: pathlib.Path) -> Iterator[Callable[[], Events]]:
    """For the time of the block the transport is a file; what it has."""
    path = folder / "events.jsonl"
    _set("events", file=str(path))
    yield lambda: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def stream(folder: pathlib.Path) -> Iterator[Callable[[], Events]]:
    server = RedisServer(folder / "server")
    _set("redis", url=server.url)
    _set("events", redis_stream="events")

    def found() -> Events:
        with server.client() as client:
            return [json.loads(fields["event"]) for _, fields in client.xrange("nasdaq:events")]  # type: ignore[union-attr]

    yield found
    server.kill()


@contextlib.contextmanager
def kafka(folder: pathlib.Path) -> Iterator[Callable[[], Events]]:
    """In another process: children that are forked here must not have threads of librdkafka's in them."""
    with mock_cluster() as address:
        _set("events", kafka_servers=address)
        yield lambda: [event for _, event in consumed(address, "nasdaq.signals")]


TRANSPORTS = {"file": file, "Redis stream": stream, "Kafka": kafka}


def _set(section: str, **values: str) -> None:
    for name, value in values.items():
        luigi.configuration.get_config().set(section, name, value)


def threads() -> set[str]:
    """The names of this process's threads: Python's, and those of librdkafka, of which Python knows nothing."""
    names = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
    return {thread.name for thread in threading.enumerate()} | {name for name in names if name.startswith("rdk:")}


def write_events() -> None:
    with writing() as connection:
        for number in range(EACH):
            outbox.add(connection, "signals", KEYS[number % len(KEYS)], {"number": number})


def delivering(stop_at: int) -> int | None:
    """Deliver in a process of its own that is killed before the line of that number.

    The lines that it went through; None when it was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, str(_count_lines(stop_at)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    os.waitpid(child, 0)
    return int(text) if text else None


def _count_lines(stop_at: int) -> int:
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if os.path.basename(frame.f_code.co_filename) not in TRACED:
            return None
        if event == "line":
            count += 1
            if count == stop_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    delivery.deliver()
    sys.settrace(None)
    return count


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of it: how many were killed, and events that were written, are missing, and came again.

    `is_in_order` says whether the first of each event came in the order of its key.
    """

    killed: int
    written: int
    missing: int
    repeated: int
    is_in_order: bool


def try_out(transport: str, folder: pathlib.Path, moments: int) -> Outcome:
    """Deliver so often, killed at evenly spread lines between the commit of events and the note that they are taken.

    The configuration has to name a data folder of its own, and no transport.
    """
    before = threads()
    with TRANSPORTS[transport](folder) as taken:
        write_events()
        total = delivering(0) or 0
        killed = 0
        for moment in range(moments):
            write_events()
            assert threads() <= before, "a child would be forked beside a thread that may hold a lock which it needs"
            killed += delivering(1 + moment * total // moments) is None
        delivering(0)
        return _outcome(killed, [(event["key"], event["event_id"]) for event in taken()])


def _outcome(killed: int, found: list[tuple[str, str]]) -> Outcome:
    with reading() as connection:
        written = connection.execute("SELECT key, event_id FROM outbox ORDER BY id").fetchall()
    missing, repeated = len(set(written) - set(found)), len(found) - len(set(found))
    return Outcome(killed, len(written), missing, repeated, _by_key(found) == _by_key(written))


def _by_key(events: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The ids of each key, in the order in which they came first."""
    found: dict[str, dict[str, None]] = collections.defaultdict(dict)
    for key, event_id in events:
        found[key].setdefault(event_id)
    return {key: list(ids) for key, ids in found.items()}
