"""The one HTTP client for what is asked of strangers: the screener, the charts, the webhooks.

It looks like a browser, since NASDAQ leaves programs without an answer. Whatever the other side does, an answer ends:
its bytes are counted as they come over the wire and as they are unpacked, its seconds from the first to the last, and a
redirection leads to the same host or nowhere. An answer is never larger in memory than its bound.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from curl_cffi import CurlOpt, requests
from curl_cffi.curl import CURL_WRITEFUNC_ERROR

#: Redirections that one question may meet.
REDIRECTIONS = 5
_REDIRECTING = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
#: curl's code for an answer that passes its own limit, which counts the bytes on the wire.
_TOO_LARGE = 63


class WebError(Exception):
    """No answer that can be used; the message says what there was instead ("more than 4 MB", "no answer (DNSError)").

    `status`: the HTTP status, where one had come by then, else 0.
    """

    def __init__(self, found: str, status: int = 0) -> None:
        super().__init__(found)
        self.status = status


class NoAnswer(WebError):
    """Out of reach, broken off, or not done in time: another attempt may help."""


class Excess(WebError):
    """More bytes than the bound."""


class Misdirected(WebError):
    """An address that is none, or a redirection to another host, or too many of them."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """The most that one answer may be: seconds from the question to its last byte; bytes, on the wire and unpacked.

    All redirections of a question share its seconds.
    """

    seconds: float
    bytes: int


class BoundedSession(requests.Session):
    """A session of curl_cffi, usable by several threads, whose every answer is within its bound.

    A question may bring a `bound` of its own, within that of the session. `follow=False` returns redirections as they
    are. Raises NoAnswer, Excess or Misdirected; a status of any kind is an
    answer. It is a session of curl_cffi because yfinance takes no other.
    """

    def __init__(self, bound: Bound, follow: bool = True) -> None:
        super().__init__(impersonate="chrome", curl_options={CurlOpt.MAXFILESIZE_LARGE: bound.bytes})
        self.bound = bound
        self.follow = follow

    def request(self, method: Any, url: str, *args: Any, **options: Any) -> requests.Response:
        bound: Bound = options.pop("bound", self.bound)
        until = time.monotonic() + bound.seconds
        for _ in range(REDIRECTIONS + 1):
            if time.monotonic() >= until:  # curl takes no time at all for no bound
                raise NoAnswer(f"no whole answer within {bound.seconds:g} s")
            response = self._request(bound, until, method, url, *args, **options)
            place = response.headers.get("Location") if response.status_code in _REDIRECTING else None
            if not place or not self.follow:
                return response
            url = _next_address(url, place, response.status_code)
            options.pop("params", None)  # the new address has its own
        raise Misdirected(f"more than {REDIRECTIONS} redirections", response.status_code)

    def _request(
        self, bound: Bound, until: float, method: Any, url: str, *args: Any, **options: Any
    ) -> requests.Response:
        if not _is_address(url):  # curl would read files, too
            raise Misdirected("no answer, since its address is none of HTTP")
        body = _Body(min(bound.bytes, self.bound.bytes))
        left = max(0.001, until - time.monotonic())
        options |= {"timeout": left, "allow_redirects": False, "content_callback": body.take}
        try:
            response = super().request(method, url, *args, **options)
        except requests.exceptions.RequestException as error:
            raise _explained(error, body, bound) from error
        except (LookupError, ValueError) as error:  # curl_cffi reads headers that it did not expect
            raise NoAnswer(f"no answer, since its headers are not readable ({type(error).__name__})") from error
        response.content = bytes(body.bytes)
        return response


class _Body:
    """The bytes of an answer as they are unpacked, up to `most`."""

    def __init__(self, most: int) -> None:
        self.bytes = bytearray()
        self.most = most
        self.is_excess = False

    def take(self, part: bytes) -> int:
        self.is_excess = len(self.bytes) + len(part) > self.most
        if self.is_excess:
            return CURL_WRITEFUNC_ERROR
        self.bytes += part
        return len(part)


def _explained(error: requests.exceptions.RequestException, body: _Body, bound: Bound) -> WebError:
    status = error.response.status_code if error.response is not None else 0
    if body.is_excess or error.code == _TOO_LARGE:
        return Excess(f"more than {body.most / 1e6:g} MB", status)
    if isinstance(error, requests.exceptions.Timeout):
        return NoAnswer(f"no whole answer within {bound.seconds:g} s", status)
    if isinstance(error, requests.exceptions.InvalidURL):
        return Misdirected("no answer, since its address is none of HTTP")
    return NoAnswer(f"no answer ({type(error).__name__})", status)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, a port that is none
        return False


def _next_address(url: str, place: str, status: int) -> str:
    """Where a redirection leads. Raises Misdirected when it is another host, or a less private way to the same one."""
    try:
        before, after = urlsplit(url), urlsplit(urljoin(url, place))
        is_same = _host(before) == _host(after) or (_host(before), _host(after)) == (
            (before.hostname, "http", 80),
            (before.hostname, "https", 443),
        )
    except ValueError:  # a port or an address that is none
        is_same = False
    if not is_same:
        raise Misdirected("a redirection to another host", status)
    return after.geturl()


def _host(address: SplitResult) -> tuple[str | None, str, int | None]:
    return address.hostname, address.scheme, address.port or _PORTS.get(address.scheme)
