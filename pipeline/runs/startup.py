"""What a luigi process gets from us beside the tasks: scheduler, lock, signals, log, journal.

`prepare` is called when Luigi's command line imports `pipeline`, before it reads its own settings. `TaskContext` is
named by `[worker] task_process_context` and wraps every task.
"""

from __future__ import annotations

import argparse
import atexit
import concurrent.futures.thread  # noqa: F401  # for messages at a run's end, when Python refuses its import
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import IO

import luigi.configuration
from luigi.retcodes import retcode
from luigi.worker import TaskProcess

from pipeline import luigi_private
from pipeline.config import storage
from pipeline.errors import CommandLineError, PipelineError, RunInProgressError
from pipeline.host.processes import die_with_parent
from pipeline.host.streams import open_standard_streams
from pipeline.runs import central, command_line, configuration, ending, guard, journal, leftovers, log
from pipeline.runs import lock as runlock
from pipeline.runs.worker import RunFactory

logger = logging.getLogger("pipeline")

LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}

_held: list[IO[str]] = []


def prepare(arguments: Sequence[str]) -> None:
    """Make this process a run: called once, with Luigi's command line. Ends it when it cannot become one."""
    open_standard_streams()  # before any file
    log.set_up()
    try:
        options = command_line.read(arguments)
        if options.help:
            return
        _check(options)
        local = choose_scheduler(options)
        _held.append(runlock.acquire(shared=not local))
    except PipelineError as error:
        logger.error("%s", error)
        name = "already_running" if isinstance(error, RunInProgressError) else "unhandled_exception"
        sys.exit(getattr(retcode(), name))
    journal.settle(alone=local)  # of runs that were killed: what they left must not wait for the end of this one
    guard.error_of(leftovers.sweep)
    luigi_private.use_factory(RunFactory)
    luigi_private.build_parsers_once()
    _end_in_order()
    sys.excepthook = ending.end_by
    logging.getLogger("luigi-interface").addFilter(ending.note_uncaught)
    journal.listen()
    atexit.register(ending.close, os.getpid())


def _check(options: argparse.Namespace) -> None:
    """What would go wrong later, and is plain to see now. Raises ConfigurationError and CommandLineError."""
    configuration.check()
    for sentence in configuration.unknown_settings():
        logger.warning("%s", sentence)
    if "," in options.date:  # means a combined task, which the scheduler makes of tasks whose requirements are done
        raise CommandLineError(
            f"--date {options.date} names several sessions, and takes one; for several: luigi --module pipeline "
            f"RangeTradingDays --of DailyPipeline --start FIRST --stop DAY-AFTER-THE-LAST"
        )
    config = luigi.configuration.get_config()
    if not config.get("core", "lock_pid_dir", ""):  # Luigi's own default is one folder in /tmp for all users
        config.set("core", "lock_pid_dir", str(storage().root / "work" / "pids").replace("%", "%%"))


def _end_in_order() -> None:
    """Have `kill`, systemd's stop and a terminal that is gone be like Ctrl-C: Luigi then ends its task processes."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup has it
            signal.signal(signum, signal.default_int_handler)


def choose_scheduler(options: argparse.Namespace) -> bool:
    """True when this run uses the local scheduler: asked for, or because no luigid answers on this host.

    A scheduler named on the command line, or one on another host, is never replaced.
    """
    if options.local_scheduler:
        return True
    if options.scheduler_url or options.scheduler_host or options.scheduler_port:
        return False
    host, port = central.address()
    if host not in LOOPBACK or central.answers():
        return False
    logger.warning(
        "no luigid answers on %s:%d: this run uses the local scheduler (scripts/luigid starts the central one)",
        host,
        port,
    )
    luigi.configuration.get_config().set("core", "local_scheduler", "true")
    return True


class TaskContext:
    """Wraps the run of a task: a forked task process dies with Luigi, and a tracking URL costs nothing else."""

    def __init__(self, process: TaskProcess) -> None:
        self._process = process

    def __enter__(self) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid is not None:
            die_with_parent(parent=parent.pid)
        luigi_private.keep_facts_beside_tracking_url(self._process)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
