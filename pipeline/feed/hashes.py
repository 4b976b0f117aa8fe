"""The hash of each symbol, `watchlist_data:SYMBOL`: a field for each bar, named by its date, `meta`, and `state`.

A hash is written by one transaction or by one call of a script, so that whoever reads it with HGETALL sees it as it
was or as it is. `state` has a checksum of the bars, by which the server compares what is there with what should be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.config import redis as settings
from pipeline.feed.content import Entry
from pipeline.feed.server import CHUNK, ScriptCall, chunks, key, run_script, scan, seconds

if TYPE_CHECKING:
    from redis import Redis

FAMILY = "watchlist_data"
META, STATE = "meta", "state"

# For each key a row: the state from which the values lead to the new one, the new state, and the values of the fields.
# A digit for each key. 0: another state, nothing done; 1: brought up to date; 2: the bars were, and the rest is now.
_AMEND = """
    local plan, outcomes, write, drop = cjson.decode(ARGV[1]), {}, {'HSET', '', 'state', ''}, {'HDEL', ''}
    for j, field in ipairs(plan.fields) do write[2 * j + 3] = field end
    for j, field in ipairs(plan.dropped) do drop[j + 2] = field end
    for i, key in ipairs(KEYS) do
        local row = plan.rows[i]
        local found = redis.pcall('HGET', key, 'state')
        if found ~= row[1] and found ~= row[2] then
            outcomes[i] = 0
        else
            outcomes[i] = found == row[2] and 2 or 1
            write[2], write[4], drop[2] = key, row[2], key
            for j = 1, #plan.fields do write[2 * j + 4] = row[j + 2] end
            redis.call(unpack(write))
            if drop[3] then redis.call(unpack(drop)) end
            redis.call('EXPIRE', key, plan.ttl)
        end
    end
    return table.concat(outcomes)
"""
Dates = tuple[str, ...]

#: An entry, the lines that its hash has, and those that it should have.
Change = tuple[Entry, range, range]

REFUSED, AMENDED, UNCHANGED = 0, 1, 2


class Hashes:
    """The hashes of all symbols, by one client."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._base = key(FAMILY, "")
        self._ttl = seconds(settings().ttl_days)

    def name(self, symbol: str) -> str:
        return self._base + symbol

    def present(self) -> set[str]:
        """The symbols that have a key."""
        return {name.removeprefix(self._base) for name in scan(self._client, FAMILY, "")}

    def read(self, symbols: Iterable[str]) -> dict[str, dict[str, str]]:
        """The fields of these symbols' hashes; of one that is missing none. Raises redis-py's errors."""
        found: dict[str, dict[str, str]] = {}
        for group in chunks(symbols):
            pipe = self._client.pipeline(transaction=False)
            for symbol in group:
                pipe.hgetall(self.name(symbol))
            found.update(zip(group, pipe.execute(), strict=True))
        return found

    def write(self, entries: Iterable[Entry]) -> None:
        """Replace the hashes of these symbols."""
        for group in chunks(entries):
            pipe = self._client.pipeline(transaction=True)
            for entry in group:
                name = self.name(entry.symbol)
                pipe.unlink(name)
                pipe.hset(name, mapping=fields_of(entry))
                pipe.expire(name, self._ttl)
            pipe.execute()

    def amend(self, entries: Iterable[Entry], day: str) -> dict[str, int]:
        """Give hashes that were fed as of `day` their newer bars; by symbol REFUSED, AMENDED or UNCHANGED.

        Refused are those that hold something else than the replica now says of their dates, because of a correction
        or a split, say: they have to be written whole.
        """
        answers = run_script(self._client, _AMEND, self._calls(entries, day))
        return {
            name.removeprefix(self._base): int(outcome)
            for names, outcomes in answers
            for name, outcome in zip(names, outcomes, strict=True)
        }

    def _calls(self, entries: Iterable[Entry], day: str) -> Iterator[ScriptCall]:
        """Calls of the script, each for entries that get bars of the same dates, and lose bars of the same dates."""
        alike: dict[tuple[Dates, Dates], list[Change]] = {}
        for entry in entries:
            before, after = entry.fed_on(day), entry.fed
            added = entry.dates(range(before.stop, after.stop))
            dropped = entry.dates(range(before.start, after.start))
            group = alike.setdefault((added, dropped), [])
            group.append((entry, before, after))
            if len(group) == CHUNK:
                yield self._call(added, dropped, alike.pop((added, dropped)))
        for (added, dropped), group in alike.items():
            yield self._call(added, dropped, group)

    def _call(self, added: Dates, dropped: Dates, group: list[Change]) -> ScriptCall:
        rows = [
            (entry.state(before), entry.state(after), *map(entry.bar, range(before.stop, after.stop)), entry.meta())
            for entry, before, after in group
        ]
        plan = {"fields": [*added, META], "dropped": dropped, "ttl": self._ttl, "rows": rows}
        return [self.name(entry.symbol) for entry, _, _ in group], [json.dumps(plan)]


def fields_of(entry: Entry) -> dict[Any, str]:
    """All fields of a symbol's hash."""
    return {**entry.bars(), STATE: entry.state(entry.fed), META: entry.meta()}
