"""The Redis feed against a bare pipelined redis-py program writing the same payload, and an ordinary day against both.

    python benchmarks/redis_sync.py [--symbols 1000] [--sessions 400] [--rounds 15]

A real server on loopback, the same for all; the programs take turns, so that a busy machine is busy for all, and what
counts are the ratios of their medians. The bare program has its payload in hand, and does no more than send it. An
ordinary day gives each symbol one new bar, two of a hundred symbols leave and two come. "read" is the one query over
the replica that every sync begins with; the ratios are given without and with it. The waits are those of another
program that sends PING without pause while the feed is written: the longest of each round, and of as long a time in
which nothing is written. "switch" is the time that the server gives to the transactions alone, by its own watch.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import duckdb
import luigi.configuration
import redis

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from pipeline.database.connection import CONFIG, migrate
from pipeline.database.replica import replica_path
from pipeline.feed.content import Feed, read_feed
from pipeline.feed.hashes import fields_of
from pipeline.feed.server import connect
from pipeline.feed.sync import sync
from tests.support.servers import RedisServer

#: Of the length that the fields of a version have.
VERSION = {"sync_id": "0" * 32, "session": "2024-02-16", "schema": "2"}
FIRST = dt.date(2022, 6, 1)
DAY, NEXT = dt.date(2024, 2, 15), dt.date(2024, 2, 16)


def make_replica(symbols: int, sessions: int) -> None:
    """`symbols` on the list of two days, others that are stored as well, and bars of `sessions` weekdays for all."""
    replica_path().parent.mkdir(parents=True)
    with duckdb.connect(str(replica_path()), config=CONFIG) as connection:
        migrate(connection)
        connection.execute(
            """
            INSERT INTO stock_data BY NAME
            SELECT format('S{:05d}', s) AS symbol, day::DATE AS date, close * 0.99 AS open, close * 1.02 AS high,
                   close * 0.97 AS low, close, (1e5 + hash(s, day) % 1000000)::BIGINT AS volume, now() AS fetched_at
            FROM range($symbols * 2) t(s), (
                SELECT day FROM range(DATE '2020-01-01', DATE '2024-02-17', INTERVAL 1 DAY) d(day)
                WHERE isodow(day) < 6 ORDER BY day DESC LIMIT $sessions
            ), LATERAL (SELECT 10 + hash(s, day, 1) % 1000003 / 2503.7 AS close)
            ORDER BY symbol, date
            """,
            {"symbols": symbols, "sessions": sessions},
        )
        moved = symbols // 50
        for day, first in ((DAY - dt.timedelta(days=6), 0), (NEXT, moved)):
            connection.execute(
                """
                INSERT INTO daily_watchlist BY NAME
                SELECT $day AS scan_date, format('S{:05d}', s) AS symbol,
                       format('Company {} Inc. Common Stock', s) AS name,
                       'Technology' AS sector, 2.5e9 + s AS market_cap, 'rsi_oversold' AS scan_reason, 1 AS priority,
                       10.0 AS close_price, 1 AS volume, 3 AS market_cap_tier
                FROM range($first, $first + $symbols) t(s)
                """,
                {"day": day, "first": first, "symbols": symbols},
            )
            connection.execute(
                "INSERT INTO table_updates VALUES (?, 'daily_watchlist', now())", [f"ScanWatchlist:{day}"]
            )


def bare(server: RedisServer, payload: dict[str, dict[str, str]]) -> None:
    with server.client() as client:
        pipe = client.pipeline(transaction=False)
        for name, fields in payload.items():
            pipe.hset(name, mapping=fields)
            pipe.expire(name, 86_400)
        pipe.execute()


def feed_redis(feed: Feed, force_full: bool = False) -> None:
    with connect() as client:
        sync(client, feed, force_full)


class Cost(NamedTuple):
    """Milliseconds of the clock, of both processors, of the server's transactions; kilobytes it received and sent."""

    elapsed: float
    client: float
    server: float
    switch: float
    received: float
    sent: float


def measure(server: RedisServer, action: Callable[[], object]) -> Cost:
    with server.client() as client:
        while client.info("memory")["lazyfree_pending_objects"]:  # type: ignore[index]
            pass  # what the program before has replaced is still being given back, on one of the machine's cores
        before = standing(client)
        action()
        return Cost(*(after - earlier for after, earlier in zip(standing(client), before, strict=True)))


def standing(client: redis.Redis) -> Cost:
    """What was spent up to now."""
    facts: dict[str, float] = client.info("everything")  # type: ignore[assignment]
    server = facts["used_cpu_user"] + facts["used_cpu_sys"]
    switch = facts.get("cmdstat_exec", {}).get("usec", 0) / 1000  # type: ignore[attr-defined]
    sizes = facts["total_net_input_bytes"] / 1000, facts["total_net_output_bytes"] / 1000
    return Cost(time.perf_counter() * 1000, time.process_time() * 1000, server * 1000, switch, *sizes)


