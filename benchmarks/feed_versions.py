"""Reads the whole feed without pause while it is synced again and again, and counts readings that mix two versions.

    python benchmarks/feed_versions.py [--symbols 2300] [--syncs 50] [--readers 2]

Full syncs of one day and ordinary ones of the next take turns, each in a process of its own. Three of them are killed:
while hashes are compared, when half of the switch's transaction was sent, and behind the switch. The readers are
processes that read by `examples/live_reader.py`, and hold each bar of each symbol against the day that the update
names. Each version is waited for until every reader has read it.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import multiprocessing
import os
import pathlib
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import redis

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import live_reader
import redis_sync

from pipeline.feed.comparison import Comparison
from pipeline.feed.content import Feed, read_feed
from pipeline.feed.hashes import Hashes, fields_of
from tests.support.sending import end_half_sent
from tests.support.servers import RedisServer

#: Seconds that a reader may take for a version that nobody changes.
PATIENCE = 120.0

#: A process that has all that this one has, and no thread of ours that could hold a lock.
processes = multiprocessing.get_context("fork")

Stocks = dict[str, live_reader.Stock]


class Counting(redis.Redis):
    """A client that knows how often a reading was begun."""

    begun = 0

    def get(self, name: Any) -> Any:
        self.begun += 1
        return super().get(name)


def read(port: int, valid: dict[str, Stocks], answers: Connection) -> None:
    """Read for ever; of each reading the version, whether it is a mixture, and how often it was begun."""
    client = Counting(port=port, decode_responses=True)
    while True:
        try:
            update, stocks = live_reader.read_watchlist(client)
        except LookupError:
            continue  # begun anew ten times in vain, which is said by the count
        is_mixed = {stock.symbol: stock for stock in stocks} != valid[update["day"]]
        answers.send((update["sync_id"], is_mixed, client.begun))
        client.begun = 0


def valid(feed: Feed) -> Stocks:
    """What a reading of a day has to give."""
    return {symbol: live_reader.read_stock(symbol, fields_of(entry, {})) for symbol, entry in feed.entries.items()}


def killing(calls: int, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, in a process that ends when it has been called so often."""
    counter = itertools.count(1)

    def call(*arguments: Any) -> Any:
        if next(counter) == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    return call


def while_comparing() -> None:
    Comparison.request = killing(55, Comparison.request)  # type: ignore[method-assign]


def behind_the_switch() -> None:
    Hashes.forget = killing(3, Hashes.forget)  # type: ignore[method-assign]


def sync_apart(feed: Feed, force_full: bool, disturb: Callable[[], None] | None) -> None:
    """Sync in a process of its own, which is killed when it is disturbed."""

    def run() -> None:
        if disturb:
            disturb()
        redis_sync.feed_redis(feed, force_full)

    process = processes.Process(target=run)
    process.start()
    process.join()
    expected = -signal.SIGKILL if disturb else 0
    if process.exitcode != expected:
        raise SystemExit(f"a sync ended with {process.exitcode}, and {expected} was expected")


def disturbed(count: int) -> dict[int, Callable[[], None]]:
    """Which syncs are killed, and how: ordinary ones have odd numbers."""
    return {count // 4 | 1: while_comparing, count // 2 & ~1: end_half_sent, count * 3 // 4 | 1: behind_the_switch}


class Readers:
    """Processes that read, and the sums of what they say."""

    def __init__(self, count: int, port: int, feeds: dict[str, Stocks]) -> None:
        self.sums: collections.Counter[str] = collections.Counter()
        self.versions: set[str] = set()
        self._ends = []
        for _ in range(count):
            ours, theirs = processes.Pipe(duplex=False)
            processes.Process(target=read, args=(port, feeds, theirs), daemon=True).start()
            self._ends.append(ours)

    def wait_for(self, sync_id: str) -> None:
        """Until each has read a version."""
        for end in self._ends:
            found = ""
            while found != sync_id:
                if not end.poll(PATIENCE):
                    raise SystemExit("a reader finds no whole version")
                found, is_mixed, begun = end.recv()
                self.versions.add(found)
                self.sums.update(readings=1, mixed=is_mixed, begun=begun)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=2300)
    parser.add_argument("--syncs", type=int, default=50)
    parser.add_argument("--readers", type=int, default=2)
    options = parser.parse_args()
    with redis_sync.server_of_its_own() as server:
        redis_sync.make_replica(options.symbols, 60)
        readers = observed(server, options.syncs, options.readers)
    sums = readers.sums
    print(
        f"{options.symbols} symbols, {options.syncs} syncs, 3 of them killed; {sums['readings']} readings of "
        f"{len(readers.versions)} versions, {sums['begun'] - sums['readings']} begun anew: {sums['mixed']} mixtures"
    )
    return 1 if sums["mixed"] else 0


def observed(server: RedisServer, syncs: int, count: int) -> Readers:
    """Sync so often while so many read."""
    first, second = read_feed(redis_sync.DAY), read_feed(redis_sync.NEXT)
    redis_sync.feed_redis(second)
    readers = Readers(count, server.port, {str(feed.day): valid(feed) for feed in (first, second)})
    kills = disturbed(syncs)
    with server.client() as client:
        for number in range(syncs):
            is_ordinary = number % 2 == 1
            sync_apart(second if is_ordinary else first, not is_ordinary, kills.get(number))
            readers.wait_for(live_reader.json.loads(client.get("nasdaq:watchlist_last_update"))["sync_id"])  # type: ignore[arg-type]
    return readers


if __name__ == "__main__":
    sys.exit(main())
