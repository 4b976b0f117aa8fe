"""The client against servers on loopback that send what no good one does: without end, packed, dripping, elsewhere."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.sources.web import Bound, BoundedSession, Excess, Misdirected, NoAnswer, WebError
from tests.support.servers import serving
from tests.support.stranger import HEAD, Behaviour, Stranger, sized

MOST = 100_000
BOUND = Bound(0.5, MOST)


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    with serving(Stranger()) as server:
        yield server


def ask(stranger: Stranger, behaviour: Behaviour, bound: Bound = BOUND, **options: bool) -> bytes:
    stranger.behaviour = behaviour
    stranger.paths.clear()
    with BoundedSession(bound, **options) as http:
        return http.get(stranger.url + "/question").content


def without_end(send: Callable[[bytes], None], head: bytes, part: bytes) -> None:
    send(head)
    while True:
        send(b"%x\r\n%b\r\n" % (len(part), part))


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("size", [0, 1, MOST])
def test_an_answer_within_the_bound_is_whole(stranger, size):
    assert ask(stranger, lambda send: send(sized(b"x" * size))) == b"x" * size


@pytest.mark.parametrize("size", [0, 1, MOST])
def test_a_packed_answer_within_the_bound_is_whole(stranger, size):
    packed = gzip.compress(b"x" * size)
    assert ask(stranger, lambda send: send(sized(packed, "Content-Encoding: gzip"))) == b"x" * size


def test_one_byte_more_is_too_many(stranger):
    with pytest.raises(Excess, match=r"more than 0\.1 MB"):
        ask(stranger, lambda send: send(sized(b"x" * (MOST + 1))))


def test_one_unpacked_byte_more_is_too_many(stranger):
    packed = gzip.compress(b"x" * (MOST + 1))
    with pytest.raises(Excess):
        ask(stranger, lambda send: send(sized(packed, "Content-Encoding: gzip")))


def test_a_bomb_is_not_unpacked(stranger):
    packed = gzip.compress(bytes(200_000_000), 1)
    started = time.monotonic()
    with pytest.raises(Excess):
        ask(stranger, lambda send: send(sized(packed, "Content-Encoding: gzip")), Bound(20, MOST))
    assert time.monotonic() - started < 10


def test_a_size_that_is_announced_is_believed_at_once(stranger):
    def announce(send: Callable[[bytes], None]) -> None:
        send(HEAD + b"Content-Length: 100001\r\n\r\n")
        threading.Event().wait(5)

    with pytest.raises(Excess):
        ask(stranger, announce, Bound(20, MOST))


def test_an_answer_without_end_ends(stranger):
    with pytest.raises(Excess):
        ask(stranger, lambda send: without_end(send, CHUNKED + b"\r\n", b"x" * 9999), Bound(20, MOST))


def test_packed_bytes_that_unpack_to_nothing_are_counted(stranger):
    """A stored block without bytes: five bytes on the wire, none behind."""
    head = CHUNKED + b"Content-Encoding: gzip\r\n\r\na\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03\r\n"
    with pytest.raises(Excess):
        ask(stranger, lambda send: without_end(send, head, b"\0\0\0\xff\xff" * 2000), Bound(20, MOST))


def drip(send: Callable[[bytes], None], head: bytes) -> None:
    send(head)
    while True:
        send(b"x")
        threading.Event().wait(0.05)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        HEAD + b"X-",
        HEAD + b"Content-Length: 99999\r\n\r\n",
        CHUNKED + b"\r\n1;",
    ],
    ids=["status", "header", "body", "chunk"],
)
def test_a_byte_now_and_then_is_not_listened_to_for_ever(stranger, head):
    started = time.monotonic()
    with pytest.raises(NoAnswer):
        ask(stranger, lambda send: drip(send, head))
    assert time.monotonic() - started < 3


def test_headers_without_end_end(stranger):
    def talk(send: Callable[[bytes], None]) -> None:
        send(HEAD)
        while True:
            send(b"X-Name: " + b"x" * 5000 + b"\r\n")

    with pytest.raises(WebError):
        ask(stranger, talk, Bound(20, MOST))


# --- redirections ----------------------------------------------------------------------------------------------------


def moved(place: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_to_the_same_host_is_followed(stranger, status):
    def once(send: Callable[[bytes], None]) -> None:
        send(moved("/there?x=1", status) if stranger.paths == ["/question"] else sized(b"here"))

    assert ask(stranger, once) == b"here"
    assert stranger.paths == ["/question", "/there?x=1"]


@pytest.mark.parametrize(
    "place",
    [
        "http://localhost:{port}/", "http://127.0.0.1:1/", "//example.com/x", "https://127.0.0.1:{port}/",
        "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "http://127.0.0.1:{port}@example.com/", "http://[", "http://a:b/",
    ],
)  # fmt: skip
def test_a_redirection_elsewhere_is_refused(stranger, place):
    place = place.format(port=stranger.server_address[1])
    with pytest.raises(Misdirected, match="a redirection to another host"):
        ask(stranger, lambda send: send(moved(place)))
    assert stranger.paths == ["/question"]


def test_redirections_in_a_circle_end(stranger):
    with pytest.raises(Misdirected, match="more than 5 redirections"):
        ask(stranger, lambda send: send(moved("/question")))
    assert len(stranger.paths) == 6


def test_redirections_share_the_seconds_of_their_question(stranger):
    def late(send: Callable[[bytes], None]) -> None:
        threading.Event().wait(0.3)
        send(moved("/question"))

    with pytest.raises(NoAnswer, match=r"no whole answer within 0\.5 s"):
        ask(stranger, late)
    assert len(stranger.paths) == 2


def test_a_redirection_may_be_left_to_the_caller(stranger):
    assert ask(stranger, lambda send: send(moved("/there")), follow=False) == b""
    assert stranger.paths == ["/question"]


@pytest.mark.parametrize("address", ["file:///etc/hostname", "no address", "", "http://", "http://[", "http://a:b"])
def test_only_http_is_spoken(address):
    with BoundedSession(BOUND) as http, pytest.raises(Misdirected, match="its address is none of HTTP"):
        http.get(address)


# --- any bytes -------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda rest: HEAD + rest)))
@example(HEAD + b" folded: before any\r\n\r\n")
@example(HEAD + b"X: \xff\xfe\r\nLocation: \xff\r\n\r\n")
@example(b"HTTP/1.1 302\r\nLocation: \xff\xfe://\r\n\r\n")
@example(b"HTTP/1.1 999 \xff\r\n\r\n")
@example(b"HTTP/9.9 200 OK\r\n\r\n")
@example(HEAD + b"Content-Encoding: gzip\r\n\r\nnot packed")
@example(HEAD + b"Content-Encoding: br, gzip, br, gzip, br, gzip, br\r\n\r\nx")
@example(HEAD + b"Set-Cookie: \x00=\xff; Max-Age=" + b"9" * 400 + b"\r\n\r\n")
def test_any_bytes_are_an_answer_or_an_error_of_ours(stranger, said):
    try:
        assert len(ask(stranger, lambda send: send(said))) <= len(said)
    except WebError as error:
        assert str(error).isprintable()
