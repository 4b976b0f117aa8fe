"""Whether a hash is what it was left as: the server is asked for all of it, and the bytes of the answer compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.feed.hashes import META
from pipeline.feed.wire import value

#: A hash has something else than it should; it is right, but for `meta`; it is right.
WRONG, OUTDATED, RIGHT = 0, 1, 2


class Comparison:
    """Of hashes with bars of the same dates, and of one version, which live on for `lifetime` seconds."""

    def __init__(self, dates: Iterable[str], version: Mapping[str, str], lifetime: int) -> None:
        fields = [*dates, *version, META]
        self._parts = (
            b"*%d\r\n" % (len(fields) + 2) + value("HMGET"),
            b"".join(map(value, fields)) + b"*2\r\n" + value("HLEN"),
            b"*3\r\n" + value("EXPIRE"),
            value(str(lifetime)),
        )
        self._begin = b"*%d\r\n$" % len(fields)
        self._version = b"".join(map(value, version.values()))
        self._end = b":%d\r\n:1\r\n" % len(fields)

    def request(self, name: bytes) -> bytes:
        """Commands for what the hash of a name has, how much that is, and that it may live on."""
        return name.join(self._parts)

    def judge(self, answer: bytes, bars: bytes, meta: bytes) -> int:
        """WRONG, OUTDATED or RIGHT, for the answer to the request. Raises redis-py's error when it was refused."""
        wanted = b"".join((self._begin, bars, self._version))
        if not answer.startswith(wanted) or not answer.endswith(self._end):
            return wrong(answer)
        found = answer[len(wanted) : -len(self._end)]
        if found == meta:
            return RIGHT
        return WRONG if found == NOTHING else OUTDATED


#: The answer for a field that is not there.
NOTHING = b"$-1\r\n"


def wrong(answer: bytes) -> int:
    """WRONG, also for a key of another type; whatever else the server refuses is raised as redis-py's error."""
    import redis

    first, *_, size, lives, _ = answer.split(b"\r\n")
    for said in (first, size, lives):
        if said.startswith(b"-") and not said.startswith(b"-WRONGTYPE"):
            raise redis.ResponseError(said[1:].decode(errors="replace"))
    return WRONG
