"""How far a long step is: on a terminal as a bar, in the scheduler's page as a percentage, in the log now and then."""

from __future__ import annotations

import html
import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger("pipeline")

#: How the work is told of: a text, and a percentage where there is one.
Say = Callable[[str, int | None], None]

#: Seconds between two lines in the log.
LOG_EVERY = 15.0


class Bar:
    """A progress display for the time of a `with` block; `advance(done, total, text)` moves it."""

    def __init__(self, name: str, say: Say) -> None:
        self.name = name
        self._say = say
        self._logged = time.monotonic()
        self._display: Progress | None = None

    def __enter__(self) -> Bar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._display = Progress(console=Console(stderr=True), transient=True)
            self._row = self._display.add_task(self.name, total=None)
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display:
            self._display.stop()

    def advance(self, done: int, total: int, text: str) -> None:
        self._say(html.escape(text), 100 * done // max(total, 1))  # the scheduler's page renders HTML
        if self._display:
            self._display.update(self._row, completed=done, total=total, description=f"{self.name}: {text}")
        if done == total or time.monotonic() - self._logged > LOG_EVERY:
            self._logged = time.monotonic()
            logger.info("%s: %s", self.name, text)
