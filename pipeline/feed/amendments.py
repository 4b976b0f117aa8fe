"""Hashes that stay where they are, as most of a symbol's bars are the same from one day to the next.

Beforehand the server compares each with what it should be: whatever happened to a hash is noticed when it is next fed.
What is new of those that are right is written into them at the switch (`switch.py`); the others are made whole.
"""

from __future__ import annotations

import dataclasses
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

REFUSED, AMENDED, UNCHANGED = 0, 1, 2

Dates = tuple[str, ...]

#: A symbol, the fields that its hash gets or loses, by their number, and the command.
Writing = tuple[str, int, tuple[str, ...]]


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

    def writing(self) -> Iterator[Writing]:
        """What brings the hashes that are right to the new version, a command or two for each.

        Plain commands: in a transaction they cost the server two thirds of what a script's do.
        """
        before = self._last.version()
        version = [text for pair in self._hashes.version.items() if before[pair[0]] != pair[1] for text in pair]
        for group in self._groups:
            dropped = group.dropped
            for entry, _, added in group.members:
                outcome, name = self.outcomes[entry.symbol], self._hashes.name(entry.symbol)
                if outcome == AMENDED:
                    bars = [text for number in added for text in (entry.date(number), entry.bar(number))]
                    yield entry.symbol, len(added), ("HSET", name, *bars, META, entry.meta, *version)
                    if dropped:
                        yield entry.symbol, len(dropped), ("HDEL", name, *dropped)
                elif outcome == UNCHANGED:
                    yield entry.symbol, 0, ("HSET", name, *version)

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
