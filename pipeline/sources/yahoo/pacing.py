"""One pace for all processes that ask the same server.

The state lies in a small file that its users inherit as a descriptor; a POSIX record lock guards it, which the kernel
takes back from a killed process. The pace follows "additive increase, multiplicative decrease", as TCP does (RFC 5681):
a server that complains is asked less often at once, and more often again little by little.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO

#: The pace is multiplied by this when the server complains.
DECREASE = 0.7
#: Share of the upper limit that the pace gains in each second without a complaint.
RECOVERY = 0.01
#: Requests a second below which no complaint slows the pace.
FLOOR = 0.5
#: Seconds that a late request may be early for the next one: a pool of threads wakes up a little late every time.
SLACK = 0.05

_LAYOUT = struct.Struct("6d")


@dataclasses.dataclass
class _State:
    next_free: float
    rate: float
    changed: float
    slowed: float
    strikes: float
    complained_at: float


class Pace:
    """Permissions to send a request, at most `limit` a second over every process that shares `descriptor`.

    Times are seconds of `time.monotonic`, a clock that all processes of a machine share.
    """

    def __init__(self, descriptor: int, limit: float) -> None:
        self.descriptor = descriptor
        self.limit = limit
        self._threads = threading.Lock()  # a record lock keeps out other processes, not other threads

    def take(self) -> float:
        """Wait for the next free moment and return it, to be handed to `slow_down` or `succeeded` with the answer."""
        while True:
            with self._shared() as state:
                now = time.monotonic()
                if now >= state.next_free:
                    state.rate = self._recovered(state, now)
                    state.changed = now
                    state.next_free = max(state.next_free, now - SLACK) + 1 / state.rate
                    return now
                wait = state.next_free - now
            time.sleep(wait)  # a pause that was ordered meanwhile is found by looking again

    def slow_down(self, taken: float, pause: float | None, longest: float) -> None:
        """The request permitted at `taken` was one too many: nobody asks for `pause` seconds (at most `longest`).

        Without a `pause` of the server's own it lasts one second, and twice as long each time in a row. Complaints
        about requests sent before the last slow-down are about the old pace, and do not lower the new one.
        """
        with self._shared() as state:
            now = time.monotonic()
            if taken > state.slowed:
                state.rate = max(min(FLOOR, self.limit), self._recovered(state, now) * DECREASE)
                state.changed = state.slowed = now
                state.strikes += 1
                state.complained_at = state.rate
            rest = 2 ** (state.strikes - 1) if pause is None else pause
            begin = now if pause is not None else state.slowed
            state.next_free = max(state.next_free, begin + min(rest, longest))

    def succeeded(self, taken: float) -> None:
        """The request permitted at `taken` was answered: the next complaint is the first in a row again."""
        with self._shared() as state:
            if taken > state.slowed:
                state.strikes = 0

    @property
    def rate(self) -> float:
        """Requests a second that are permitted now."""
        with self._shared() as state:
            return self._recovered(state, time.monotonic())

    @property
    def complained_at(self) -> float:
        """Requests a second right after the last complaint; 0 when there was none."""
        with self._shared() as state:
            return state.complained_at

    def _recovered(self, state: _State, now: float) -> float:
        return min(self.limit, state.rate + RECOVERY * self.limit * max(0.0, now - state.changed))

    @contextlib.contextmanager
    def _shared(self) -> Iterator[_State]:
        with self._threads:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
            try:
                state = _State(*_LAYOUT.unpack(os.pread(self.descriptor, _LAYOUT.size, 0)))
                yield state
                os.pwrite(self.descriptor, _LAYOUT.pack(*dataclasses.astuple(state)), 0)
            finally:
                fcntl.lockf(self.descriptor, fcntl.LOCK_UN)


def pace_file(limit: float, first: float | None = None) -> IO[bytes]:
    """A new shared state at the pace `first`, or at full pace.

    The file has no name: nothing is left behind, however its users end.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    now = time.monotonic()
    os.pwrite(file.fileno(), _LAYOUT.pack(now, limit if first is None else first, now, 0.0, 0.0, 0.0), 0)
    return file
