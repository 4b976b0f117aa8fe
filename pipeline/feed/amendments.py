"""Hashes that stay where they are, as most of a symbol's bars are the same from one day to the next.

Beforehand each is compared, byte by byte, with what it should be: whatever happened to a hash is noticed when it is
next fed (`comparison.py`). What is new of those that are right is written into them at the switch (`switch.py`); the
others are made whole.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pipeline.feed.comparison import RIGHT, WRONG, Comparison
from pipeline.feed.content import Entry
from pipeline.feed.hashes import META, Hashes
from pipeline.feed.state import State
from pipeline.feed.wire import Step, answers, value

if TYPE_CHECKING:
    from redis import Redis

#: A hash has something else than it should; it is right, and gets something new; it is right and stays, but for its
#: version. Those that are right live on.
REFUSED, AMENDED, UNCHANGED = 0, 1, 2

Dates = tuple[str, ...]

#: Words of a command, and how many.
Words = tuple[int, bytes]


class Group:
    """Symbols of which the replica has bars of the same dates.

    Their hashes have the slice `had` of an entry's parts, as of the update `last`. They get those of the
    slice `added`, of the dates `new`, and lose those of the dates `dropped`.
    """

    def __init__(self, dates: Dates, count: int, last: State, lifetime: int) -> None:
        end = bisect.bisect_right(dates, str(last.day))
        first, new = max(0, end - count), max(end, len(dates) - count)
        self.had, self.added = slice(2 * first, 2 * end), slice(2 * new, None)
        self.new = [value(date).decode() for date in dates[new:]]
        self.dropped = _words(dates[first : max(first, min(end, len(dates) - count))])
        self.comparison = Comparison(dates[first:end], last.version(), lifetime)
        self.members: list[Entry] = []

    def outcome(self, entry: Entry, answer: bytes) -> int:
        """What becomes of a member's hash, by the answer to the request of the comparison."""
        found = self.comparison.judge(answer, entry.parts[self.had], entry.meta)
        if found == WRONG:
            return REFUSED
        return UNCHANGED if found == RIGHT and not self.new and not self.dropped[0] else AMENDED

    def adding(self, name: bytes, entry: Entry, version: Words) -> Step:
        """What a member's hash lacks."""
        parts = entry.parts[self.added]
        bars = zip(self.new, parts[::2], parts[1::2], strict=True)
        new = "".join(f"{date}{size}\r\n{bar}\r\n" for date, size, bar in bars).encode()
        meta = _words([META, entry.meta])
        return _command("HSET", name, (len(parts), new), meta, version), f":{len(self.new)}"


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

    def dropping(self) -> Iterator[Step]:
        """What takes the bars out of the hashes that are too old for the new version."""
        for group, _, name in self._members(AMENDED):
            if group.dropped[0]:
                yield _command("HDEL", name, group.dropped), f":{group.dropped[0]}"

    def writing(self) -> Iterator[Step]:
        """What else brings the hashes that are right to the new version."""
        before = self._last.version()
        version = _words(text for pair in self._hashes.version.items() if before[pair[0]] != pair[1] for text in pair)
        for group, entry, name in self._members(AMENDED):
            yield group.adding(name, entry, version)
        for _, _, name in self._members(UNCHANGED):
            yield _command("HSET", name, version), ":0"

    def _members(self, outcome: int) -> Iterator[tuple[Group, Entry, bytes]]:
        """Those that an outcome is of, with their hashes' names."""
        for group in self._groups:
            for entry in group.members:
                if self.outcomes[entry.symbol] == outcome:
                    yield group, entry, value(self._hashes.name(entry.symbol))


def _words(texts: Iterable[str]) -> Words:
    values = [value(text) for text in texts]
    return len(values), b"".join(values)


def _command(verb: str, name: bytes, *words: Words) -> bytes:
    """A command on the hash of this name."""
    count = 2 + sum(number for number, _ in words)
    return b"".join((b"*%d\r\n" % count, value(verb), name, *(text for _, text in words)))