#: Sends PING until its input is closed, then prints the longest wait for an answer, in milliseconds.
PINGING = """
import socket, sys, threading, time
end = threading.Thread(target=sys.stdin.read); end.start()
longest = 0.0
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as server:
    print("pinging", flush=True)
    while end.is_alive():
        started = time.perf_counter()
        server.sendall(b"PING\\r\\n")
        server.recv(100)
        longest = max(longest, time.perf_counter() - started)
print(longest * 1000)
"""


def longest_wait(server: RedisServer, action: Callable[[], object]) -> float:
    """Milliseconds that another program waited for the server at the most while an action ran."""
    command = [sys.executable, "-c", PINGING, str(server.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pinging:
        assert pinging.stdin and pinging.stdout
        pinging.stdout.readline()
        action()
        pinging.stdin.close()
        return float(pinging.stdout.read())


def waits(server: RedisServer, count: int) -> dict[str, list[float]]:
    """The longest waits of each round while the feed is written whole, an ordinary day, and while nothing is."""
    first, second = read_feed(DAY), read_feed(NEXT)
    found: dict[str, list[float]] = {"full": [], "ordinary day": [], "nothing": []}
    for _ in range(count):
        feed_redis(first, force_full=True)
        started = time.perf_counter()
        found["ordinary day"].append(longest_wait(server, lambda: feed_redis(second)))
        found["full"].append(longest_wait(server, lambda: feed_redis(second, force_full=True)))
        elapsed = time.perf_counter() - started
        found["nothing"].append(longest_wait(server, lambda elapsed=elapsed: time.sleep(elapsed / 2)))  # type: ignore[misc]
    return found


@contextlib.contextmanager
def server_of_its_own() -> Iterator[RedisServer]:
    """A server, and a data folder beside it, that the settings name while they are there."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(pathlib.Path(folder) / "server")
        config = luigi.configuration.get_config()
        config.set("storage", "data_dir", folder)
        config.set("redis", "url", server.url)
        try:
            yield server
        finally:
            server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with server_of_its_own() as server:
        make_replica(options.symbols, options.sessions)
        measured = rounds(server, options.rounds)
        waited = waits(server, options.rounds)
    report({name: Cost(*map(statistics.median, zip(*costs, strict=True))) for name, costs in measured.items()})
    for name, values in waited.items():
        print(
            f"longest wait, {name:13}{min(values):6.1f} ms at best, "
            f"{statistics.median(values):6.1f} ms in the median round"
        )


def rounds(server: RedisServer, count: int) -> dict[str, list[Cost]]:
    """The costs of each program, by its name, one a round; the first round is not counted."""
    first, second = read_feed(DAY), read_feed(NEXT)
    payload = {f"bare:{symbol}": fields_of(entry, VERSION) for symbol, entry in second.entries.items()}
    programs: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(server, payload),
        "read": lambda: read_feed(NEXT),
        "full": lambda: feed_redis(second, force_full=True),
        "ordinary day": lambda: feed_redis(second),
        "again": lambda: feed_redis(second),
    }
    measured: dict[str, list[Cost]] = {name: [] for name in programs}
    for number in range(count + 1):
        for name, program in programs.items():
            if name == "ordinary day":
                feed_redis(first, force_full=True)
            cost = measure(server, program)
            if number:
                measured[name].append(cost)
    return measured


def report(medians: dict[str, Cost]) -> None:
    print(f"{'ms, kB':14}{'elapsed':>9}{'client':>9}{'server':>9}{'switch':>9}{'received':>10}{'sent':>9}")
    for name, cost in medians.items():
        print(
            f"{name:14}{cost.elapsed:9.1f}{cost.client:9.1f}{cost.server:9.1f}{cost.switch:9.1f}"
            f"{cost.received:10.0f}{cost.sent:9.0f}"
        )
    plain, read, full, day = (medians[name] for name in ("bare", "read", "full", "ordinary day"))
    both = (read.elapsed + day.elapsed) / (read.elapsed + full.elapsed)
    print(
        f"full / bare           {full.elapsed / plain.elapsed:6.2f}   "
        f"with the reading {(read.elapsed + full.elapsed) / plain.elapsed:6.2f}"
    )
    print(
        f"ordinary day / full   {day.elapsed / full.elapsed:6.2f}   with the reading {both:6.2f}   "
        f"in processor time {(day.client + day.server) / (full.client + full.server):6.2f}   "
        f"in bytes received {day.received / full.received:6.2f}"
    )


if __name__ == "__main__":
    main()
