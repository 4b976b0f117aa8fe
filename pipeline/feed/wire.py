"""Commands and answers as the bytes that they are between us and the server, for where there are tens of thousands.

redis-py makes an object of each word of a command and of each value of an answer. Where it is known beforehand what the
server ought to answer, the bytes are compared as they come, and nothing is taken apart.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.feed.server import chunks

if TYPE_CHECKING:
    from redis import Redis

#: Requests that the server has before it while the answer to an earlier one is looked at.
AHEAD = 4
#: Steps of a transaction that are sent at once.
STEPS = 200

#: A command of a transaction, and what the server answers to it when all is as it was found to be.
Step = tuple[bytes, str]

#: Any answer but an error, and any at all.
ANYTHING, WHATEVER = "", "*"

#: Bytes that are read at once.
SIZE = 1 << 16


def value(text: str) -> bytes:
    """A word of a command, or a value of an answer."""
    encoded = text.encode(errors="surrogateescape")  # others may write names that are not UTF-8
    return b"$%d\r\n%b\r\n" % (len(encoded), encoded)


def command(*words: str) -> bytes:
    return b"*%d\r\n%b" % (len(words), b"".join(map(value, words)))


def answers(client: Redis, requests: Iterable[bytes]) -> Iterator[bytes]:
    """What the server answers to each request, which is a command or many.

    A mark that the server has to repeat stands behind each: it parts the answers, whatever is in them. Nothing is tried
    again when the connection breaks. Raises redis-py's errors.
    """
    mark = uuid.uuid4().hex
    end = command("ECHO", mark)
    connection = client.connection_pool.get_connection()
    try:
        with _to_the_end(connection):
            stream, sent = _parted(connection, value(mark)), 0
            for request in requests:
                connection.send_packed_command([request + end])
                sent += 1
                if sent > AHEAD:
                    yield next(stream)
            yield from itertools.islice(stream, min(sent, AHEAD))
    finally:
        client.connection_pool.release(connection)


def behind(answer: bytes, place: int) -> int:
    """The place behind the reply to one command, that begins at a place of an answer."""
    end = answer.index(b"\r\n", place) + 2
    kind, size = answer[place : place + 1], answer[place + 1 : end - 2]
    if kind == b"*":
        for _ in range(int(size)):
            end = behind(answer, end)
    return end + int(size) + 2 if kind == b"$" and size != b"-1" else end


def transacted(connection: Any, steps: Iterable[Step]) -> list[str]:
    """What the server answers otherwise than it was to, to steps that it takes at one moment; an error begins with "-".

    They are sent while the next ones are made. Raises redis-py's WatchError when a watched key has changed, and
    ResponseError for a command that is not taken.
    """
    import redis

    mark, wanted = uuid.uuid4().hex, []
    with _to_the_end(connection):
        connection.send_command("MULTI")
        connection.read_response()  # a server that refuses it would do each of the steps at once
        for group in chunks(steps, STEPS):
            connection.send_packed_command([b"".join(asked for asked, _ in group)])
            wanted += [answer for _, answer in group]
        connection.send_packed_command([command("EXEC") + command("ECHO", mark)])
        answer = next(_parted(connection, value(mark)))
    taken = b"%b*" % (b"+QUEUED\r\n" * len(wanted))
    if not answer.startswith(taken):
        raise redis.ResponseError(next(line[1:] for line in _lines(answer) if line.startswith("-")))
    count, *lines = _lines(answer[len(taken) :])
    if count == "-1":
        raise redis.WatchError("Watched variable changed.")
    rest = iter(lines)
    answers = (next(rest) if line.startswith("$") else line for line in rest)
    return [answer for answer, meant in zip(answers, wanted, strict=True) if _is_unlike(answer, meant)]


@contextlib.contextmanager
def _to_the_end(connection: Any) -> Iterator[None]:
    """Close the connection where the block is left before its end, since answers may be left in it."""
    is_whole = False
    try:
        yield
        is_whole = True
    finally:
        if not is_whole:
            connection.disconnect()


def _is_unlike(answer: str, wanted: str) -> bool:
    return answer != wanted and wanted != WHATEVER and (wanted != ANYTHING or answer.startswith("-"))


def _lines(answer: bytes) -> list[str]:
    return answer.decode(errors="replace").removesuffix("\r\n").split("\r\n")


def _parted(connection: Any, mark: bytes) -> Iterator[bytes]:
    """What comes from the server, between one mark and the next, without end."""
    rest = b""
    while True:
        *whole, rest = (rest + _received(connection)).split(mark)
        yield from whole


def _received(connection: Any) -> bytes:
    """What has come meanwhile, at least a byte: redis-py has no way to read what it does not take apart."""
    import redis

    try:
        found: bytes = connection._sock.recv(SIZE)
    except TimeoutError:
        raise redis.TimeoutError("Timeout reading from socket") from None
    except OSError as error:
        raise redis.ConnectionError(f"Error while reading from socket: {error}") from None
    if not found:
        raise redis.ConnectionError("Connection closed by server.")
    return found
