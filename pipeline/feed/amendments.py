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
from pipeline.feed.server import chunks
from pipeline.feed.state import State
from pipeline.feed.wire import WHATEVER, Step, answers, value

if TYPE_CHECKING:
    from redis import Redis

#: A hash has something else than it should; it is right, and gets something new; it is right and stays, but for its
#: version. Those that are right live on.
REFUSED, AMENDED, UNCHANGED = 0, 1, 2

#: Hashes that are asked for at once: what is on its way, some five times so many, stays in a cache of the processor.
AT_ONCE = 10

Dates = tuple[str, ...]

_META = value(META)


class Group:
    """Symbols of which the replica has bars of the same dates.

    Their hashes are as of the update `last`. They get the bars of the dates `new`, lose those of the dates `dropped`,
    and become of `version`.
    """

    def __init__(self, dates: Dates, count: int, last: State, version: Mapping[str, str], lifetime: int) -> None:
        end = bisect.bisect_right(dates, str(last.day))
        first, new = max(0, end - count), max(end, len(dates) - count)
        self._older, self._newer = first, len(dates) - end
        self.new = [value(date) + b"$" for date in dates[new:]]
        self.dropped = dates[first : max(first, min(end, len(dates) - count))]
        self._comparison = Comparison(dates[first:end], last.version(), lifetime)
        texts = list(itertools.chain(*version.items()))
        self._version = b"".join(map(value, texts))
        self._amending = b"*%d\r\n%b" % (4 + len(texts) + 2 * len(self.new), value("HSET"))
        self._naming = b"*%d\r\n%b" % (2 + len(texts), value("HSET"))
        self._dropping = b"*%d\r\n%b" % (2 + len(self.dropped), value("HDEL"))
        self._dropped = b"".join(map(value, self.dropped))
        self._added = f":{len(self.new)}"
        self.request = self._comparison.request

    def outcome(self, name: bytes, entry: Entry, answer: bytes, place: int) -> tuple[int, list[Step], int]:
        """What becomes of a member's hash, of this name, by what is answered at this place; the steps; the next place.

        Where a bar cannot be dropped, what is added fails, too.
        """
        known, *newer = entry.text.split(b"$", self._older + 1)[-1].rsplit(b"$", self._newer)
        meta = value(entry.meta)
        found, place = self._comparison.judge(answer, place, known, meta)
        if found == WRONG:
            return REFUSED, [], place
        if found == RIGHT and not self.new and not self.dropped:
            return UNCHANGED, [(b"".join((self._naming, name, self._version)), ":0")], place
        bars = itertools.chain(*zip(self.new, newer[-len(self.new) :], strict=True))
        adding = b"".join((self._amending, name, *bars, _META, meta, self._version)), self._added
        dropping = b"".join((self._dropping, name, self._dropped)), WHATEVER
        return AMENDED, [dropping, adding] if self.dropped else [adding], place


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
        together = list(chunks(pairs, AT_ONCE))
        requests = (b"".join([group.request(name) for group, _, name in some]) for some in together)
        for some, answer in zip(together, answers(client, requests), strict=True):
            place = 0
            for group, entry, name in some:
                self.outcomes[entry.symbol], steps, place = group.outcome(name, entry, answer, place)
                self.steps += steps  # made here, while the server looks up the next ones

    def _grouped(self, entries: Iterable[Entry]) -> Iterator[tuple[Group, list[Entry]]]:
        alike: dict[Dates, list[Entry]] = {}
        before = self._last.version()
        version = {name: text for name, text in self._hashes.version.items() if before[name] != text}
        for entry in entries:
            alike.setdefault(entry.dates, []).append(entry)
        for dates, members in alike.items():
            yield Group(dates, members[0].count, self._last, version, self._hashes.lifetime), members
