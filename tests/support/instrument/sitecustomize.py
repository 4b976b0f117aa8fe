"""Counts the moments of a run at which it could be lost, and has it lost at one of them.

Python imports this file in each process that has its folder on PYTHONPATH. It stands around every rename, every commit
of DuckDB and every call of the scheduler, wherever in the code they are: none is listed by hand. All processes of a run
number them together, in the file that MOMENTS names. The moment MOMENT_NUMBER then meets with MOMENT_ACTION:

    kill-before, kill-after    SIGKILL to the whole group of the run, before or after the operation
    stop                       SIGSTOP to the process that was started, which whoever started it then kills
    full                       the operation fails as on a full disk, once
    memory                     the commit fails as when DuckDB may take no more memory, once
    locked                     another process has the database open for two seconds
    away                       whoever started the run is asked to take the scheduler away, and has when it goes on

With the action `cut` every moment waits until whoever started the run has copied what is on the disk then: exactly what
a SIGKILL of all processes would leave there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import importlib.abc
import importlib.machinery
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

LOG = os.environ.get("MOMENTS", "")
NUMBER = int(os.environ.get("MOMENT_NUMBER", "0"))
ACTION = os.environ.get("MOMENT_ACTION", "")

#: Calls of the scheduler that change what it knows, or hand out work.
CALLS = ("add_worker", "add_task", "add_task_batcher", "get_work", "count_pending", "announce_scheduling_failure")

#: Inside of a moment nothing is counted: an operation may be made of others.
_inside = threading.local()


def count(kind: str, detail: str) -> int:
    """Note a moment, and say which number it has among all processes of the run."""
    with open(LOG, "a+", encoding="utf-8") as log:  # noqa: PTH123  # before pathlib is worth its import
        fcntl.flock(log, fcntl.LOCK_EX)
        log.seek(0)
        number = sum(1 for _ in log) + 1
        log.write(f"{kind}\t{' '.join(detail.split())}\n")
        log.flush()
    return number


def leader() -> int:
    """The process that was started: it leads the group that the others belong to, or began in."""
    with open(f"{LOG}.leader", encoding="utf-8") as file:  # noqa: PTH123
        return int(file.read())


def lose() -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def moment(kind: str, detail: str) -> Iterator[None]:
    if getattr(_inside, "is_so", False):
        yield
        return
    _inside.is_so = True
    try:
        number = count(kind, detail)
        is_chosen = number == NUMBER
        if is_chosen:
            meet(kind)
        elif ACTION == "cut":
            ask(f"{LOG}.cut-{number:04d}-before")
        yield
        if is_chosen and ACTION == "kill-after":
            lose()
        elif ACTION == "cut" and kind != "scheduler":
            ask(f"{LOG}.cut-{number:04d}-after")
    finally:
        _inside.is_so = False


def meet(kind: str) -> None:
    if ACTION == "kill-before":
        lose()
    elif ACTION == "stop":
        os.kill(leader(), signal.SIGSTOP)
        threading.Event().wait(0.1 if os.getpid() == leader() else 3.0)
    elif ACTION == "full" and kind == "rename":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a full disk")
    elif ACTION == "full" and kind == "commit":
        import duckdb

        raise duckdb.IOException('Could not write file "a full disk": No space left on device')
    elif ACTION == "memory" and kind == "commit":
        import duckdb

        raise duckdb.OutOfMemoryException("failed to allocate data of size 256.0 KiB (all memory in use)")
    elif ACTION == "locked":
        hold()
    elif ACTION == "away":
        ask(f"{LOG}.away")


def ask(request: str) -> None:
    """Wait until whoever started the run has done what the name of this file asks for."""
    open(request, "w", encoding="utf-8").close()  # noqa: PTH123, SIM115
    while os.path.exists(request):  # noqa: PTH110
        threading.Event().wait(0.005)


def hold() -> None:
    """Another process takes the database, when this one does not have it open, and lets it go again."""
    program = (
        "import duckdb, sys, time\n"
        "try:\n    held = duckdb.connect(sys.argv[1])\nexcept duckdb.Error:\n    held = None\n"
        "print('held', flush=True); time.sleep(2 if held else 0)\n"
    )
    plain = {name: value for name, value in os.environ.items() if name != "MOMENTS"}
    holder = subprocess.Popen(
        [sys.executable, "-c", program, os.environ["MOMENT_DATABASE"]], env=plain, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()


def around(function: Callable[..., Any], kind: str, describe: Callable[..., str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def counted(*arguments: Any, **options: Any) -> Any:
        with moment(kind, describe(*arguments, **options)):
            return function(*arguments, **options)

    return counted


def instrument_duckdb(duckdb: ModuleType) -> None:
    kind = duckdb.DuckDBPyConnection
    kind.commit = around(kind.commit, "commit", lambda connection: "")


def instrument_rpc(rpc: ModuleType) -> None:
    client = rpc.RemoteScheduler
    client._fetch = around(client._fetch, "scheduler", lambda client, suffix, body, *_: suffix)


def instrument_scheduler(scheduler: ModuleType) -> None:
    for name in CALLS:
        method = getattr(scheduler.Scheduler, name)
        setattr(scheduler.Scheduler, name, around(method, "scheduler", lambda *_, name=name, **__: name))


HOOKS = {"duckdb": instrument_duckdb, "luigi.rpc": instrument_rpc, "luigi.scheduler": instrument_scheduler}


class AfterImport(importlib.abc.MetaPathFinder):
    """Finds the modules of HOOKS as Python does, and has them instrumented when they have been imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in HOOKS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        run, hook = spec.loader.exec_module, HOOKS[name]

        def run_and_hook(module: ModuleType) -> None:
            run(module)
            hook(module)

        spec.loader.exec_module = run_and_hook  # type: ignore[method-assign]
        return spec


if LOG:
    if not os.path.exists(f"{LOG}.leader"):  # noqa: PTH110
        with open(f"{LOG}.leader", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(str(os.getpid()))
    os.replace = around(os.replace, "rename", lambda source, target, **_: str(target))
    os.rename = around(os.rename, "rename", lambda source, target, **_: str(target))
    sys.meta_path.insert(0, AfterImport())
