"""Alerts: a row for every failure, one message for every cause, and another one when the failed date is done.

The rows of `alerts` come first, the messages after: a message that no channel took is sent by the next run. Failures
that differ in nothing but their date, their numbers or their try have one cause, and while its dates are not done it
is told again only after `[alerts] repeat_hours`. A failure that a retry overcame is not told at all.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from luigi.task_register import Register, TaskClassException

from pipeline import calendar
from pipeline.config import alerts
from pipeline.database import query_cache
from pipeline.database.connection import database_path, reading, records, writing
from pipeline.errors import DatabaseLockedError, PipelineError
from pipeline.runs import messages, notifications

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")

#: What people run; each of their dates is done or not.
PIPELINES = ("DailyPipeline", "RedisWatchlistSync", "ConfirmSession", "PublishLake")

#: What may differ between two failures of one cause. An HTTP status is not among it.
_VARYING = re.compile(r"(?<!HTTP )\b\d[\d.,:%T+-]*\b|\b[0-9a-f]{16,}\b")


def pipeline_of(task: str) -> str:
    """The pipeline that a task belongs to, as its class says; DailyPipeline for one that says nothing, or is gone."""
    try:
        return str(getattr(Register.get_task_cls(task), "belongs_to", PIPELINES[0]))
    except TaskClassException:
        return PIPELINES[0]


def cause_of(task: str, message: str) -> str:
    """What failures of one cause have in common: the task and the message, without dates and numbers."""
    return f"{task}: {_VARYING.sub('#', message)}"


@dataclasses.dataclass(frozen=True)
class Message:
    """A text that is due, the alerts that it is about, and the column that says when it was sent."""

    text: str
    ids: list[int]
    column: str


def raise_alert(kind: str, task: str, date: dt.date | None, message: str) -> None:
    """Record an alert that no task run raised, and tell it.

    Raising it again while its date is not done adds nothing. A database that another process keeps locked does not
    keep the message from being sent.
    """
    try:
        with writing() as connection:
            if not _is_open(connection, kind, date, cause_of(task, message)):
                record(connection, kind, task, date, message, calendar.now())
            update(connection)
    except DatabaseLockedError as error:
        logger.warning("the alert is sent without a record: %s", error)
        notifications.send(headline(pipeline_of(task), task, [kind], [date] if date else [], 1, message))
        return
    tell()


def _is_open(connection: DuckDBPyConnection, kind: str, date: dt.date | None, cause: str) -> bool:
    query = (
        "SELECT 1 FROM alerts WHERE type = ? AND cause = ? AND date IS NOT DISTINCT FROM ?::DATE "
        "AND resolved_at IS NULL"
    )
    return connection.execute(query, [kind, cause, date]).fetchone() is not None


def record(
    connection: DuckDBPyConnection, kind: str, task: str, date: dt.date | str | None, message: str,
    raised_at: dt.datetime, run_id: str | None = None,
) -> None:  # fmt: skip
    """One row of `alerts`."""
    connection.execute(
        "INSERT INTO alerts (type, pipeline, task, date, message, raised_at, run_id, cause) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [kind, pipeline_of(task), task, date, message, raised_at, run_id, cause_of(task, message)],
    )


def resolve_done(done: Sequence[tuple[str, str]]) -> None:
    """Resolve what was raised for dates of pipelines that a run has found done, whoever did them."""
    pairs = {f"{pipeline} {date}" for pipeline, date in done if pipeline in PIPELINES}
    query = f"SELECT DISTINCT {_PAIR} FROM alerts WHERE {_OF_A_RUN}"
    if not pairs or pairs.isdisjoint(query_cache.values(database_path(), "open_alerts", query)):
        return
    with writing() as connection:
        connection.execute(
            f"UPDATE alerts SET resolved_at = ? WHERE {_OF_A_RUN} AND {_PAIR} IN (SELECT unnest(?::VARCHAR[]))",
            [calendar.now(), sorted(pairs)],
        )
        update(connection)
    tell()


#: What a task run raised, or could not record, and is not resolved; and the pipeline and date that it is about.
_OF_A_RUN = "resolved_at IS NULL AND (run_id IS NOT NULL OR type = 'not recorded')"
_PAIR = "concat(pipeline, ' ', date)"


def resolve_findings(still: Sequence[str]) -> None:
    """Resolve what the doctor raised and finds no more; `still` are the messages of what it finds now."""
    causes = [cause_of("DailyPipeline", message) for message in still]
    with writing() as connection:
        connection.execute(
            """
            UPDATE alerts SET resolved_at = ?
            WHERE resolved_at IS NULL AND type = 'doctor' AND cause NOT IN (SELECT unnest(?::VARCHAR[]))
            """,
            [calendar.now(), causes],
        )
        update(connection)
    tell()


@dataclasses.dataclass(frozen=True)
class Alert:
    """One row of `alerts`."""

    id: int
    type: str
    pipeline: str
    task: str
    date: dt.date | None
    message: str
    raised_at: dt.datetime
    told_at: dt.datetime | None
    resolved_at: dt.datetime | None


def listed(days: int | None = None) -> list[Alert]:
    """The alerts that are open, newest first; with `days` all that were raised in so many days, resolved or not."""
    if not database_path().exists():
        return []
    since = calendar.now() - dt.timedelta(days=days or 0)
    with reading() as connection:
        rows = records(
            connection,
            """
            SELECT id, type, pipeline, task, date, message, raised_at, told_at, resolved_at FROM alerts
            WHERE resolved_at IS NULL OR (? AND raised_at >= ?)
            ORDER BY raised_at DESC, id DESC
            """,
            days is not None,
            since,
        )
    return [Alert(**row) for row in rows]


def update(connection: DuckDBPyConnection) -> None:
    """Bring the state of all alerts up to date with the task runs: what is resolved, and what needs no message."""
    values = {"now": calendar.now(), "since": calendar.now() - dt.timedelta(hours=alerts().repeat_hours)}
    for statement in (_RESOLVE, _COVER, _CLOSE_UNTOLD):
        connection.execute(statement, {name: value for name, value in values.items() if f"${name}" in statement})


# An alert of a date is over when the stage that it is about, or its whole pipeline, was done after it: a task run says
# so, or the marker row, which a run that was killed after its last marker has left, too. Redis holds one state, not a
# history: a later date that is done makes up for all earlier ones. So do the tables for other engines, and what the
# doctor found is over then, too. What follows a finished day is not done because the day is.
_RESOLVE = """
    WITH done AS (
        SELECT task, date, started_at + to_seconds(coalesce(duration_seconds, 0)) AS at
        FROM task_runs WHERE status = 'done'
        UNION ALL
        SELECT stage, session, finished_at FROM finished_stages
    ),
    closed AS (SELECT DISTINCT session AS date FROM finished_stages WHERE stage = 'CloseSession')
    UPDATE alerts SET resolved_at = $now WHERE resolved_at IS NULL AND EXISTS (
        FROM done d
        WHERE d.at >= alerts.raised_at
          AND CASE
              WHEN alerts.date IS NULL THEN d.task = alerts.task
              WHEN alerts.pipeline = 'RedisWatchlistSync'
              THEN d.task IN ('RedisWatchlistSync', 'ManualFullSync') AND d.date >= alerts.date
              WHEN alerts.pipeline = 'PublishLake' THEN d.task = alerts.pipeline AND d.date >= alerts.date
              WHEN alerts.pipeline = 'ConfirmSession' THEN d.task = alerts.pipeline AND d.date = alerts.date
              WHEN alerts.run_id IS NULL
              THEN d.task IN ('DailyPipeline', 'CloseSession') AND d.date >= alerts.date
              ELSE d.date = alerts.date AND (
                  d.task IN ('DailyPipeline', 'CloseSession')
                  OR (d.task = alerts.task AND alerts.date IN (SELECT date FROM closed))
              )
          END
    )
