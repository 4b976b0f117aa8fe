"""Hashes that stay where they are, as most of a symbol's bars are the same from one day to the next.

Beforehand the server compares each with what it should be: whatever happened to a hash is noticed when it is next fed.
What is new of those that are right is written into them at the switch (`switch.py`); the others are made whole.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pipeline.feed.content import Entry
from pipeline.feed.hashes import META, Hashes
from pipeline.feed.server import ScriptCall, run_script
from pipeline.feed.state import State

if TYPE_CHECKING:
    from redis import Redis

#: Symbols in one call of a script: the server does nothing else for its millisecond.
AT_ONCE = 50

# A digit for each hash: 0, it has something else than it should; 1, it is right, and gets something new; 2, it is right
# and stays as it is, but for its version. Those that are right live on.
COMPARE = """
    local plan, outcomes, call = cjson.decode(ARGV[1]), {}, redis.call
    local read = {'HMGET', ''}
    for j, field in ipairs(plan.fields) do read[j + 2] = field end
    read[#read + 1] = 'meta'
    for i, key in ipairs(KEYS) do
        read[2] = key
        local values = redis.pcall(unpack(read))
        local meta = not values.err and table.remove(values)
        local whole, text = pcall(table.concat, values)
        if not meta or not whole or call('HLEN', key) ~= #read - 2 or redis.sha1hex(text) ~= plan.rows[i][1] then
            outcomes[i] = 0
        else
            outcomes[i] = (plan.moves or meta ~= plan.rows[i][2]) and 1 or 2
            call('EXPIRE', key, plan.ttl)
        end
    end
    return table.concat(outcomes)
"""

# The numbers of fields that are dropped, and that each hash gets a value of its own for, the last being 'meta', and of
# texts of the version; the names of the first two, the version, and the values hash by hash. It answers how many hashes
# were not what they had been.
WRITE = """
    local dropped, own, version = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
    local at, call = 3, redis.call
    local write, drop, lost = {'HSET', ''}, {'HDEL', ''}, 0
    for j = 1, dropped do drop[j + 2] = ARGV[at + j] end
    at = at + dropped
    for j = 1, own do write[2 * j + 1] = ARGV[at + j] end
    at = at + own
    for j = 1, version do write[2 * own + 2 + j] = ARGV[at + j] end
    at = at + version
    for i = 1, #KEYS do
        write[2], drop[2] = KEYS[i], KEYS[i]
        for j = 1, own do write[2 * j + 2] = ARGV[at + j] end
        at = at + own
        local is_same = call(unpack(write)) == math.max(0, own - 1)
        if dropped > 0 then is_same = call(unpack(drop)) == dropped and is_same end
        if not is_same then lost = lost + 1 end
    end
    return lost
"""

REFUSED, AMENDED, UNCHANGED = 0, 1, 2

Dates = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Group:
    """Symbols whose hashes have, and get, bars of the same dates. Of each: the lines that it has, and that it gets."""

    had: Dates
    added: Dates
    members: list[tuple[Entry, range, range]]

    @property
    def dropped(self) -> Dates:
        return self.had[: max(0, len(self.had) + len(self.added) - self.members[0][0].count)]

    def symbols(self) -> list[str]:
        return [entry.symbol for entry, _, _ in self.members]

    def only(self, symbols: Iterable[str]) -> Group:
        wanted = set(symbols)
        return dataclasses.replace(self, members=[member for member in self.members if member[0].symbol in wanted])


class Amendments:
    """Hashes that the update `last` has left, and what they lack of the version that `hashes` make."""

    def __init__(self, hashes: Hashes, last: State) -> None:
        self._hashes = hashes
        self._last = last
        self._groups: list[Group] = []
        #: By symbol REFUSED, AMENDED or UNCHANGED.
        self.outcomes: dict[str, int] = {}

    def compare(self, client: Redis, entries: Iterable[Entry]) -> None:
        """Look whether the hashes of these symbols are as they were left.

        Refused are those that hold something else than the replica now says of their dates, because of a correction, a
        split or a damage, say: they have to be made whole.
        """
        calls = (self._comparison(group) for group in self._grouped(entries))
        answers = run_script(client, COMPARE, calls)
        for group, (_, answer) in zip(self._groups, answers, strict=True):
            self.outcomes.update(zip(group.symbols(), map(int, answer), strict=True))

    def writing(self) -> Iterator[ScriptCall]:
        """The calls of WRITE that bring those that are right to the new version."""
        for group in self._groups:
            symbols = group.symbols()
            amended = group.only(symbol for symbol in symbols if self.outcomes[symbol] == AMENDED)
            unchanged = [self._hashes.name(symbol) for symbol in symbols if self.outcomes[symbol] == UNCHANGED]
            if amended.members:
                yield self._amendment(amended)
            if unchanged:
                yield unchanged, self._head((), ())

    def _grouped(self, entries: Iterable[Entry]) -> Iterator[Group]:
        day = str(self._last.day)
        alike: dict[tuple[Dates, Dates], Group] = {}
        for entry in entries:
            had, after = entry.fed_on(day), entry.fed
            added = range(max(had.stop, after.start), after.stop)
            dates = (entry.dates(had), entry.dates(added))
            group = alike.setdefault(dates, Group(*dates, []))
            group.members.append((entry, had, added))
            if len(group.members) == AT_ONCE:
                yield alike.pop(dates)
        yield from alike.values()

    def _comparison(self, group: Group) -> ScriptCall:
        self._groups.append(group)
        version = self._last.version()
        plan = {
            "fields": [*group.had, *version],
            "moves": bool(group.added or group.dropped),
            "ttl": self._hashes.lifetime,
            "rows": [(entry.digest(had, *version.values()), entry.meta) for entry, had, _ in group.members],
        }
        return [self._hashes.name(symbol) for symbol in group.symbols()], [json.dumps(plan)]

    def _amendment(self, group: Group) -> ScriptCall:
        values: list[str] = []
        for entry, _, added in group.members:
            values += [*map(entry.bar, added), entry.meta]
        head = self._head(group.dropped, (*group.added, META))
        return [self._hashes.name(symbol) for symbol in group.symbols()], head + values

    def _head(self, dropped: Dates, own: Dates) -> list[str]:
        version = [*itertools.chain.from_iterable(self._hashes.version.items())]
        return [str(len(dropped)), str(len(own)), str(len(version)), *dropped, *own, *version]
