"""Undoing stages of a session, so that the next run does them again.

Bars and listings stay: a hole in the bars would spoil every later session's look-back, and a past listing cannot be
asked for again. Instead the session is noted as one to ask the source for anew, and what it then answers replaces what
is stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import market, storage
from pipeline.database.connection import reading, writing
from pipeline.database.schema import MARKERS
from pipeline.errors import EmptyRangeError
from pipeline.runs import lock as runlock
from pipeline.tasks.followers import resting_on
from pipeline.tasks.prices import CollectPrices, ask_again, supersede
from pipeline.tasks.stages import Stage
from pipeline.tasks.symbols import CollectSymbols

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a reset will undo: stages in their order, and how many rows of which tables."""

    sessions: tuple[dt.date, ...]
    stages: tuple[Stage, ...]
    rows: dict[str, int]
    markers: int


def plan(sessions: Sequence[dt.date], first_stage: str) -> Plan:
    """See what a reset would undo. Raises EmptyRangeError for a day without a session, and DatabaseLockedError."""
    for session in sessions:
        if not calendar.check_session(session):
            raise EmptyRangeError(
                f"{session} is no session, so that there is nothing to reset; the nearest ones are "
                f"{calendar.around(session)}"
            )
    stages = resting_on(first_stage)
    with reading() as connection:
        rows = {table: _count(connection, table, column, sessions) for table, column in _tables(stages)}
        markers = _count_markers(connection, stages, sessions)
    return Plan(tuple(sessions), stages, rows, markers)


def carry_out(plan: Plan) -> None:
    """Undo what the plan says: rows and marker rows in one transaction, the marker files after it.

    Raises RunInProgressError while a run goes on, DatabaseLockedError, and MixedSourcesError.
    """
    with contextlib.closing(runlock.acquire(shared=False)):
        with writing():
            pass  # what it raises, it raises before any answer is set aside
        asks_prices = CollectPrices in plan.stages
        if asks_prices and not market().offline:  # first: answers set aside for nothing only cost a request
            for session in plan.sessions:
                supersede(storage().root / "raw" / "prices" / str(session))
        with writing() as connection:
            _forget(connection, plan)
            if asks_prices:
                for session in plan.sessions:
                    ask_again(connection, session, "reset by an operator", CollectSymbols in plan.stages)
        for marker in _markers(plan.stages, plan.sessions):
            marker.unlink(missing_ok=True)


def _forget(connection: DuckDBPyConnection, plan: Plan) -> None:
    days = list(plan.sessions)
    for stage in plan.stages:
        stage.forget(connection, days)
    connection.execute(f"DELETE FROM {MARKERS} WHERE update_id IN (SELECT unnest(?))", [_update_ids(plan.stages, days)])


def _tables(stages: Sequence[Stage]) -> list[tuple[str, str]]:
    return [table for stage in stages for table in stage.rows]


def _update_ids(stages: Sequence[Stage], sessions: Sequence[dt.date]) -> list[str]:
    return [stage.row(session).update_id for stage in stages for session in sessions]


def _markers(stages: Sequence[Stage], sessions: Sequence[dt.date]) -> list[pathlib.Path]:
    return [pathlib.Path(stage.marker(session).path) for stage in stages for session in sessions]


def _count(connection: DuckDBPyConnection, table: str, column: str, sessions: Sequence[dt.date]) -> int:
    query = f"SELECT count(*) FROM {table} WHERE {column} IN (SELECT unnest(?::DATE[]))"
    return (connection.execute(query, [list(sessions)]).fetchone() or (0,))[0]


def _count_markers(connection: DuckDBPyConnection, stages: Sequence[Stage], sessions: Sequence[dt.date]) -> int:
    query = f"SELECT count(*) FROM {MARKERS} WHERE update_id IN (SELECT unnest(?))"
    return (connection.execute(query, [_update_ids(stages, sessions)]).fetchone() or (0,))[0]
