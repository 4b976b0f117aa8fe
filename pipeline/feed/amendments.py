"""Hashes that stay where they are, as most of a symbol's bars are the same from one day to the next.

Beforehand each is compared, byte by byte, with what it should be: whatever happened to a hash is noticed when it is
next fed (`comparison.py`). What is new of those that are right is written into them at the switch (`switch.py`); the
others are made whole.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.feed.comparison import RIGHT, WRONG, Comparison
from pipeline.feed.content import Entry
from pipeline.feed.hashes import META, Hashes
from pipeline.feed.server import chunks
from pipeline.feed.state import State
from pipeline.feed.wire import answers

if TYPE_CHECKING:
    from redis import Redis

#: Hashes that one call of the script writes.
AT_ONCE = 500

#: A hash has something else than it should; it is right, and gets something new; it is right and stays, but for its
#: version. Those that are right live on.
REFUSED, AMENDED, UNCHANGED = 0, 1, 2

# Writes the new values of each hash, which are lines of a text, in the order of the hashes and of the plan's fields.
# Answers with a text for each hash that had not what it should: what the server says of it, or nothing.
AMEND = """
    local plan, values, lost, start = cjson.decode(ARGV[1]), ARGV[2], {}, 1
    local set, del = {'HSET', ''}, {'HDEL', '', unpack(plan.dropped)}
    for i, field in ipairs(plan.fields) do set[2 * i + 1] = field end
    for i, text in ipairs(plan.version) do set[2 * #plan.fields + 2 + i] = text end
    for _, key in ipairs(KEYS) do
        for slot = 4, 2 * #plan.fields + 2, 2 do
            local stop = string.find(values, '\\n', start, true)
            set[slot] = string.sub(values, start, stop - 1)
            start = stop + 1
        end
        set[2], del[2] = key, key
        local added = redis.pcall(unpack(set))
        local dropped = #plan.dropped > 0 and redis.pcall(unpack(del)) or 0
        if added ~= plan.added or dropped ~= #plan.dropped then
            lost[#lost + 1] = type(added) == 'table' and added.err or ''
        end
    end
    return lost
"""
AMEND_DIGEST = hashlib.sha1(AMEND.encode(), usedforsecurity=False).hexdigest()

Dates = tuple[str, ...]

#: Keys and arguments of the script.
Call = tuple[list[str], list[str]]


class Group:
    """Symbols of which the replica has bars of the same dates.

    Their hashes have the slice `had` of an entry's parts, as of the update `last`. They get the bars of the slice
    `added`, of the dates `new`, and lose those of the dates `dropped`.
    """

    def __init__(self, dates: Dates, count: int, last: State, lifetime: int) -> None:
        end = bisect.bisect_right(dates, str(last.day))
        first, new = max(0, end - count), max(end, len(dates) - count)
        self.had, self.added, self.new = slice(2 * first, 2 * end), slice(2 * new + 1, None, 2), dates[new:]
        self.dropped = dates[first : max(first, min(end, len(dates) - count))]
        self.comparison = Comparison(dates[first:end], last.version(), lifetime)
        self.members: list[Entry] = []

    def outcome(self, entry: Entry, answer: bytes) -> int:
        """What becomes of a member's hash, by the answer to the request of the comparison."""
        found = self.comparison.judge(answer, entry.parts[self.had], entry.meta)
        if found == WRONG:
            return REFUSED
        return UNCHANGED if found == RIGHT and not self.new and not self.dropped else AMENDED


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
        self._groups = self._grouped(entries)
        pairs = [(group, entry) for group in self._groups for entry in group.members]
        requests = (group.comparison.request(self._hashes.name(entry.symbol)) for group, entry in pairs)
        for (group, entry), answer in zip(pairs, answers(client, requests), strict=True):
            self.outcomes[entry.symbol] = group.outcome(entry, answer)

    def _grouped(self, entries: Iterable[Entry]) -> list[Group]:
        alike: dict[Dates, Group] = {}
        for entry in entries:
            if entry.dates not in alike:
                alike[entry.dates] = Group(entry.dates, entry.count, self._last, self._hashes.lifetime)
            alike[entry.dates].members.append(entry)
        return list(alike.values())

    def writing(self) -> Iterator[Call]:
        """What brings the hashes that are right to the new version: calls of AMEND."""
        for group in self._groups:
            for outcome in (AMENDED, UNCHANGED):
                members = [entry for entry in group.members if self.outcomes[entry.symbol] == outcome]
                for some in chunks(members, AT_ONCE):
                    yield self._call(some, group if outcome == AMENDED else None)

    def _call(self, entries: list[Entry], group: Group | None) -> Call:
        """Write the new version, and what is new of a group, into these entries' hashes."""
        before = self._last.version()
        version = [text for pair in self._hashes.version.items() if before[pair[0]] != pair[1] for text in pair]
        plan: dict[str, Any] = {"fields": [], "added": 0, "dropped": [], "version": version}
        values = ""
        if group:
            plan |= {"fields": [*group.new, META], "added": len(group.new), "dropped": group.dropped}
            texts = [text for entry in entries for text in (*entry.parts[group.added], entry.meta)]
            values = "\n".join([*texts, ""])
        return [self._hashes.name(entry.symbol) for entry in entries], [json.dumps(plan), values]
