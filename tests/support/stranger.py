"""A server on loopback that reads a request and then sends whatever bytes it is told to."""

from __future__ import annotations

import contextlib
import socketserver
from collections.abc import Callable

HEAD = b"HTTP/1.1 200 OK\r\n"

Behaviour = Callable[[Callable[[bytes], None]], None]


class Stranger(socketserver.ThreadingTCPServer):
    """Reads a request, then does what `behaviour` says with a function that sends bytes."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.behaviour: Behaviour = lambda send: None
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), _Conversation)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Conversation(socketserver.StreamRequestHandler):
    server: Stranger

    def handle(self) -> None:
        self.server.paths.append(self.rfile.readline().split()[1].decode())
        while self.rfile.readline().strip():
            pass
        with contextlib.suppress(OSError):
            self.server.behaviour(self.request.sendall)


def sized(body: bytes, *fields: str) -> bytes:
    """An answer of a good server."""
    head = "".join(f"{field}\r\n" for field in (*fields, f"Content-Length: {len(body)}"))
    return HEAD + head.encode() + b"\r\n" + body
