"""What a live signal detector starts from: the watchlist, its bars, and what becomes of triggers. Needs redis-py alone.

    REDIS_URL=redis://127.0.0.1:6379/0 python examples/live_reader.py
    python examples/live_reader.py --follow          # and take each new list and the triggers of the next days

docs/redis.md describes every key and field.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import redis

PREFIX = os.environ.get("FEED_PREFIX", "nasdaq:")
GROUP = "live_reader"

#: How often a reading is begun anew before the feed is taken for damaged; a switch lasts some milliseconds.
ATTEMPTS = 10

#: Seconds after which a trigger that a consumer took and did not finish is another one's, and between two looks.
ABANDONED, WAIT = 60.0, 5.0

#: What a Redis that is restarted raises; it is asked again until it is back.
AWAY = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)


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


def take_triggers(client: redis.Redis, consumer: str, abandoned: float = ABANDONED) -> Iterator[dict[str, Any]]:
    """What became of triggers and the group has not taken yet; `event` says which: trigger, restated, withdrawn.

    Each is acknowledged when the next one is asked for: one whose handling failed comes again to the same consumer, and
    after `abandoned` seconds to whichever asks, for the one that took it may be gone.
    """
    stream = f"{PREFIX}signal_triggers"
    try:
        client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):  # the group is there already
            raise
    client.xautoclaim(stream, GROUP, consumer, min_idle_time=int(abandoned * 1000), count=1000)
    for start in ("0", ">"):  # first what this consumer has taken and not finished, then what is new
        for _, entries in client.xreadgroup(GROUP, consumer, {stream: start}, count=1000) or []:
            for entry, fields in entries:
                if fields:  # else the stream has dropped it meanwhile
                    yield {"event": fields["event"], **json.loads(fields["trigger"])}
                client.xack(stream, GROUP, entry)


def is_hit(trigger: dict[str, Any], price: float, volume: int) -> bool:
    """The simplest rule: back above the lower band, on more volume than usual. Levels may be missing (None)."""
    band, threshold = trigger["bb_lower"], trigger["volume_threshold"]
    return band is not None and threshold is not None and price > band >= trigger["close"] and volume > threshold


def age(update: dict[str, Any]) -> dt.timedelta:
    """How long ago the feed was written."""
    return dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(update["at"])


def wait_for_news(client: redis.Redis, seen: dict[str, str], wait: float = WAIT) -> set[str]:
    """The streams that have entries behind `seen`, which is moved on; waits for the first one without asking again."""
    found = client.xread(seen, count=1000, block=int(wait * 1000)) or []
    for stream, entries in found:
        seen[stream] = entries[-1][0]
    return {stream for stream, _ in found}


def show(client: redis.Redis) -> None:
    try:
        update, stocks = read_watchlist(client)
    except LookupError as error:
        print(error)
        return
    print(
        f"{update['synced']} of {update['total']} symbols up to {update['session']}, written {update['at']} "
        f"({update['mode']}), {age(update).total_seconds() / 3600:.1f} hours old"
    )
    for stock in stocks:
        print(
            f"{stock.symbol:6} {stock.facts['scan_reason']:22} {len(stock.bars)} bars, "
            f"last close {stock.bars[-1]['close']:.2f}"
        )


def take(client: redis.Redis) -> None:
    for trigger in take_triggers(client, consumer=f"{socket.gethostname()}:{os.getpid()}"):
        if trigger["event"] == "withdrawn":
            print(f"withdrawn {trigger['symbol']:6} of {trigger['session']}")
        else:
            levels = f"close {trigger['close']:.2f}, volume above {trigger['volume_threshold']}"
            print(f"{trigger['event']} {trigger['symbol']:6} {trigger['scan']}: {levels}")


def follow(client: redis.Redis) -> None:
    """Take the new list and the triggers when they come, for ever; a Redis that is away is waited for."""
    updates, triggers = f"{PREFIX}watchlist_updates", f"{PREFIX}signal_triggers"
    seen = {updates: "0", triggers: "0"}
    while True:
        try:
            news = wait_for_news(client, seen)
            if updates in news:
                show(client)
            take(client)
        except AWAY as error:
            print(f"Redis is away ({error}); asking again")
            time.sleep(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--follow", action="store_true")
    options = parser.parse_args()
    client = redis.Redis.from_url(
        os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"), decode_responses=True, socket_timeout=30
    )
    if options.follow:
        follow(client)
    show(client)
    take(client)


if __name__ == "__main__":
    main()
