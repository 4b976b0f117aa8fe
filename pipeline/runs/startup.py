"""What a luigi process gets from us beside the tasks: scheduler, lock, signals, log, journal.

`prepare` is called when Luigi's command line imports `pipeline`, before it reads its own settings. `TaskContext` is
named by `[worker] task_process_context` and wraps every task.
"""

from __future__ import annotations

import argparse
import atexit
import logging
import multiprocessing
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import IO
from urllib.parse import urlsplit

import luigi.configuration
from luigi.worker import TaskProcess

from pipeline.config import ROOT, all_settings, storage
from pipeline.errors import PipelineError, RunInProgressError
from pipeline.luigi_private import CHATTER, WORKER_PREFIX, keep_facts_beside_tracking_url
from pipeline.processes import die_with_parent
from pipeline.runs import journal
from pipeline.runs import lock as runlock

logger = logging.getLogger("pipeline")

LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}

_held: list[IO[str]] = []


def prepare(arguments: Sequence[str]) -> None:
    """Make this process a run: called once, with Luigi's command line."""
    options = _early_options(arguments)
    _set_up_log()
    if options.help:
        return
    if "," in options.date:  # means a combined task, which the scheduler makes of tasks whose requirements are done
        logger.error(
            "--date %s names several sessions, and takes one; for several: luigi --module pipeline RangeTradingDays "
            "--of DailyPipeline --start FIRST --stop DAY-AFTER-THE-LAST", options.date,
        )  # fmt: skip
        sys.exit(luigi.configuration.get_config().getint("retcode", "unhandled_exception", 40))
    config = luigi.configuration.get_config()
    if not config.get("core", "lock_pid_dir", ""):  # Luigi's own default is one folder in /tmp for all users
        (storage().root / "work").mkdir(parents=True, exist_ok=True)
        config.set("core", "lock_pid_dir", str(storage().root / "work" / "pids"))
    local = choose_scheduler(options)
    try:
        _held.append(runlock.acquire(shared=not local))
    except RunInProgressError as error:
        logger.error("%s", error)
        sys.exit(luigi.configuration.get_config().getint("retcode", "already_running", 10))
    # `kill` and systemd's stop are like Ctrl-C: Luigi then ends its task processes
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.excepthook = end_of_run
    journal.listen()
    atexit.register(journal.close, os.getpid())


def end_of_run(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What `sys.excepthook` is: a run that was told to stop says so in one line, and ends with 130 as in a shell."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.error("stopped by a signal; the same command takes up the work where it was left")
    atexit._run_exitfuncs()  # the journal, and the children that are left
    logging.shutdown()
    os._exit(130)


def _early_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The options that matter before Luigi parses them, or after it has forgotten them.

    Settings of ours that the command line gives become those of the configuration, so that they hold until the process
    ends.
    """
    config = luigi.configuration.get_config()
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--local-scheduler", action="store_true", default=config.getboolean("core", "local_scheduler", False)
    )
    parser.add_argument("--scheduler-url", default="")
    parser.add_argument("--scheduler-host", default="")
    parser.add_argument("--scheduler-port", default="")
    parser.add_argument("--date", default="")
    parser.add_argument("-h", "--help", "--help-all", action="store_true")
    settings = {f"{section}_{name}": (section, name) for section, name in all_settings()}
    for option in settings:
        parser.add_argument(f"--{option.replace('_', '-')}", dest=option)
    options = parser.parse_known_args(list(arguments))[0]
    for option, (section, name) in settings.items():
        if getattr(options, option) is not None:
            config.set(section, name, getattr(options, option).replace("%", "%%"))
    return options


def choose_scheduler(options: argparse.Namespace) -> bool:
    """True when this run uses the local scheduler: asked for, or because no luigid answers on this host.

    A scheduler named on the command line, or one on another host, is never replaced.
    """
    if options.local_scheduler:
        return True
    if options.scheduler_url or options.scheduler_host or options.scheduler_port:
        return False
    config = luigi.configuration.get_config()
    url = urlsplit(config.get("core", "scheduler_url", "") or "http://127.0.0.1:8082/")
    host, port = url.hostname or "127.0.0.1", url.port or 8082
    if host not in LOOPBACK or _answers(host, port):
        return False
    logger.warning(
        "no luigid on %s:%d: this run uses the local scheduler (scripts/luigid starts the central one)", host, port
    )
    config.set("core", "local_scheduler", "true")
    return True


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def _set_up_log() -> None:
    config = luigi.configuration.get_config()
    default = ROOT / "config" / "logging.ini"
    if not config.get("core", "logging_conf_file", "") and default.exists():
        config.set("core", "logging_conf_file", str(default))
    for words in (plain_words, plain_errors):
        logging.getLogger("luigi-interface").addFilter(words)


#: A traceback down to an error of ours, whose message is all that a person needs.
_OUR_TRACEBACK = re.compile(
    r"Traceback \(most recent call last\):\n.*^pipeline\.errors\.\w+: ", re.DOTALL | re.MULTILINE
)


def plain_words(record: logging.LogRecord) -> bool:
    """A logging filter: lines on tasks lose the worker's name, and lines without news are left out."""
    text = str(record.msg)
    if text.startswith(WORKER_PREFIX) and isinstance(record.args, tuple):
        record.msg, record.args = text.removeprefix(WORKER_PREFIX), record.args[2:]
    return not (record.levelno == logging.INFO and text.startswith(CHATTER))


def plain_errors(record: logging.LogRecord) -> bool:
    """A logging filter: errors that explain themselves lose their traceback; all records pass."""
    if record.exc_info and isinstance(record.exc_info[1], PipelineError):
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info = record.exc_text = None
    elif isinstance(record.msg, str) and "Traceback" in record.msg and not record.args:
        record.msg = _OUR_TRACEBACK.sub("", record.msg)
    return True


class TaskContext:
    """Wraps the run of a task: a forked task process dies with Luigi, and a tracking URL costs nothing else."""

    def __init__(self, process: TaskProcess) -> None:
        self._process = process

    def __enter__(self) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid is not None:
            die_with_parent(parent=parent.pid)
        keep_facts_beside_tracking_url(self._process)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