"""
_COVER = """
    UPDATE alerts SET told_at = told.at
    FROM (SELECT cause, max(told_at) AS at FROM alerts WHERE resolved_at IS NULL GROUP BY cause) told
    WHERE alerts.cause = told.cause AND alerts.told_at IS NULL AND alerts.resolved_at IS NULL AND told.at > $since
"""
_CLOSE_UNTOLD = """
    UPDATE alerts SET closed_at = $now
    WHERE closed_at IS NULL AND resolved_at IS NOT NULL AND told_at IS NULL
    """

# Attempts of one task for one date are one message, with the last reason, also where the reasons differ.
_DUE = """
    SELECT pipeline, task, list(DISTINCT type ORDER BY type),
           list(DISTINCT date ORDER BY date) FILTER (date IS NOT NULL), count(*), arg_max(message, id), list(id)
    FROM (
        SELECT *, CASE WHEN run_id IS NULL THEN cause
                  ELSE arg_max(cause, id) OVER (PARTITION BY pipeline, task, date, run_id IS NULL) END AS last_cause
        FROM alerts WHERE told_at IS NULL AND resolved_at IS NULL
    ) untold
    WHERE NOT EXISTS (
        FROM task_runs r WHERE r.task = untold.task AND r.date IS NOT DISTINCT FROM untold.date AND r.status = 'done'
                           AND r.started_at >= untold.raised_at
    )
    GROUP BY last_cause, pipeline, task ORDER BY min(id)
