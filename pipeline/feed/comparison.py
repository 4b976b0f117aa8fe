"""Whether a hash is what it was left as: the server is asked for all of it, and the bytes of the answer compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.feed.hashes import META
from pipeline.feed.wire import behind, value

#: A hash has something else than it should; it is right, but for `meta`; it is right.
WRONG, OUTDATED, RIGHT = 0, 1, 2

#: Of a request.
COMMANDS = 3


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

    def judge(self, answer: bytes, place: int, bars: bytes, meta: bytes) -> tuple[int, int]:
        """WRONG, OUTDATED or RIGHT, for what is answered to the request at this place, and the place behind it.

        Raises redis-py's error when it was refused.
        """
        wanted = b"".join((self._begin, bars, self._version))
        begin = place + len(wanted)
        end = answer.find(self._end, begin)
        if end > 0 and answer.startswith(wanted, place) and is_value(found := answer[begin:end]):
            return RIGHT if found == meta else OUTDATED, end + len(self._end)
        return WRONG, behind_wrong(answer, place)


def is_value(found: bytes) -> bool:
    """Whether this is one whole value, and nothing else."""
    size, _, text = found.partition(b"\r\n")
    return size == b"$%d" % (len(text) - 2)


def behind_wrong(answer: bytes, place: int) -> int:
    """The place behind the replies to a request; what the server refuses but for the key's type is redis-py's error."""
    import redis

    for _ in range(COMMANDS):
        begin, place = place, behind(answer, place)
        if answer.startswith(b"-", begin) and not answer.startswith(b"-WRONGTYPE", begin):
            raise redis.ResponseError(answer[begin + 1 : place - 2].decode(errors="replace"))
    return place
