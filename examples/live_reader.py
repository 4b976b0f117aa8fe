"""What a live signal detector starts from: the watchlist, its bars, and each trigger once. Needs redis-py alone.

    REDIS_URL=redis://127.0.0.1:6379/0 python examples/live_reader.py
    python examples/live_reader.py --follow          # and wait for the triggers of the next days

docs/redis.md describes every key and field.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import redis

PREFIX = os.environ.get("FEED_PREFIX", "nasdaq:")
GROUP = "live_reader"

#: How often a reading is begun anew before the feed is taken for damaged; a switch lasts some milliseconds.
ATTEMPTS = 10


@dataclasses.dataclass(frozen=True)
class Stock:
    """One symbol of the watchlist; `bars` oldest first, each with date, open, high, low, close and volume."""

    symbol: str
    facts: dict[str, Any]
    bars: list[dict[str, Any]]


def read_stock(symbol: str, fields: dict[str, str]) -> Stock:
    """A symbol from its hash: the bars are the fields that are named by a date."""
    dates = sorted(name for name in fields if name[0].isdigit())
    return Stock(symbol, json.loads(fields["meta"]), [{"date": date, **json.loads(fields[date])} for date in dates])


def read_watchlist(client: redis.Redis) -> tuple[dict[str, Any], list[Stock]]:
    """The last update and all its stocks, of one version: begun anew when the feed was switched meanwhile.

    Raises LookupError when nothing was fed yet, the feed is not trusted at the moment, or was damaged since.
    """
    for _ in range(ATTEMPTS):
        text = client.get(f"{PREFIX}watchlist_last_update")
        if text is None:
            raise LookupError(f"no {PREFIX}watchlist_last_update: run luigi --module pipeline RedisWatchlistSync")
        update = json.loads(text)
        pipe = client.pipeline(transaction=False)
        for symbol in update["symbols"]:
            pipe.hgetall(f"{PREFIX}watchlist_data:{symbol}")
        hashes = dict(zip(update["symbols"], pipe.execute(), strict=True))
        if all(fields.get("sync_id") == update["sync_id"] for fields in hashes.values()):
            return update, [read_stock(symbol, fields) for symbol, fields in hashes.items()]
    others = [symbol for symbol, fields in hashes.items() if fields.get("sync_id") != update["sync_id"]]
    raise LookupError(f"{len(others)} symbols are missing or of another version, such as {others[0]}")


def take_triggers(client: redis.Redis, consumer: str, wait: float = 0.0) -> Iterator[dict[str, Any]]:
    """Triggers that no consumer of the group has taken yet; waits up to `wait` seconds for the first one.

    Each is acknowledged when the next one is asked for: one whose handling failed comes again to the same consumer.
    """
    stream = f"{PREFIX}signal_triggers"
    try:
        client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):  # the group is there already
            raise
    for start in ("0", ">"):  # first what this consumer took and did not finish, then what is new
        block = int(wait * 1000) if wait and start == ">" else None
        for _, entries in client.xreadgroup(GROUP, consumer, {stream: start}, count=1000, block=block) or []:
            for entry, fields in entries:
                if fields:  # else the stream has dropped it meanwhile
                    yield {"event": fields["event"], **json.loads(fields["trigger"])}
                client.xack(stream, GROUP, entry)


def is_hit(trigger: dict[str, Any], price: float, volume: int) -> bool:
    """The simplest rule: back above the lower band, on more volume than usual. Levels may be missing (None)."""
    band, threshold = trigger["bb_lower"], trigger["volume_threshold"]
    return band is not None and threshold is not None and price > band >= trigger["close"] and volume >= threshold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--follow", action="store_true")
    options = parser.parse_args()
    client = redis.Redis.from_url(
        os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"), decode_responses=True, socket_timeout=30
    )
    update, stocks = read_watchlist(client)
    print(
        f"{update['synced']} of {update['total']} symbols up to {update['session']}, written {update['at']} ({update['mode']})"
    )
    for stock in stocks:
        print(
            f"{stock.symbol:6} {stock.facts['scan_reason']:22} {len(stock.bars)} bars, last close {stock.bars[-1]['close']:.2f}"
        )
    while True:
        for trigger in take_triggers(client, consumer=socket.gethostname(), wait=5.0 if options.follow else 0.0):
            print(
                f"{trigger['event']} {trigger['symbol']:6} {trigger['scan']}: close {trigger['close']:.2f}, volume from {trigger['volume_threshold']}"
            )
        if not options.follow:
            break


if __name__ == "__main__":
    main()
