"""The processes that tests start, by whatever means: seen, and ended with their test."""

from __future__ import annotations

import contextlib
import ctypes
import pathlib
import sys
from collections.abc import Iterable

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become, on Linux, the parent of descendants whose parent has ended: none leaves the sight of `children`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> frozenset[psutil.Process]:
    """The processes directly below this one. Python's own resource tracker, which lives as long, is not among them."""
    return frozenset(process for process in psutil.Process().children() if "resource_tracker" not in told(process))


def told(process: psutil.Process) -> str:
    """The command line, empty for a process that has ended."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def end_since(before: frozenset[psutil.Process]) -> list[str]:
    """Kill all children that are not among `before`, and all below them; the command lines of those that still ran."""
    found = []
    while started := children() - before:  # what forks meanwhile is adopted, and seen in the next round
        family = started.union(*map(_below, started))
        found += [command for process in family if (command := told(process))]
        _kill(family)
    return found


def end_naming(folder: pathlib.Path) -> None:
    """Kill all below this process whose command line names the folder: a browser detaches some of its own."""
    _kill([process for process in _below(psutil.Process()) if str(folder) in told(process)])


def _below(process: psutil.Process) -> Iterable[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return ()


def _kill(family: Iterable[psutil.Process]) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(family, timeout=30)  # which reaps those that are ours
    assert not alive, f"cannot be killed: {alive}"
