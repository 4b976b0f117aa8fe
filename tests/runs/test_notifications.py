"""Messages to a real server on loopback: what arrives, and that nothing that goes wrong there matters."""

import contextlib
import datetime as dt
import email.utils
import http.server
import json
import logging
import socket
import threading
import time

import pytest

from pipeline.runs.notifications import send

SECRET = "T0KEN-of-the-channel"


class Receiver:
    """A webhook server that gives the status codes `answers` in turn, and 200 when there are none.

    `patience` is its Retry-After, and `place` is where it sends on to.
    """

    def __init__(self):
        self.received, self.answers, self.patience, self.place = [], [], "", ""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            wbufsize = -1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.path, json.loads(body)))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                if receiver.patience:
                    self.send_header("Retry-After", receiver.patience)
                if receiver.place:
                    self.send_header("Location", receiver.place)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True)
        self.thread.start()


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.server.shutdown()
    server.server.server_close()
    server.thread.join()


@pytest.fixture
def channels(receiver, settings):
    settings(
        "alerts",
        slack_webhook_url=f"{receiver.url}/slack/{SECRET}",
        discord_webhook_url=f"{receiver.url}/discord/{SECRET}",
        timeout=5,
    )
    return receiver


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "pipeline")
    yield caplog
    assert SECRET not in caplog.text


def taken(text: str) -> list[str]:
    """Send a text; the names of the channels that took it."""
    return [name for name, reason in send(text).items() if reason is None]


def test_without_a_webhook_nothing_is_sent(settings):
    settings("alerts", slack_webhook_url="", discord_webhook_url="")
    assert send("2024-02-16 is done") == {}


def test_both_channels_get_the_message_in_their_form(channels):
    assert taken("2,240 bars; A < B & C") == ["slack", "discord"]
    assert sorted(channels.received) == [
        (f"/discord/{SECRET}", {"content": "2,240 bars; A < B & C", "allowed_mentions": {"parse": []}}),
        (f"/slack/{SECRET}", {"text": "2,240 bars; A &lt; B &amp; C"}),
    ]


def test_a_name_can_call_nobody(channels):
    """<!channel> rings for everyone in Slack, @everyone in Discord."""
    taken("<!channel> @everyone Inc.")
    payloads = {path.split("/")[1]: payload for path, payload in channels.received}
    assert "<" not in payloads["slack"]["text"]
    assert payloads["discord"]["allowed_mentions"] == {"parse": []}


def test_a_long_message_fits_into_discord(channels):
    taken("x" * 5000)
    assert {path.split("/")[1]: len(payload.get("content", "")) for path, payload in channels.received}[
        "discord"
    ] == 2000


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_message_is_not_sent_on_to_another_address(channels, log, status):
    """307 and 308 would have a client send the whole message there."""
    channels.answers, channels.place = [status], "/somebody-else"
    assert taken("done") == ["discord"]
    assert sorted(path for path, _ in channels.received) == [f"/discord/{SECRET}", f"/slack/{SECRET}"]
    assert f"the slack webhook answered HTTP {status}" in log.text


@pytest.mark.parametrize("status", [301, 400, 404, 410])
def test_a_webhook_that_says_no_is_a_warning_and_not_asked_again(channels, log, status):
    channels.answers = [status]
    assert taken("done") == ["discord"]
    assert f"the slack webhook answered HTTP {status}" in log.text
    assert len(channels.received) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_webhook_that_may_say_yes_later_is_asked_again(channels, log, status):
    channels.answers, channels.patience = [status, status], "0"
    assert taken("done") == ["slack", "discord"]
    assert len(channels.received) == 4
    assert not log.records  # nothing to warn of


def test_a_webhook_that_goes_on_saying_no_is_given_up(channels, log):
    channels.answers, channels.patience = [503] * 3, "0"
    assert taken("done") == ["discord"]
    assert "the slack webhook answered HTTP 503" in log.text


def in_a_second() -> str:
    return email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.99), usegmt=True)


@pytest.mark.parametrize("asked", ["0.5", in_a_second])
def test_retry_after_is_waited_for(channels, asked):
    channels.answers, channels.patience = [429], asked() if callable(asked) else asked
    started = time.monotonic()
    assert taken("done") == ["slack", "discord"]
    assert 0.5 <= time.monotonic() - started < 10


def test_a_webhook_that_asks_for_more_patience_than_we_have_is_left_to_the_next_run(channels, log):
    channels.answers, channels.patience = [429], "3600"
    started = time.monotonic()
    assert taken("done") == ["discord"]
    assert time.monotonic() - started < 5
    assert "the slack webhook answered HTTP 429" in log.text


def test_a_webhook_that_is_down_is_a_warning(settings, log):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings("alerts", slack_webhook_url=f"http://127.0.0.1:{port}/{SECRET}", retries=0)
    assert taken("done") == []
    assert "the slack webhook gave no answer (ConnectionError)" in log.text


def test_a_webhook_that_never_answers_is_given_up(settings, log):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and says nothing
        settings(
            "alerts", slack_webhook_url=f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}", timeout=0.2, retries=0
        )
        assert taken("done") == []
    assert "the slack webhook gave no whole answer within 0.2 s" in log.text


@pytest.mark.parametrize("address", ["no address", "ftp://x/y", "http://"])
def test_a_webhook_that_is_no_address_is_a_warning(settings, log, address):
    settings("alerts", slack_webhook_url=address)
    assert taken("done") == []
    assert "the slack webhook gave no answer" in log.text


def answering(behaviour):
    """A server on a free port that reads a message and hands its connection to `behaviour`; its address."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1 << 16)
                    behaviour(connection)

    threading.Thread(target=serve, daemon=True).start()
    return server


def without_end(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def never_done(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    connection.recv(1)  # until the client goes


@pytest.mark.parametrize("behaviour", [without_end, never_done])
def test_a_webhook_that_says_yes_and_talks_on_has_taken_the_message(settings, behaviour):
    with answering(behaviour) as server:
        settings("alerts", slack_webhook_url=f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}", timeout=0.5)
        assert taken("done") == ["slack"]


def test_a_webhook_whose_first_line_drips_is_given_up(settings, log):
    def drip(connection):
        while True:
            connection.sendall(b"x")
            threading.Event().wait(0.05)

    with answering(drip) as server:
        settings(
            "alerts",
            slack_webhook_url=f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}",
            timeout=0.3,
            retries=0,
        )
        started = time.monotonic()
        assert taken("done") == []
    assert time.monotonic() - started < 3
    assert "the slack webhook gave no" in log.text


def test_a_webhook_whose_headers_drip_is_held_to_one_bound_for_all_of_them(settings):
    """Each header comes well within the time, all of them together in 50 s."""

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(1000):
            connection.sendall(b"X-Header-%d: more\r\n" % number)
            threading.Event().wait(0.05)

    with answering(drip) as server:
        settings(
            "alerts",
            slack_webhook_url=f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}",
            timeout=0.3,
            retries=0,
        )
        started = time.monotonic()
        taken("done")
    assert time.monotonic() - started < 20
