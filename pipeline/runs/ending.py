"""How a run ends: its record, the alerts, the messages, the last lines, and the exit code if it is not Luigi's own."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from types import TracebackType

import luigi
import luigi.configuration
from luigi.retcodes import retcode
from luigi.task_register import Register, TaskClassException

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.host.owner import this_process
from pipeline.luigi_private import UNCAUGHT
from pipeline.masking import masked
from pipeline.parameters import as_tuple
from pipeline.runs import alerts, central, command_line, guard, journal, metrics, notifications
from pipeline.runs.alerts import PIPELINES
from pipeline.runs.journal import TaskRun
from pipeline.runs.worker import RunFactory

logger = logging.getLogger("pipeline")

#: Ends of a task run after which nothing is left to do for a person.
HARMLESS = ("done", "put back")


def close(pid: int) -> None:
    """At the exit of a luigi process: move its journal into the database, tell what failed, and how to go on.

    Whatever goes wrong here is told, too, and makes the exit code that of an error that nobody foresaw.
    """
    if os.getpid() != pid:
        return  # a forked task process, which leaves by the same door
    error = guard.error_of(_close)
    if error is not None:
        text = f"the end of the run could not be recorded: {masked(guard.described(error))}"
        logger.error("%s", text, exc_info=error)
        guard.error_of(lambda: notifications.send(f"ALERT {text}"))
    if error is not None or journal.unwritten or journal.unsettled:
        leave(retcode().unhandled_exception)


def leave(code: int) -> None:
    """End this process with a code, also when it is on its way out with another one."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _close() -> None:
    outcome = RunFactory.worker.outcome() if RunFactory.worker else {}
    runs = journal.settle()
    mine = runs.get(this_process(), [])
    unrecorded = [*journal.unwritten, *_unrecorded(outcome.get("failed", set()), mine)]
    failures = [*closing_lines(mine), *unrecorded]
    reasons = [] if failures else list(_not_run_lines(outcome))
    lines = [*failures, *journal.unsettled, *reasons, *_refused_lines()]
    for line in lines:
        logger.error("%s", line)
    if lines and journal.journal_path(this_process()).exists():  # people have to know all the same
        notifications.send("\n".join(["ALERT, not recorded yet:", *lines]))
        return
    alerts.resolve_done(_done(outcome))
    if unrecorded:
        more = f"; and {len(unrecorded) - 1} more, see the log" if len(unrecorded) > 1 else ""
        alerts.raise_alert("not recorded", PIPELINES[0], _last_date(outcome), masked(unrecorded[0]) + more)
    if runs:
        alerts.tell()
    if runs or unrecorded:
        _write_metrics()


def _write_metrics() -> None:
    error = guard.error_of(metrics.write)
    if error is not None:  # what shows the work does not fail it
        logger.warning("the metrics stay as they were: %s", guard.described(error))


def _done(outcome: dict[str, set[luigi.Task]]) -> list[tuple[str, str]]:
    """The pipelines and dates that Luigi has found done, or has done, and those that a range has left out as done."""
    ranges = [task for task in set().union(*outcome.values()) if hasattr(task, "found_done")]
    tasks = outcome.get("completed", set()) | outcome.get("already_done", set())
    tasks = tasks.union(*(each.found_done() for each in ranges))
    return [(task.task_family, str(day)) for task in tasks for day in as_tuple(getattr(task, "date", ()))]


def _last_date(outcome: dict[str, set[luigi.Task]]) -> dt.date | None:
    """The newest date that this run was about; None when it had none."""
    tasks = set().union(*outcome.values())
    days = [day for task in tasks for day in as_tuple(getattr(task, "date", ()))]
    asked = command_line.parse(sys.argv[1:]).date
    return max(days, default=dt.date.fromisoformat(asked) if asked else None)


def _unrecorded(failed: Iterable[luigi.Task], mine: list[TaskRun]) -> list[str]:
    """What Luigi knows to have failed and the journal does not."""
    known = {(run.task, date) for run in mine if run.status not in HARMLESS for date in run.dates or [""]}
    return [
        f"{task.task_id} failed: its reason could not be recorded, see the log above"
        for task in failed
        if known.isdisjoint((task.task_family, date) for date in _dates_of(task))
    ]