"""
_RECOVERED = """
    SELECT pipeline, list(DISTINCT task ORDER BY task), list(DISTINCT date ORDER BY date) FILTER (date IS NOT NULL),
           count(*), min(raised_at), list(id)
    FROM alerts WHERE resolved_at IS NOT NULL AND told_at IS NOT NULL AND closed_at IS NULL
    GROUP BY pipeline ORDER BY min(id)
"""


def due(connection: DuckDBPyConnection) -> list[Message]:
    """The messages that have to be sent, oldest failure first, recoveries last."""
    failures = [
        Message(headline(pipeline, task, kinds, dates or [], count, message), ids, "told_at")
        for pipeline, task, kinds, dates, count, message, ids in connection.execute(_DUE).fetchall()
    ]
    recoveries = [
        Message(
            f"RECOVERED {pipeline}: {_span(dates or [])} done, after {count} failure{'s' if count > 1 else ''} of "
            f"{', '.join(tasks)} since {since:%Y-%m-%d %H:%M %Z}",
            ids,
            "closed_at",
        )
        for pipeline, tasks, dates, count, since, ids in connection.execute(_RECOVERED).fetchall()
    ]
    return failures + recoveries


def headline(pipeline: str, task: str, kinds: Sequence[str], dates: Sequence[dt.date], count: int, message: str) -> str:
    """The text of an alert: which task of which pipeline, what happened, for which dates, how often, and why."""
    often = f" ({count} times)" if count > max(len(dates), 1) else ""
    about = f" for {_span(dates)}" if dates else ""
    return f"ALERT {pipeline}: {task} {' and '.join(kinds)}{about}{often}\n{message}"


def _span(dates: Sequence[dt.date]) -> str:
    if len(dates) < 4:
        return ", ".join(map(str, dates)) or "it"
    return f"{len(dates)} dates from {dates[0]} to {dates[-1]}"


def tell() -> None:
    """Send what is due, or waits, to every configured channel, mirror the record to Redis, and deliver events.

    Fails for no reason of theirs.
    """
    from pipeline.feed import delivery, mirror

    try:
        with reading() as connection:
            found = due(connection)
        sent = [message for message in found if _send(message)]
        if sent:
            with writing() as connection:
                for message in sent:
                    _mark(connection, message)
        messages.send_unsent()
    except PipelineError as error:
        logger.warning("messages are sent by the next run: %s", error)
    mirror.mirror()
    delivery.deliver()


def _send(message: Message) -> bool:
    """True when at least one channel took the message, or when there is none."""
    reasons = notifications.send(message.text)
    for line in message.text.splitlines()[:1]:
        logger.info("%s", line)
    return not reasons or None in reasons.values()


def _mark(connection: DuckDBPyConnection, message: Message) -> None:
    connection.execute(
        f"UPDATE alerts SET {message.column} = ? WHERE id IN (SELECT unnest(?))", [calendar.now(), message.ids]
    )
