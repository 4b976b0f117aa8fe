"""Commands and answers as the bytes that they are between us and the server, for where there are tens of thousands.

redis-py makes an object of each word of a command and of each value of an answer. Where it is known beforehand what the
server ought to answer, the bytes are compared as they come, and nothing is taken apart.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.feed.server import chunks

if TYPE_CHECKING:
    from redis import Redis

#: Requests that are sent at once: the server works on them while the answers to those before are looked at.
AT_ONCE = 50

#: A command of a transaction, and what the server answers to it when all is as it was found to be.
Step = tuple[bytes, str]

#: Whatever the server answers, but for an error.
ANYTHING = ""

#: Bytes that are read at once.
SIZE = 1 << 17


def value(text: str) -> bytes:
    """A word of a command, or a value of an answer."""
    encoded = text.encode(errors="surrogateescape")  # others may write names that are not UTF-8
    return b"$%d\r\n%b\r\n" % (len(encoded), encoded)


def command(*words: str) -> bytes:
    return b"*%d\r\n%b" % (len(words), b"".join(map(value, words)))


def answers(client: Redis, requests: Iterable[bytes]) -> Iterator[bytes]:
    """What the server answers to each request, which is a command or several. Raises redis-py's errors."""
    connection = client.connection_pool.get_connection()
    try:
        yield from exchanged(connection, requests)
    finally:
        client.connection_pool.release(connection)


def exchanged(connection: Any, requests: Iterable[bytes]) -> Iterator[bytes]:
    """What the server answers to each request over one connection.

    A mark that the server has to repeat stands behind each: it parts the answers, whatever is in them. Nothing is tried
    again when the connection breaks. Raises redis-py's errors.
    """
    mark = uuid.uuid4().hex
    end = command("ECHO", mark)
    is_whole = False
    try:
        stream, waiting = _parted(connection, value(mark)), 0
        for group in chunks(requests, AT_ONCE):
            connection.send_packed_command([end.join([*group, b""])])
            yield from itertools.islice(stream, waiting)
            waiting = len(group)
        yield from itertools.islice(stream, waiting)
        is_whole = True
    finally:
        if not is_whole:
            connection.disconnect()  # answers may be left in it


def transacted(connection: Any, commands: Sequence[bytes]) -> list[str]:
    """The lines that the server answers to the commands of a transaction, one for each; an error begins with "-".

    Raises redis-py's WatchError when a watched key has changed, and ResponseError for a command that is not taken.
    """
    import redis

    (answer,) = exchanged(connection, [b"".join([command("MULTI"), *commands, command("EXEC")])])
    taken = b"+OK\r\n%b*" % (b"+QUEUED\r\n" * len(commands))
    if not answer.startswith(taken):
        raise redis.ResponseError(next(line[1:] for line in _lines(answer) if line.startswith("-")))
    count, *lines = _lines(answer[len(taken) :])
    if count == "-1":
        raise redis.WatchError("Watched variable changed.")
    rest = iter(lines)
    return [next(rest) if line.startswith("$") else line for line in rest]


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
