"""What a Spark job says while it runs, and what of it explains a failure."""

from __future__ import annotations

import collections
import re
import threading
from typing import IO, Protocol


class Listener(Protocol):
    """Who is told of the job's progress, from another thread than the one that started it."""

    def found_page(self, url: str) -> None:
        """Spark's own page of the job is served at `url`."""

    def progressed(self, percent: int, text: str) -> None:
        """The job printed `@progress PERCENT TEXT`."""


_PAGE = re.compile(r"Successfully started service 'SparkUI' on port (\d+)|tracking URL: (https?://[\w.:/~-]+)")
_PROGRESS = re.compile(r"@progress (\d{1,3})\b ?(.*)")
_ERROR = re.compile(r"@error (.*)")
_TRACEBACK = "Traceback (most recent call last)"

#: Lines kept for an error message.
LAST_LINES = 60
TRACEBACK_LINES = 40


class JobOutput:
    """Reads a job's output in a thread of its own: line by line into `log`, the news to `listener`."""

    def __init__(self, stream: IO[bytes], log: IO[str], listener: Listener, host: str) -> None:
        self._stream, self._log, self._listener, self._host = stream, log, listener, host
        self._last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self._errors: list[str] = []
        self._traceback: list[str] = []
        self._in_traceback = False
        self._thread = threading.Thread(target=self._read, name="spark-output", daemon=True)
        self._thread.start()

    def finish(self, timeout: float = 5.0) -> None:
        """Read what is left. Bounded: a process that the job left behind may hold the stream open."""
        self._thread.join(timeout)

    def explanation(self) -> str:
        """The cause of a failure: the job's own words, else its first Python traceback, else its last lines.

        The first traceback is the worker's; the driver's that follows only reports it.
        """
        if self._errors:
            return "\n".join(self._errors)
        if self._traceback:
            return "\n".join(self._traceback)
        return "\n".join(self._last) or "it printed nothing"

    def _read(self) -> None:
        for raw in iter(self._stream.readline, b""):
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            self._log.write(line + "\n")
            self._log.flush()
            self._last.append(line)
            self._notice(line)

    def _notice(self, line: str) -> None:
        self._follow_traceback(line)
        if page := _PAGE.search(line):
            self._listener.found_page(page[2] or f"http://{self._host}:{page[1]}")
        elif progress := _PROGRESS.match(line):
            self._listener.progressed(min(int(progress[1]), 100), progress[2])
        elif error := _ERROR.match(line):
            self._errors.append(error[1])

    def _follow_traceback(self, line: str) -> None:
        """Keep the first traceback: indented lines after its head, and the unindented one that names the exception."""
        if _TRACEBACK in line and not self._traceback:
            self._in_traceback = True
            self._traceback.append(_TRACEBACK + ":")
        elif self._in_traceback and len(self._traceback) < TRACEBACK_LINES:
            self._traceback.append(line)
            self._in_traceback = line.startswith(" ") or not line
