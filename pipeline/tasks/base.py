"""What all stages share: sessions, targets, the rules of batching, and markers.

A stage is written for a set of sessions. Luigi hands it one session, or, when several are ready at the same moment,
one combined task with a tuple of them (`batch_method`): a back-fill then is one price collection and one Spark job,
while each session keeps its own task, state and marker. For that to happen the stages fall in priority along the
chain and share the resource `duckdb` (which also keeps writers apart).
"""

from __future__ import annotations

import datetime as dt
import logging
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import luigi

from pipeline import calendar
from pipeline.bounds import check_settings
from pipeline.database.connection import database_path, writing
from pipeline.database.markers import MarkerTarget, RowTarget
from pipeline.errors import PipelineError, SessionFailedError, SparkJobError
from pipeline.events.updates import stage_done
from pipeline.parameters import SessionParameter, as_tuple
from pipeline.runs import guard, journal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")

#: What a stage says of one session: facts for its marker file, or the error that kept the session from being done.
Outcome = dict[str, Any] | PipelineError


class SessionTask(luigi.Task):
    """One stage of one session.

    Subclasses name the stages they follow and the table they fill, and write `process`. `heading` is what a person
    calls the stage, `rows` the table and column of the date of rows that it alone makes, for a session, and nobody else
    needs, `belongs_to` the pipeline that its runs and alerts are recorded under.
    """

    date = SessionParameter()

    follows: ClassVar[tuple[type[luigi.Task], ...]] = ()
    table: ClassVar[str] = ""
    heading: ClassVar[str] = ""
    belongs_to: ClassVar[str] = "DailyPipeline"
    rows: ClassVar[tuple[tuple[str, str], ...]] = ()
    resources = {"duckdb": 1}
    max_batch_size = 2000

    #: How often the stage is tried in a run; its source may be away briefly. None: as `[scheduler] retry_count` says.
    tries: ClassVar[int | None] = None

    _unfinished = False

    @property
    def retry_count(self) -> int | None:
        """Luigi's setting of a task: once only, when the stage has failed for a reason that no waiting mends."""
        return 1 if journal.has_failed_for_good(self.task_id) else self.tries

    @property
    def sessions(self) -> tuple[dt.date, ...]:
        return as_tuple(self.date)

    def requires(self) -> list[luigi.Task]:
        """The stages before this one.

        A combined task has none: Luigi made it of tasks whose requirements are done, and a session that failed in an
        earlier combined run must not keep the others waiting (`process_ready` leaves it out).
        """
        if len(self.sessions) > 1:
            return []
        return [stage(date=self.date) for stage in self.follows]

    def output(self) -> list[luigi.Target]:
        return [target for session in self.sessions for target in (self.marker(session), self.row(session))]

    @classmethod
    def marker(cls, session: dt.date) -> MarkerTarget:
        return MarkerTarget(cls.__name__, session)

    @classmethod
    def row(cls, session: dt.date) -> RowTarget:
        return RowTarget(cls.__name__, session)

    @classmethod
    def forget(cls, connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> None:
        """Take the rows of the sessions away, for a reset."""
        for table, column in cls.rows:
            connection.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(?::DATE[]))", [list(sessions)])

    @classmethod
    def with_product(cls, sessions: set[dt.date]) -> set[dt.date]:
        """Those of the sessions that have the thing which the stage makes beside its rows; all, where it makes none."""
        return sessions

    @classmethod
    def recorded(cls, sessions: Iterable[dt.date]) -> set[dt.date]:
        """Those of the sessions that are done and have lost nothing: marker file, marker row, product."""
        rows = RowTarget.update_ids(database_path())
        marked = MarkerTarget.sessions(cls.__name__)
        return cls.with_product({day for day in sessions if day in marked and f"{cls.__name__}:{day}" in rows})

    def is_done(self, session: dt.date) -> bool:
        """True when the session has its marker file, row and product. A day without a session is done, and says so.

        Raises SessionNotSettledError or SessionOutOfRangeError for a day that no run can serve.
        """
        if self.marker(session).exists() and self.row(session).exists() and self.with_product({session}):
            return True
        if calendar.check_session(session):
            return False
        calendar.say_no_session(session)
        return True

    def complete(self) -> bool:
        """True when every session is done, or when a combined run finished what it could.

        The sessions that it could not finish are found incomplete by the stages after it; Luigi then runs each of
        them on its own, so that each fails with its own error.
        """
        return self._unfinished or all(self.is_done(session) for session in self.sessions)

    def on_failure(self, exception: BaseException) -> str:
        """The text of the scheduler's error window: the message alone for a situation that a person can act upon."""
        if not isinstance(exception, PipelineError):
            return super().on_failure(exception)
        lines = str(exception).splitlines()  # the window does not break lines
        return "\n".join(textwrap.fill(line, 66, break_long_words=False, break_on_hyphens=False) for line in lines)

    def run(self) -> None:
        outcomes = self.process_ready()
        failures = {s: outcome for s, outcome in outcomes.items() if isinstance(outcome, PipelineError)}
        for session, outcome in outcomes.items():
            if not isinstance(outcome, PipelineError):
                self.marker(session).write({"session": session, "finished_at": calendar.now(), **outcome})
        if failures and len(failures) == len(outcomes):
            self.session_errors = failures
            raise next(iter(failures.values()))
        self._put_back(failures)

    def process_ready(self) -> dict[dt.date, Outcome]:
        """Process the sessions that are not done and whose requirements are.

        Raises ConfigurationError for settings that cannot work.
        """
        check_settings()
        due = [session for session in self.sessions if not self.is_done(session)]
        committed: dict[dt.date, Outcome] = {
            session: {"recovered": True}
            for session in due
            if self.row(session).exists() and self.with_product({session})
        }
        ready = [s for s in due if s not in committed and all(stage(date=s).complete() for stage in self.follows)]
        self._unfinished = len(committed) + len(ready) < len(due)
        return {**committed, **self._process_all(ready)}

    def _process_all(self, ready: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        """`process`, and, when what it raises is about one of several sessions, each of them alone.

        An error of ours says that nothing can be done for any of them, but for a Spark job, which has read them all.
        """
        if len(ready) < 2:
            return self.process(ready) if ready else {}
        outcomes: dict[dt.date, Outcome] = {}
        error = guard.error_of(lambda: outcomes.update(self.process(ready)))
        if error is None:
            return outcomes
        if isinstance(error, PipelineError) and not isinstance(error, SparkJobError):
            raise error
        logger.warning(
            "%s of %d sessions failed (%s); each of them is done alone",
            self.task_family, len(ready), guard.described(error), exc_info=error,
        )  # fmt: skip
        left = [session for session in ready if not self.row(session).exists()]
        return {s: {"recovered": True} for s in ready if s not in left} | {s: self._alone(s) for s in left}

    def _alone(self, session: dt.date) -> Outcome:
        outcomes: dict[dt.date, Outcome] = {}
        error = guard.error_of(lambda: outcomes.update(self.process([session])))
        if error is None:
            return outcomes[session]
        return error if isinstance(error, PipelineError) else SessionFailedError(guard.described(error))

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        """Do the stage's work for these sessions (ascending, none of them done), and say how each one ended.

        Rows and `finish` share a transaction for each session that succeeds.
        """
        raise NotImplementedError

    def finish(self, connection: DuckDBPyConnection, session: dt.date) -> None:
        """Mark the session as done with the connection, and so in the transaction, of its data."""
        self.row(session).touch(connection, self.table)
        stage_done(connection, type(self).__name__, self.table, session)

    def finish_all(self, sessions: Sequence[dt.date]) -> None:
        """Mark sessions as done, for a stage that has no rows to write."""
        with writing() as connection:
            for session in sessions:
                self.finish(connection, session)

    def say(self, text: str, percent: int | None = None) -> None:
        """Show how far the work is in the scheduler's page. `text` must be free of markup from outside."""
        if self.set_status_message:  # only there while Luigi runs the task
            self.set_status_message(text)
        if percent is not None and self.set_progress_percentage:
            self.set_progress_percentage(percent)

    def _put_back(self, failures: dict[dt.date, PipelineError]) -> None:
        for session, error in failures.items():
            logger.warning("%s %s failed beside others and is tried again alone: %s", self.task_family, session, error)
            self._unfinished = True
