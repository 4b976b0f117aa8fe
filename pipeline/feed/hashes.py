"""The hash of each symbol, `watchlist_data:SYMBOL`: a field for each bar, named by its date, `meta`, and its version.

All hashes of a version are made beside those of the version before, at `watchlist_staged:SYMBOL`, whole or as a copy
with newer bars, and take their places at one moment (`switch.py`). Before it copies one, the server compares each of
its bars with what it should be, so that whatever happened to a hash is noticed when it is next fed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config import redis as settings
from pipeline.feed.content import Entry
from pipeline.feed.server import ScriptCall, chunks, key, run_script, scan, seconds

if TYPE_CHECKING:
    from redis import Redis

#: Where hashes are read, where they are made, and where they lie for the moment before they are deleted.
FAMILY, STAGED, REPLACED = "watchlist_data", "watchlist_staged", "watchlist_replaced"
META = "meta"

#: Symbols in one call of the script: the server does nothing else for its two milliseconds.
AMENDED_AT_ONCE = 50

# The keys are pairs: a hash and its copy. For each pair a row: the digest of the bars that the hash should have, and
# the values of the fields. A digit for each pair: 0, it has something else, and nothing is done; 1, copied and brought
# up to date; 2, copied, and its version alone is new.
_AMEND = """
    local plan, outcomes = cjson.decode(ARGV[1]), {}
    local read, write, drop = {'HMGET', ''}, {'HSET', ''}, {'HDEL', ''}
    for j, field in ipairs(plan.before) do read[j + 2] = field end
    read[#read + 1] = 'meta'
    for j, field in ipairs(plan.dropped) do drop[j + 2] = field end
    for j, text in ipairs(plan.version) do write[j + 2] = text end
    local first, last = #plan.version + 3, #plan.fields
    for j, field in ipairs(plan.fields) do write[first + 2 * j - 2] = field end
    for i, row in ipairs(plan.rows) do
        local live, staged = KEYS[2 * i - 1], KEYS[2 * i]
        read[2] = live
        local bars = redis.pcall(unpack(read))
        local meta = not bars.err and table.remove(bars)
        local whole, text = pcall(table.concat, bars)
        if bars.err or not whole or redis.call('HLEN', live) ~= plan.length or redis.sha1hex(text) ~= row[1] then
            outcomes[i] = 0
        else
            outcomes[i] = (last > 1 or drop[3] or meta ~= row[last + 1]) and 1 or 2
            write[2], drop[2] = staged, staged
            for j = 1, last do write[first + 2 * j - 1] = row[j + 1] end
            redis.call('COPY', live, staged, 'REPLACE')
            redis.call(unpack(write))
            if drop[3] then redis.call(unpack(drop)) end
            redis.call('EXPIRE', staged, plan.ttl)
        end
    end
    return table.concat(outcomes)
"""
Dates = tuple[str, ...]

#: An entry, the lines that its hash has, and those that it should have besides.
Change = tuple[Entry, range, range]

REFUSED, AMENDED, UNCHANGED = 0, 1, 2


class Hashes:
    """The hashes of all symbols, by one client. `version` are the fields that each of a version has in common."""

    def __init__(self, client: Redis, version: Mapping[str, str]) -> None:
        self._client = client
        self._bases = {family: key(family, "") for family in (FAMILY, STAGED, REPLACED)}
        self._ttl = seconds(settings().ttl_days)
        self._version = dict(version)

    def name(self, symbol: str, family: str = FAMILY) -> str:
        return self._bases[family] + symbol

    def present(self, family: str = FAMILY) -> set[str]:
        """The symbols that have a key."""
        base = self._bases[family]
        return {name.removeprefix(base) for name in scan(self._client, family, "")}

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
                fields = itertools.chain.from_iterable(fields_of(entry, self._version).items())
                pipe.execute_command("HSET", name, *fields)
                pipe.expire(name, self._ttl)
            pipe.execute()

    def amend(self, entries: Iterable[Entry], day: str) -> dict[str, int]:
        """Make hashes from those that were fed as of `day`, and newer bars; by symbol REFUSED, AMENDED or UNCHANGED.

        Refused are those that hold something else than the replica now says of their dates, because of a correction, a
        split or a damage, say: they have to be made whole.
        """
        base = self._bases[FAMILY]
        outcomes: dict[str, int] = {}
        for names, answer in run_script(self._client, _AMEND, self._calls(entries, day)):
            symbols = (name.removeprefix(base) for name in names[::2])
            outcomes.update(zip(symbols, map(int, answer), strict=True))
        return outcomes

    def sweep(self) -> None:
        """Delete what a sync has left beside the hashes."""
        for family in (STAGED, REPLACED):
            self.forget(self.present(family), family)

    def forget(self, symbols: Iterable[str], family: str) -> None:
        for group in chunks(symbols):
            self._client.unlink(*(self.name(symbol, family) for symbol in group))

    def _calls(self, entries: Iterable[Entry], day: str) -> Iterator[ScriptCall]:
        """Calls of the script, each for entries that have, get and lose bars of the same dates."""
        alike: dict[tuple[Dates, Dates], list[Change]] = {}
        for entry in entries:
            before, after = entry.fed_on(day), entry.fed
            added = range(max(before.stop, after.start), after.stop)
            dates = (entry.dates(before), entry.dates(added))
            group = alike.setdefault(dates, [])
            group.append((entry, before, added))
            if len(group) == AMENDED_AT_ONCE:
                yield self._call(*dates, alike.pop(dates))
        for dates, group in alike.items():
            yield self._call(*dates, group)

    def _call(self, had: Dates, added: Dates, group: list[Change]) -> ScriptCall:
        rows = [(entry.digest(before), *map(entry.bar, new), entry.meta()) for entry, before, new in group]
        surplus = max(0, len(had) + len(added) - group[0][0].count)
        plan = {
            "before": had,
            "length": len(had) + 1 + len(self._version),
            "dropped": had[:surplus],
            "fields": [*added, META],
            "version": [*itertools.chain.from_iterable(self._version.items())],
            "ttl": self._ttl,
            "rows": rows,
        }
        names = [self.name(entry.symbol, family) for entry, _, _ in group for family in (FAMILY, STAGED)]
        return names, [json.dumps(plan)]


def fields_of(entry: Entry, version: Mapping[str, str]) -> dict[str, str]:
    """All fields of a symbol's hash."""
    return {**entry.bars(), META: entry.meta(), **version}


def hash_in(answer: Any) -> dict[str, str] | None:
    """The fields that HGETALL answered; None for the error of a key of another type. Raises redis-py's other errors."""
    import redis

    if isinstance(answer, redis.ResponseError) and "WRONGTYPE" in str(answer):
        return None
    if isinstance(answer, Exception):
        raise answer
    return dict(answer)