def closing_lines(runs: list[TaskRun]) -> list[str]:
    """One line for each session whose last word is a failure: which stage, why, and the command to run again."""
    last: dict[tuple[str, str], TaskRun] = {}
    for run in runs:
        last.update({(run.task, date): run for date in run.dates or [""]})
    return [
        f"{f'{date}: ' if date else ''}{task} {run.status}: {run.errors.get(date) or run.error or 'no reason given'}\n"
        f"    run again: {again(date)}"
        for (task, date), run in sorted(last.items())
        if run.status not in HARMLESS
    ]


def again(date: str) -> str:
    """The command that takes up the work of this process for a date."""
    return command_line.again(sys.argv[1:], date)


def _refused_lines() -> list[str]:
    return [f"nothing was done: {reason}" for reason in dict.fromkeys(journal.refused)]


def _not_run_lines(outcome: dict[str, set[luigi.Task]]) -> Iterator[str]:
    """Why a run leaves with its work undone although nothing has failed in it."""
    for task in outcome.get("run_by_other_worker", set()):
        yield f"{task} is in the hands of another run; wait for it, and look: pipeline status"
    left = outcome.get("not_run", set())
    first = [task for task in left if not left.intersection(task.deps())]
    for task in sorted(first, key=str):
        yield f"{task} was not run: {_reason_not_run(task)}\n    run again: {again(_dates_of(task)[0])}"


def _dates_of(task: luigi.Task) -> list[str]:
    return [str(day) for day in as_tuple(getattr(task, "date", ()))] or [""]


def _reason_not_run(task: luigi.Task) -> str:
    limits = luigi.configuration.get_config().getintdict("resources")
    lacking = [name for name, wanted in task.process_resources().items() if wanted > limits.get(name, 1)]
    if lacking:
        return f"it needs the resource {', '.join(lacking)}, of which [resources] has too little"
    if command_line.parse(sys.argv[1:]).local_scheduler:
        return "its scheduler did not hand it out"
    with contextlib.suppress(SchedulerUnreachableError):
        if any(known.task_id == task.task_id for known in central.known_tasks("DISABLED")):
            return "the scheduler has it disabled"
    return (
        "the scheduler did not hand it out: it is paused, has other runs to serve, was started anew meanwhile, or has "
        "not heard of this run for too long"
    )


# --- exceptions that end the run -----------------------------------------------------------------------------------


def note_uncaught(record: logging.LogRecord) -> bool:
    """A logging filter: the exception that ends Luigi's command line is recorded as the run's own.

    All records pass but that of an error of ours that could be noted: the run's last lines tell it, and no traceback.
    """
    if not (record.msg == UNCAUGHT and record.exc_info and record.exc_info[1]):
        return True
    error = _of_ours(record.exc_info[1])
    trouble = guard.error_of(lambda: _note_end(error))
    return trouble is not None or not isinstance(error, PipelineError)


def _of_ours(error: BaseException) -> BaseException:
    """The error of ours that another one was made of: Luigi wraps what a parameter's default fails with."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PipelineError):
        cause = cause.__cause__
    return cause or error


def _note_end(error: BaseException) -> None:
    options = command_line.parse(sys.argv[1:])
    names = set(Register.task_names())
    task = next((word for word in sys.argv[1:] if word in names), "DailyPipeline")
    journal.append(
        {
            "id": uuid.uuid4().hex,
            "task_id": task,
            "task": task,
            "dates": [options.date] if options.date else [],
            "at": time.time(),
            "status": "failed",
            "error": masked(guard.described(error)),
        }
    )


def end_by(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What `sys.excepthook` is: a run that was told to stop says so in one line, and ends with 130 as in a shell."""
    if issubclass(kind, TaskClassException):  # a mistake of who typed it, not of the run; Luigi names the nearest
        logger.error("%s", " ".join(str(error).split()))
        return
    if not issubclass(kind, KeyboardInterrupt):
        guard.error_of(lambda: _note_end(error))
        sys.__excepthook__(kind, error, trace)
        return
    logger.error("stopped by a signal; the same command takes up the work where it was left")
    import atexit

    atexit._run_exitfuncs()  # the record, and the children that are left
    leave(130)
