"""A headless Chromium driven over DevTools: enough to open a page, look at it, click, and see what it asked for.

with Browser("chromium", folder) as page:
    page.open("http://127.0.0.1:8082/")
    page.wait_for("document.querySelector('#taskTable tbody tr')")
    page.click(".showErrorTrace")
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import pathlib
import subprocess
import time
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.support import processes

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
    "--window-size=1300,1250", "--hide-scrollbars",
)  # fmt: skip


class NavigatedError(Exception):
    """The page that was asked has given way to another one."""


class Browser:
    """One page; `dialogs` holds what it said in windows of its own."""

    def __init__(self, program: str, folder: pathlib.Path) -> None:
        self.program = program
        self.folder = folder
        self._addresses: dict[str, str] = {}
        self.dialogs: list[str] = []
        self._number = 0

    def __enter__(self) -> Browser:
        command = [self.program, *FLAGS, f"--user-data-dir={self.folder}", "about:blank"]
        self.folder.mkdir(parents=True)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.loop = asyncio.new_event_loop()
        self._socket = self.loop.run_until_complete(self._connect())
        for domain in ("Page", "Network", "Runtime"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):
            self._socket.close()
        processes.end_naming(self.folder)
        self.process.wait()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    async def _connect(self) -> WebSocketClientConnection:
        active = self.folder / "DevToolsActivePort"
        await self._until(lambda: active.exists() and "\n" in active.read_text())
        port = int(active.read_text().splitlines()[0])
        with urlopen(Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        return await websocket_connect(address, max_message_size=1 << 27)

    async def _until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, "the browser has ended"
            assert time.monotonic() < deadline, "the browser does not start"
            await asyncio.sleep(0.02)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its answer."""
        return self.loop.run_until_complete(self._send(method, parameters))

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        number = self._number
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            text = await asyncio.wait_for(self._socket.read_message(), timeout=60)
            assert text is not None, "the browser has closed the connection"
            message = json.loads(text)
            self._note(message)
            if message.get("id") == number:
                if "navigated" in message.get("error", {}).get("message", ""):
                    raise NavigatedError
                assert "error" not in message, message
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Network.requestWillBeSent":
            self._addresses[message["params"]["requestId"]] = message["params"]["request"]["url"]
        if message.get("method") == "Network.loadingFailed" and message["params"].get("blockedReason") == "csp":
            del self._addresses[message["params"]["requestId"]]  # the page's own policy forbade it: nothing was sent
        if message.get("method") == "Page.javascriptDialogOpening":
            self.dialogs.append(message["params"]["message"])

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)

    def evaluate(self, script: str) -> Any:
        """The value of a script's expression; promises are waited for."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 30.0) -> Any:
        """The value of the expression as soon as it is true; an element counts as true."""
        deadline = time.monotonic() + seconds
        while not (
            value := self._value(
                f"(() => {{ try {{ const value = {script}; return value instanceof Node || value }} "
                "catch (e) { return null } })()"
            )
        ):
            assert time.monotonic() < deadline, f"in vain: {script}\n{self.text()[:3000]}"
            self.evaluate("new Promise(done => setTimeout(done, 50))")
        return value

    def _value(self, script: str) -> Any:
        try:
            return self.evaluate(script)
        except NavigatedError:
            return None

    def click(self, selector: str) -> None:
        self.wait_for(f"document.querySelector({selector!r})")
        self.evaluate(f"document.querySelector({selector!r}).click()")

    @property
    def requested(self) -> list[str]:
        """The address of everything that was asked for."""
        return list(self._addresses.values())

    def text(self) -> str:
        return self.evaluate("document.body.innerText")

    def screenshot(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = {"x": 0, "y": 0, "width": 1300, "height": 1150, "scale": 0.6}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png", clip=clip)["data"]))
