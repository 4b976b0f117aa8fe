"""Processes that never outlive the one that started them. Standard library only: Spark's driver gets this file too."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1

#: Seconds between two looks at the parent, where the system offers nothing to wait on.
_POLL_SECONDS = 0.5

# Loaded here and not at the call: between fork and exec nothing may be imported.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(signum: int = signal.SIGTERM, parent: int | None = None) -> None:
    """Have this process receive `signum` when its parent ends, however that ends.

    `parent` is the pid that the parent is known to have; without it the present parent counts, and one that ended
    before this call is missed. On Linux the kernel does it, and it lasts through `exec`, so that the function may serve
    as a `preexec_fn`. There the *thread* that started this process counts as the parent: start processes from threads
    that stay. Elsewhere a thread of this process watches, which does not last through `exec`.
    """
    expected = os.getppid() if parent is None else parent
    if _LIBC is None:
        die_with(expected, signum)
        return
    if _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != expected:
        os.kill(os.getpid(), signum)


def die_with(pid: int, signum: int = signal.SIGTERM) -> None:
    """Have this process receive `signum` when the process `pid`, which need not be its parent, ends."""

    def watch() -> None:
        wait_for_exit(pid)
        os.kill(os.getpid(), signum)

    threading.Thread(target=watch, name=f"die-with-{pid}", daemon=True).start()


def new_session(signum: int = signal.SIGTERM) -> Callable[[], None]:
    """A `preexec_fn`: the new process leads an own session and group (see `end_group`), and dies with this process."""
    parent = os.getpid()

    def prepare() -> None:
        os.setsid()
        # The watching thread that stands in for the kernel elsewhere would not survive the exec that follows.
        if _LIBC is not None:
            die_with_parent(signum, parent)

    return prepare


def is_alive(pid: int) -> bool:
    """Whether a process of this number exists; one that has ended and is not yet reaped counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def wait_for_exit(pid: int) -> None:
    """Return when no process `pid` is running any more."""
    if hasattr(select, "kqueue"):
        _wait_by_kqueue(pid)
    elif hasattr(os, "pidfd_open"):
        _wait_by_pidfd(pid)
    else:
        pause = threading.Event()
        while is_alive(pid):
            pause.wait(_POLL_SECONDS)


def _wait_by_pidfd(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
    finally:
        os.close(descriptor)


def _wait_by_kqueue(pid: int) -> None:
    queue = select.kqueue()  # type: ignore[attr-defined]
    event = select.kevent(  # type: ignore[attr-defined]
        pid,
        filter=select.KQ_FILTER_PROC,  # type: ignore[attr-defined]
        flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT,  # type: ignore[attr-defined]
        fflags=select.KQ_NOTE_EXIT,  # type: ignore[attr-defined]
    )
    try:
        queue.control([event], 1)
    except ProcessLookupError:
        return
    finally:
        queue.close()


def end_group(process: subprocess.Popen[bytes] | subprocess.Popen[str], grace: float = 10.0) -> int:
    """End the group that `process` leads: SIGTERM, up to `grace` seconds for its leader, SIGKILL for what is left.

    Returns the leader's exit code. Safe to call for a group that has ended already.
    """
    signal_group(process.pid, signal.SIGTERM)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace)
    finally:  # also when this process is told a second time to end
        signal_group(process.pid, signal.SIGKILL)
    return process.wait()


def signal_group(group: int, signum: int) -> None:
    """Send a signal to a process group, which may be gone. (macOS answers EPERM when only zombies are left in it.)"""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signum)
