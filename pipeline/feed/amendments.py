"""Hashes that stay where they are, as most of a symbol's bars are the same from one day to the next.

Beforehand each is compared, byte by byte, with what it should be: whatever happened to a hash is noticed when it is
next fed (`comparison.py`). What is new of those that are right is written into them at the switch (`switch.py`); the
others are made whole.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline.feed.comparison import RIGHT, WRONG, Comparison
from pipeline.feed.content import Entry
from pipeline.feed.hashes import META, Hashes
from pipeline.feed.state import State
from pipeline.feed.wire import WHATEVER, Step, answers, value

if TYPE_CHECKING:
    from redis import Redis

#: A hash has something else than it should; it is right, and gets something new; it is right and stays, but for its
#: version. Those that are right live on.
REFUSED, AMENDED, UNCHANGED = 0, 1, 2

Dates = tuple[str, ...]

_META = value(META)


class Group:
    """Symbols of which the replica has bars of the same dates.

    Their hashes have the slice `had` of an entry's parts, as of the update `last`. They get those of the slice `added`,
    of the dates `new`, lose those of the dates `dropped`, and become of `version`.
    """

    def __init__(self, dates: Dates, count: int, last: State, version: Mapping[str, str], lifetime: int) -> None:
        end = bisect.bisect_right(dates, str(last.day))
        first, new = max(0, end - count), max(end, len(dates) - count)
        self.had, self.added = slice(2 * first, 2 * end), slice(2 * new, None)
        self.new = [value(date).decode() for date in dates[new:]]
        self.dropped = dates[first : max(first, min(end, len(dates) - count))]
        self.comparison = Comparison(dates[first:end], last.version(), lifetime)
        texts = list(itertools.chain(*version.items()))
        self._version = b"".join(map(value, texts))
        self._amending = b"*%d\r\n%b" % (4 + len(texts) + 2 * len(self.new), value("HSET"))
        self._naming = b"*%d\r\n%b" % (2 + len(texts), value("HSET"))
        self._dropping = b"*%d\r\n%b" % (2 + len(self.dropped), value("HDEL"))
        self._dropped = b"".join(map(value, self.dropped))
        self._added = f":{len(self.new)}"

    def outcome(self, entry: Entry, answer: bytes) -> int:
        """What becomes of a member's hash, by the answer to the request of the comparison."""
        found = self.comparison.judge(answer, entry.parts[self.had], entry.meta)
        if found == WRONG:
            return REFUSED
        return UNCHANGED if found == RIGHT and not self.new and not self.dropped else AMENDED

    def steps(self, name: bytes, entry: Entry, outcome: int) -> Iterator[Step]:
        """What a member's hash, of this name, lacks and has too much of.

        Where a bar cannot be dropped, what is added fails, too.
        """
        if outcome == AMENDED and self.dropped:
            yield b"".join((self._dropping, name, self._dropped)), WHATEVER
        if outcome == AMENDED:
            yield self._adding(name, entry), self._added
        if outcome == UNCHANGED:
            yield b"".join((self._naming, name, self._version)), ":0"

    def _adding(self, name: bytes, entry: Entry) -> bytes:
        parts = entry.parts[self.added]
        bars = zip(self.new, parts[::2], parts[1::2], strict=True)
        new = "".join(f"{date}{size}\r\n{bar}\r\n" for date, size, bar in bars).encode()
        return b"".join((self._amending, name, new, _META, value(entry.meta), self._version))


class Amendments:
    """Hashes that the update `last` has left, and what they lack of the version that `hashes` make."""

    def __init__(self, hashes: Hashes, last: State) -> None:
        self._hashes = hashes
        self._last = last
        #: What brings the hashes that are right to the new version.
        self.steps: list[Step] = []
        #: By symbol REFUSED, AMENDED or UNCHANGED.
        self.outcomes: dict[str, int] = {}

    def compare(self, client: Redis, entries: Iterable[Entry]) -> None:
        """Look whether the hashes of these symbols are as they were left.

        Refused are those that hold something else than the replica now says of their dates, because of a correction, a
        split or a damage, say: they have to be made whole.
        """
        pairs = [
            (group, entry, value(self._hashes.name(entry.symbol)))
            for group, members in self._grouped(entries) for entry in members
        ]  # fmt: skip
        requests = (group.comparison.request(name) for group, _, name in pairs)
        for (group, entry, name), answer in zip(pairs, answers(client, requests), strict=True):
            outcome = self.outcomes[entry.symbol] = group.outcome(entry, answer)
            self.steps += group.steps(name, entry, outcome)  # made here, while the server looks up the next ones

    def _grouped(self, entries: Iterable[Entry]) -> Iterator[tuple[Group, list[Entry]]]:
        alike: dict[Dates, list[Entry]] = {}
        before = self._last.version()
        version = {name: text for name, text in self._hashes.version.items() if before[name] != text}
        for entry in entries:
            alike.setdefault(entry.dates, []).append(entry)
        for dates, members in alike.items():
            yield Group(dates, members[0].count, self._last, version, self._hashes.lifetime), members
