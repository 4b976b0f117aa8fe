"""Whose something is: the process that holds a lock, keeps a journal, writes a file, or works on a task.

A pid alone says little: it is used again, and the next process of that number would keep dead what it does not know of
alive. So an owner is host, pid and the moment at which the process began, counted from the boot, which no change of the
clock moves.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import socket

#: Two readings of one start differ by the clock's ticks at most.
TOLERANCE = 1.0

_TEXT = re.compile(r"(?P<host>[^@]*)@(?P<pid>\d+)@(?P<started>\d+(\.\d+)?)")


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process of some host. `started` in seconds after the boot of that host."""

    host: str
    pid: int
    started: float

    def __str__(self) -> str:
        return f"{self.host}@{self.pid}@{self.started:.2f}"

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, a process of this host: of others nobody here knows whether they live."""
        return self.host == socket.gethostname()

    @property
    def is_gone(self) -> bool:
        """True when it was a process of this host that has ended; a zombie has, one that is only stopped has not."""
        if not self.is_here:
            return False
        started = _started(self.pid)
        return started is None or abs(started - self.started) > TOLERANCE


def of(pid: int) -> Owner:
    """The owner that a living process of this host is. Raises ProcessLookupError."""
    started = _started(pid)
    if started is None:
        raise ProcessLookupError(pid)
    return Owner(socket.gethostname(), pid, started)


def this_process() -> Owner:
    """The owner that this process is."""
    return _own(os.getpid())


@functools.lru_cache(maxsize=1)
def _own(pid: int) -> Owner:
    return of(pid)


def parse(text: str) -> Owner | None:
    """The owner whose text this is, None for other texts."""
    found = _TEXT.fullmatch(text)
    return Owner(found["host"], int(found["pid"]), float(found["started"])) if found else None


def _started(pid: int) -> float | None:
    """Seconds from boot to the start of a process, None when there is none that works."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return round(process.create_time() - psutil.boot_time(), 2)
    except psutil.NoSuchProcess:
        return None
