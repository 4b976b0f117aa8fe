"""What every task run leaves: rows of `task_runs`, and of `alerts` for failures.

Luigi's events fire in the process of the task, while other tasks write the database. So each event appends one line to
the journal of its luigi process, `work/journal/OWNER.jsonl`; when that process ends, or, after a kill, when the next
one begins, the lines move into the database. A task that started and has no end in the journal of a dead process was
killed. Nothing sweeps a journal: it goes when its rows are in the database.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import pathlib
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import luigi

from pipeline.config import storage
from pipeline.database.connection import writing
from pipeline.errors import PipelineError, UnservedDateError
from pipeline.host.owner import Owner, parse, this_process
from pipeline.luigi_private import PUT_BACK
from pipeline.masking import masked
from pipeline.parameters import as_tuple
from pipeline.runs import alerts, guard

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")


@dataclasses.dataclass
class TaskRun:
    """One run of one task; `dates` has several for a combined run, and `errors` what each of
    them failed with, where they differ. `started_at` in seconds of the epoch."""

    run_id: str
    task: str
    dates: list[str]
    started_at: float
    status: str = "killed"
    duration: float | None = None
    error: str = ""
    errors: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def pipeline(self) -> str:
        """The pipeline that the task belongs to."""
        return alerts.pipeline_of(self.task)

    @property
    def ended_at(self) -> dt.datetime:
        """When the run ended, as far as that is known."""
        return dt.datetime.fromtimestamp(self.started_at + (self.duration or 0.0), dt.UTC)


_owner: Owner | None = None

#: Tasks that could not be started, and why, in this process.
_broken: set[tuple[str, str]] = set()

#: What the journal could not take, in this process: known when it ends, and told then.
unwritten: list[str] = []

#: What kept the journals out of the database at the last try, when nobody foresaw it.
unsettled: list[str] = []


def folder() -> pathlib.Path:
    return storage().root / "work" / "journal"


def journal_path(of: Owner) -> pathlib.Path:
    """The journal of a luigi process."""
    return folder() / f"{of}.jsonl"


def listen() -> None:
    """Register the handlers of Luigi's events for this process, and those that it forks.

    What happens to a killed, timed-out or broken task is told in the luigi process; all else in the task's own.
    """
    global _owner
    _owner = this_process()
    _broken.clear()
    events = luigi.Event
    on = luigi.Task.event_handler
    on(events.START)(lambda task: _note(task, status=None))
    on(events.SUCCESS)(lambda task: _note(task, status="done"))
    on(events.FAILURE)(lambda task, error: _note(task, status="failed", error=error))
    on(events.PROCESS_FAILURE)(lambda task, error: _note(task, status="killed", error=error))
    on(events.TIMEOUT)(lambda task, error: _note(task, status="timed out", error=error))
    on(events.BROKEN_TASK)(_note_broken)
    on(events.DEPENDENCY_MISSING)(_note_unasked)


def _note_broken(task: luigi.Task, error: object) -> None:
    """Luigi says it once more where the scheduler cannot be told of it, for the same reason."""
    if (task.task_id, str(error)) not in _broken:
        _broken.add((task.task_id, str(error)))
        _note(task, status="not started", error=error)


def _note_unasked(task: luigi.Task) -> None:
    """A task that Luigi could not ask whether it is done. It does not say why, so that the task is asked again.

    A date that no run can serve is a mistake of the command line, which has been told so: nothing has failed.
    """
    answers: list[bool] = []
    error = guard.error_of(lambda: answers.append(task.complete()))
    if isinstance(error, UnservedDateError):
        refused.append(str(error))
    elif error is not None or not answers[0]:
        _note(task, status="not started", error=error or "its data is missing")


#: Why dates of the command line cannot be served, in this process.
refused: list[str] = []


def _note(task: luigi.Task, status: str | None, error: object = None) -> None:
    """Append to the journal; what that fails with is remembered, since Luigi only logs the error of a handler."""
    trouble = guard.error_of(lambda: _append(task, status, error))
    if trouble is not None:
        logger.error("%s could not be recorded: %s", task.task_id, guard.described(trouble))
        words = f"{error}: " if error else ""
        unwritten.append(f"{task.task_id} {status or 'started'}: {words}not recorded ({guard.described(trouble)})")


def _append(task: luigi.Task, status: str | None, error: object = None) -> None:
    text = str(error or "")
    if text.startswith(PUT_BACK):
        status, text = "put back", ""  # the dependency runs again, and fails, if it does, with an error of its own
    elif isinstance(error, BaseException):
        text = guard.described(error)
    errors = {str(day): masked(guard.described(own)) for day, own in getattr(task, "session_errors", {}).items()}
    append(
        {
            "id": uuid.uuid4().hex,
            "task_id": task.task_id,
            "task": task.task_family,
            "dates": [str(day) for day in as_tuple(getattr(task, "date", ()))],
            "at": time.time(),
            "status": status,
            "error": masked(text),
            "errors": errors if status == "failed" else {},
            "final": isinstance(error, PipelineError) and not error.may_pass,
        }
    )


def append(line: dict[str, Any]) -> None:
    """One line, one write: processes do not mix theirs."""
    path = journal_path(_owner or this_process())
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def has_failed_for_good(task_id: str) -> bool:
    """Whether a task has failed in this run for a reason that does not pass by waiting."""
    path = journal_path(_owner or this_process())
    if not path.exists():
        return False
    return any(entry["final"] and entry["task_id"] == task_id for entry in entries(path.read_text(encoding="utf-8")))


def settle(alone: bool = False) -> dict[Owner | None, list[TaskRun]]:
    """Move the journals of this process, and of those that are gone, into the database; the runs by process.

    Of a process of another host nobody knows whether it has ended, unless this one has the installation `alone`. A
    journal is deleted after its rows are committed; a run that was stored already is not stored twice. What keeps the
    rows out of the database is logged, and the journals stay; what nobody foresaw is noted in `unsettled`, too.
    """
    unsettled.clear()
    mine = this_process()
    ended = {
        by: path for by, path in journals() if by is None or by == mine or by.is_gone or (alone and not by.is_here)
    }
    runs = {by: fold(path.read_text(encoding="utf-8")) for by, path in ended.items()}
    if not runs:
        return {}
    error = guard.error_of(lambda: _store_all([run for each in runs.values() for run in each]))
    if error is not None:
        logger.warning("the record of this run stays in %s until the next one: %s", folder(), guard.described(error))
        if not isinstance(error, PipelineError):
            unsettled.append(f"the record of this run is not in the database: {masked(guard.described(error))}")
        return runs
    for path in ended.values():
        path.unlink(missing_ok=True)
    return runs


def _store_all(runs: Sequence[TaskRun]) -> None:
    with writing() as connection:
        for run in runs:
            store(connection, run)
        alerts.update(connection)


def journals() -> Iterator[tuple[Owner | None, pathlib.Path]]:
    """The journals that are not in the database yet, with the process that writes, or wrote, each."""
    for path in sorted(folder().glob("*.jsonl")):
        yield parse(path.stem), path


def entries(text: str) -> Iterator[dict[str, Any]]:
    """The lines of a journal that are whole; one in the making, or damaged by a power cut, is left out."""
    for line in text[: text.rfind("\n") + 1].splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield {"errors": {}, "final": False} | json.loads(line)


def fold(text: str) -> list[TaskRun]:
    """Task runs from the lines of a journal, in the order in which they started."""
    runs: list[TaskRun] = []
    started: dict[str, TaskRun] = {}
    for entry in entries(text):
        run = None if entry["status"] is None else started.pop(entry["task_id"], None)
        if run is None:
            run = TaskRun(entry["id"], entry["task"], entry["dates"], entry["at"])
            runs.append(run)
        if entry["status"] is None:
            started[entry["task_id"]] = run
        else:
            run.status, run.error, run.errors = entry["status"], entry["error"], entry["errors"]
            run.duration = max(0.0, entry["at"] - run.started_at)  # a clock that was set back makes no negative one
    return runs


def store(connection: DuckDBPyConnection, run: TaskRun) -> None:
    """One row of `task_runs` for each date of the run (or one without a date), and for a failure as many `alerts`."""
    dates: Sequence[str | None] = run.dates or [None]
    (known,) = connection.execute("SELECT count(*) FROM task_runs WHERE run_id = ?", [run.run_id]).fetchone() or (0,)
    if known:
        return
    started = dt.datetime.fromtimestamp(run.started_at, dt.UTC)
    connection.execute(
        """
        INSERT INTO task_runs BY NAME
        SELECT $pipeline AS pipeline, $task AS task, day AS date, $started AS started_at, $duration AS duration_seconds,
               $status AS status,
               1 + (SELECT count(*) FROM task_runs r WHERE r.task = $task AND r.date = day) AS try_number,
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
            message = run.errors.get(date or "") or run.error or run.status
            alerts.record(connection, run.status, run.task, date, message, run.ended_at, run.run_id)
