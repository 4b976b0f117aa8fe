"""The connection to Redis, the names of our keys, and how a symbol's hash is written.

Every name begins with `[redis] prefix`; nothing else in the server is read or written, and keys are found by SCAN. What
the server or the network refuses becomes an error of ours, which says what to do, and never carries the password.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.config import redis as settings
from pipeline.errors import (
    ConfigurationError,
    RedisFeedError,
    RedisFullError,
    RedisLoadingError,
    RedisReadOnlyError,
    RedisRefusedError,
    RedisUnreachableError,
)
from pipeline.text import shown

if TYPE_CHECKING:
    from redis import Redis, RedisError

logger = logging.getLogger("pipeline")

#: What is said of an address that is none, without repeating it.
NO_ADDRESS = (
    "[redis] url is no address of a Redis server; write redis://HOST:PORT/NUMBER, rediss:// for TLS, or "
    "unix:///PATH, with :PASSWORD@ before the host where one is needed, its special characters as %XX"
)

#: Keys in one pipeline, or in one command or script that takes several.
CHUNK = 100

#: The version of Redis that the feed needs, the oldest that it was tried with.
LEAST_VERSION = (6, 2)

#: Entries that SCAN looks at in one step.
SCAN_STEP = 1000


def key(*parts: str) -> str:
    """The name of one of our keys: the prefix, and the parts with colons between them."""
    return settings().prefix + ":".join(parts)


def seconds(days: float) -> int:
    return int(days * 86_400)


@contextlib.contextmanager
def connect() -> Iterator[Redis]:
    """A client for the time of the block; answers are text.

    Raises ConfigurationError for an address that is none, and from within the block the subclasses of RedisFeedError.
    """
    import redis

    client = _client()
    try:
        yield client
    except redis.RedisError as error:
        raise explained(error, address(client)) from error
    finally:
        client.close()


def _client() -> Redis:
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    section = settings()
    if not section.url:
        raise ConfigurationError(
            "[redis] url is empty, so that there is no Redis to feed; set it, best by REDIS_URL in the environment"
        )
    try:
        client = redis.Redis.from_url(
            section.url,
            decode_responses=True,
            encoding_errors="surrogateescape",  # others may write names and values that are not UTF-8
            protocol=2,  # what every server speaks
            socket_timeout=section.timeout,
            socket_connect_timeout=section.timeout,
            retry=Retry(
                ExponentialBackoff(cap=1.0, base=0.05), section.retries, supported_errors=(redis.ConnectionError,)
            ),
            client_name="nasdaq-daily-pipeline",
            driver_info=None,  # which costs two questions, and a look for redis-py's version in its installation
        )
        client.connection_pool.make_connection()  # an option that redis-py does not know is refused here
    except (ValueError, TypeError):  # their text may carry a part of the password
        raise ConfigurationError(NO_ADDRESS) from None
    check_place(section.url)
    return client


def check_address() -> None:
    """Raises ConfigurationError for an address that cannot be one, and for none."""
    _client().close()


def check_place(url: str) -> None:
    """Raises ConfigurationError when what stands behind the host is no number of a database: redis-py would take 0."""
    parts = urllib.parse.urlsplit(url)
    place = urllib.parse.unquote(parts.path)
    if parts.scheme == "unix":
        if not place or place == "/":
            raise ConfigurationError(f"[redis] url names no socket: {NO_ADDRESS}")
    elif not re.fullmatch(r"/?\d{0,9}", place):
        raise ConfigurationError(
            f"[redis] url has {place!r} behind the host, where the number of a database stands, such as /0"
        )


def check_server(client: Redis) -> None:
    """Raises ConfigurationError for a server that cannot hold the feed: too old, a node of a cluster, or a sentinel."""
    facts = client.info("server")
    version = str(facts.get("redis_version", ""))  # other servers name the one whose commands they have
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and tuple(map(int, numbers.groups())) < LEAST_VERSION:
        raise ConfigurationError(
            f"Redis at {address(client)} is of version {version}, and the feed needs "
            f"{'.'.join(map(str, LEAST_VERSION))} or newer"
        )
    mode = facts.get("server_mode") or facts.get("redis_mode") or "standalone"  # Valkey's name of it, and Redis's
    if mode != "standalone":
        what = {"cluster": "a node of a Redis Cluster", "sentinel": "a Redis Sentinel"}.get(mode, mode)
        raise ConfigurationError(
            f"Redis at {address(client)} is {what}, which is not supported: all keys of the feed are switched at one "
            f"moment, by one server. [redis] url has to name a single server that takes writes"
        )


def address(client: Redis) -> str:
    """Where the server is, without credentials."""
    options = client.connection_pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}")


def explained(error: RedisError, where: str) -> RedisFeedError | ConfigurationError:
    """The error of ours for one of redis-py."""
    import redis

    text = str(error)
    if "DB index" in text:
        return ConfigurationError(
            f"Redis at {where} has no database of the number that [redis] url ends with; most have 0 to 15"
        )
    if (
        isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError)
        or "NOAUTH" in text
        or "WRONGPASS" in text
        or "NOPERM" in text
    ):
        return RedisRefusedError(
            f"Redis at {where} refuses us: {text}. Check user and password in REDIS_URL ([redis] url), "
            f"and the user's rights"
        )
    if isinstance(error, redis.BusyLoadingError):
        return RedisLoadingError(
            f"Redis at {where} is still loading its data; run the command again when it has finished"
        )
    if isinstance(error, redis.ReadOnlyError) or "READONLY" in text:
        return RedisReadOnlyError(
            f"Redis at {where} is a read-only replica; [redis] url has to name the server that takes writes"
        )
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM " in text:
        return RedisFullError(
            f"Redis at {where} is full ({text}); raise its maxmemory, or free some, and run the command again"
        )
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return RedisUnreachableError(
            f"Redis at {where} cannot be reached ({text}); see that it runs, that [redis] url is right, and whether "
            f"[redis] timeout = {settings().timeout:g} s is enough, then run the command again"
        )
    return RedisFeedError(f"Redis at {where} refused a command: {text}")


def scan(client: Redis, *parts: str) -> Iterator[str]:
    """The names of our keys that begin with these parts, in no order, each once."""
    pattern = re.sub(r"([*?\[\]\\^-])", r"\\\1", key(*parts)) + "*"
    seen: set[str] = set()
    for name in client.scan_iter(match=pattern, count=SCAN_STEP):
        if name not in seen:
            seen.add(name)
            yield name


#: What TTL answers of a key that has none.
ENDLESS = -1


def lifetimes(client: Redis, names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The seconds that each key has yet to live: ENDLESS for one that never expires, -2 for one that is not there."""
    for group in chunks(names, SCAN_STEP):
        pipe = client.pipeline(transaction=False)
        for name in group:
            pipe.ttl(name)
        yield from zip(group, pipe.execute(), strict=True)


def clear(client: Redis, kinds: Mapping[str, str]) -> None:
    """Delete and name keys of ours that somebody has made ones of another type, since no command of ours can use them.

    `kinds` has the type of each key that it may have.
    """
    pipe = client.pipeline(transaction=False)
    for name in kinds:
        pipe.type(name)
    for (name, kind), found in zip(kinds.items(), pipe.execute(), strict=True):
        if found not in (kind, "none"):
            logger.warning("deleted %s in Redis: it was a %s, and has to be a %s", shown(name), found, kind)
            client.unlink(name)


def chunks(items: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
