"""What every task run leaves: rows of `task_runs`, and of `alerts` for failures.

Luigi's events fire in the process of the task, while other tasks write the database. So each event appends one line to
the journal of its luigi process, `work/journal/PID.jsonl`; when that process ends, or, after a kill, when the next one
does, the lines move into the database. A task that started and has no end in the journal of a dead process was killed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
import os
import pathlib
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import luigi

from pipeline.config import storage
from pipeline.database.connection import writing
from pipeline.errors import PipelineError, SessionNotSettledError, SessionOutOfRangeError
from pipeline.luigi_private import PUT_BACK
from pipeline.masking import masked
from pipeline.parameters import as_tuple
from pipeline.processes import is_alive
from pipeline.runs import alerts, notifications

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")


@dataclasses.dataclass
class TaskRun:
    """One run of one task; `dates` has several for a combined run. `started_at` in seconds of the epoch."""

    run_id: str
    task: str
    dates: list[str]
    started_at: float
    status: str = "killed"
    duration: float | None = None
    error: str = ""

    @property
    def pipeline(self) -> str:
        """The pipeline that the task belongs to."""
        return alerts.pipeline_of(self.task)

    @property
    def ended_at(self) -> dt.datetime:
        """When the run ended, as far as that is known."""
        return dt.datetime.fromtimestamp(self.started_at + (self.duration or 0.0), dt.UTC)


_owner = os.getpid()


def journal_path(pid: int) -> pathlib.Path:
    return storage().root / "work" / "journal" / f"{pid}.jsonl"


def listen() -> None:
    """Register the handlers of Luigi's events for this process, and those that it forks.

    What happens to a killed, timed-out or broken task is told in the luigi process; all else in the task's own.
    """
    global _owner
    _owner = os.getpid()
    events = luigi.Event
    luigi.Task.event_handler(events.START)(lambda task: _append(task, status=None))
    luigi.Task.event_handler(events.SUCCESS)(lambda task: _append(task, status="done"))
    luigi.Task.event_handler(events.FAILURE)(lambda task, error: _append(task, status="failed", error=error))
    luigi.Task.event_handler(events.PROCESS_FAILURE)(lambda task, error: _append(task, status="killed", error=error))
    luigi.Task.event_handler(events.TIMEOUT)(lambda task, error: _append(task, status="timed out", error=error))
    luigi.Task.event_handler(events.BROKEN_TASK)(lambda task, error: _append(task, status="not started", error=error))
    luigi.Task.event_handler(events.DEPENDENCY_MISSING)(_append_unasked)


def _append_unasked(task: luigi.Task) -> None:
    """A task that Luigi could not ask whether it is done. It does not say why, so that the task is asked again.

    A date that no run can serve is a mistake of the command line, which has been told so: nothing has failed.
    """
    try:
        error: object = "" if task.complete() else "its data is missing"
    except (SessionNotSettledError, SessionOutOfRangeError):
        return
    except PipelineError as reason:
        error = reason
    if error:
        _append(task, status="not started", error=error)


def _append(task: luigi.Task, status: str | None, error: object = None) -> None:
    text = str(error or "")
    if text.startswith(PUT_BACK):
        status, text = "put back", ""  # the dependency runs again, and fails, if it does, with an error of its own
    elif isinstance(error, BaseException) and not isinstance(error, PipelineError):
        text = f"{type(error).__name__}: {text}"
    line = {
        "id": uuid.uuid4().hex,
        "task_id": task.task_id,
        "task": task.task_family,
        "dates": [str(day) for day in as_tuple(getattr(task, "date", ()))],
        "at": time.time(),
        "status": status,
        "error": masked(text),
    }
    path = journal_path(_owner)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:  # one line, one write: processes do not mix theirs
        file.write(json.dumps(line) + "\n")


def close(pid: int) -> None:
    """At the end of a luigi process: move its journal into the database, and say what failed."""
    if os.getpid() != pid:
        return  # a forked task process, which leaves by the same door
    runs = settle()
    lines = closing_lines(runs.get(pid, []))
    for line in lines:
        logger.error(line)
    if lines and journal_path(pid).exists():  # the database did not take it: people have to know all the same
        notifications.send("\n".join(["ALERT, not recorded yet:", *lines]))
    elif runs:
        alerts.tell()


def settle() -> dict[int, list[TaskRun]]:
    """Move the journals of this process, and of those that are gone, into the database; the runs by process.

    A journal is deleted after its rows are committed; a run that was stored already is not stored twice.
    """
    ended = {pid: path for pid, path in journals() if pid == os.getpid() or not is_alive(pid)}
    runs = {pid: fold(path.read_text(encoding="utf-8")) for pid, path in ended.items()}
    if not runs:
        return {}
    import duckdb

    try:
        with writing() as connection:
            for run in (run for each in runs.values() for run in each):
                store(connection, run)
            alerts.update(connection)
    except (PipelineError, duckdb.Error) as error:
        logger.warning(
            "the record of this run stays in %s until the next one: %s", storage().root / "work" / "journal", error
        )
        return runs
    for path in ended.values():
        path.unlink()
    return runs


def journals() -> Iterator[tuple[int, pathlib.Path]]:
    """The journals that are not in the database yet, with the process that writes, or wrote, each."""
    for path in sorted(journal_path(0).parent.glob("*.jsonl")):
        yield int(path.stem), path


def fold(text: str) -> list[TaskRun]:
    """Task runs from the lines of a journal, in the order in which they started."""
    runs: list[TaskRun] = []
    started: dict[str, TaskRun] = {}
    for line in text[: text.rfind("\n") + 1].splitlines():  # a line in the making counts when it is whole
        entry: dict[str, Any] = json.loads(line)
        run = None if entry["status"] is None else started.pop(entry["task_id"], None)
        if run is None:
            run = TaskRun(entry["id"], entry["task"], entry["dates"], entry["at"])
            runs.append(run)
        if entry["status"] is None:
            started[entry["task_id"]] = run
        else:
            run.status, run.error, run.duration = entry["status"], entry["error"], entry["at"] - run.started_at
    return runs


def store(connection: DuckDBPyConnection, run: TaskRun) -> None:
    """One row of `task_runs` for each date of the run (or one without a date), and for a failure as many of `alerts`."""
    dates: Sequence[str | None] = run.dates or [None]
    (known,) = connection.execute("SELECT count(*) FROM task_runs WHERE run_id = ?", [run.run_id]).fetchone() or (0,)
    if known:
        return
    started = dt.datetime.fromtimestamp(run.started_at, dt.UTC)
    connection.execute(
        """
        INSERT INTO task_runs BY NAME
        SELECT $pipeline AS pipeline, $task AS task, day AS date, $started AS started_at, $duration AS duration_seconds,
               $status AS status, 1 + (SELECT count(*) FROM task_runs r WHERE r.task = $task AND r.date = day) AS try_number,
               len($dates) AS combined, $run_id AS run_id
        FROM (SELECT unnest($dates::DATE[]) AS day)
        """,
        {
            "pipeline": run.pipeline,
            "task": run.task,
            "started": started,
            "duration": run.duration,
            "status": run.status,
            "dates": dates,
            "run_id": run.run_id,
        },
    )
    if run.status not in ("done", "put back"):
        for date in dates:
            alerts.record(connection, run.status, run.task, date, run.error or run.status, run.ended_at, run.run_id)


def closing_lines(runs: list[TaskRun]) -> list[str]:
    """One line for each session whose last word is a failure: which stage, why, and the command to run again."""
    last: dict[tuple[str, str], TaskRun] = {}
    for run in runs:
        last.update({(run.task, date): run for date in run.dates or [""]})
    return [
        f"{date}: {task} {run.status}: {run.error or 'no reason given'}\n"
        f"    run again: luigi --module pipeline {run.pipeline} --date {date}"
        if date
        else f"{task} {run.status}: {run.error or 'no reason given'}\n    run the same command again"
        for (task, date), run in sorted(last.items())
        if run.status not in ("done", "put back")
    ]
