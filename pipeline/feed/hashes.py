"""The hash of each symbol, `watchlist_data:SYMBOL`: a field for each bar, named by its date, `meta`, and its version.

Hashes that are made whole are made beside those of the version before, at `watchlist_staged:SYMBOL`, and take their
places at one moment (`switch.py`), together with what is new in those that stay (`amendments.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config import redis as settings
from pipeline.feed.content import Entry
from pipeline.feed.server import chunks, key, scan, seconds

if TYPE_CHECKING:
    from redis import Redis

#: Where hashes are read, where they are made, and where they lie for the moment before they are deleted.
FAMILY, STAGED, REPLACED = "watchlist_data", "watchlist_staged", "watchlist_replaced"
#: What the names of all three begin with.
COMMON = "watchlist_"
META = "meta"


class Hashes:
    """The hashes of all symbols, by one client.

    `version` are the fields that each of a version has in common, `lifetime` the seconds after which it expires.
    """

    def __init__(self, client: Redis, version: Mapping[str, str]) -> None:
        self._client = client
        self._prefix = key()
        self.lifetime = seconds(settings().ttl_days)
        self.version = dict(version)

    def name(self, symbol: str, family: str = FAMILY) -> str:
        return f"{self._prefix}{family}:{symbol}"

    def present(self) -> set[str]:
        """The symbols that have a key."""
        return self._present()[FAMILY]

    def sweep(self) -> set[str]:
        """Delete what a sync that was killed has left beside the hashes; the symbols that have a key."""
        found = self._present()
        for family in (STAGED, REPLACED):
            self.forget(found[family], family)
        return found[FAMILY]

    def _present(self) -> dict[str, set[str]]:
        """By one walk over all keys of the server, of which most may be somebody else's."""
        found: dict[str, set[str]] = {FAMILY: set(), STAGED: set(), REPLACED: set()}
        for name in scan(self._client, COMMON):
            family, colon, symbol = name.removeprefix(self._prefix).partition(":")
            if colon and family in found:
                found[family].add(symbol)
        return found

    def read(self, symbols: Iterable[str]) -> dict[str, dict[str, str] | None]:
        """The fields of these symbols' hashes: none of one that is missing, and None for a key of another type."""
        found: dict[str, dict[str, str] | None] = {}
        for group in chunks(symbols):
            pipe = self._client.pipeline(transaction=False)
            for symbol in group:
                pipe.hgetall(self.name(symbol))
            answers = pipe.execute(raise_on_error=False)
            found.update((symbol, hash_in(answer)) for symbol, answer in zip(group, answers, strict=True))
        return found

    def stage(self, entries: Iterable[Entry]) -> None:
        """Make the hashes of these symbols, whole."""
        for group in chunks(entries):
            pipe = self._client.pipeline(transaction=False)
            for entry in group:
                name = self.name(entry.symbol, STAGED)
                fields = itertools.chain.from_iterable(fields_of(entry, self.version).items())
                pipe.execute_command("HSET", name, *fields)
                pipe.expire(name, self.lifetime)
            pipe.execute()

    def forget(self, symbols: Iterable[str], family: str) -> None:
        for group in chunks(symbols):
            self._client.unlink(*(self.name(symbol, family) for symbol in group))


def fields_of(entry: Entry, version: Mapping[str, str]) -> dict[str, str]:
    """All fields of a symbol's hash."""
    return {**entry.fed(), META: entry.meta, **version}


def hash_in(answer: Any) -> dict[str, str] | None:
    """The fields that HGETALL answered; None for the error of a key of another type. Raises redis-py's other errors."""
    import redis

    if isinstance(answer, redis.ResponseError) and "WRONGTYPE" in str(answer):
        return None
    if isinstance(answer, Exception):
        raise answer
    return dict(answer)
