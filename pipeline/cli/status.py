"""How far each session is: its stages, what they took, how complete it is, and why one failed.

The tables say what is done and what failed; the journals of living runs say what is under way, also while a run goes
on; the central scheduler, when it answers, adds the progress of what it runs and the tasks that it has given up.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline import calendar
from pipeline.database.connection import database_path, reading, records
from pipeline.database.markers import MarkerTarget
from pipeline.database.schema import MARKERS
from pipeline.runs import central, durations, journal
from pipeline.tasks.stages import stage_names

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Ends of a run that are no failure of its own.
HARMLESS = ("done", "put back")


@dataclasses.dataclass
class StageState:
    """One stage of one session. `state`: done, running, pending, disabled, or how its last run ended (failed, ...).

    `seconds` is the duration of the last run, which served `combined` sessions at once, and `usual_seconds` the median
    of the last 20 for one session; `percent` how far a running one is.
    """

    state: str = "pending"
    started_at: dt.datetime | None = None
    seconds: float | None = None
    usual_seconds: float | None = None
    combined: int = 1
    tries: int = 0
    percent: int | None = None
    reason: str = ""


@dataclasses.dataclass
class SessionStatus:
    """One session.

    `coverage` is the share of the symbols known to the source that were delivered, `hits` the length of its watchlist.
    `audited` whole histories were compared by its run, of which `healed` differed; `provisional` of its bars may change
    still.
    """

    session: dt.date
    stages: dict[str, StageState]
    symbols: dict[str, int] = dataclasses.field(default_factory=dict)
    coverage: float | None = None
    hits: int | None = None
    is_stale: bool = False
    audited: int = 0
    healed: int = 0
    provisional: int = 0

    @property
    def is_done(self) -> bool:
        return all(stage.state == "done" for stage in self.stages.values())

    @property
    def seconds(self) -> float:
        """What the session took, with its share of combined runs."""
        return sum((stage.seconds or 0.0) / stage.combined for stage in self.stages.values())

    @property
    def reason(self) -> str:
        """Why the first stage that failed did so; empty when none did."""
        return next((f"{name}: {stage.reason}" for name, stage in self.stages.items() if stage.reason), "")


class Overview:
    """The state of the installation: what ran is read once; then ask for any sessions, at the cost of these alone.

    Raises DatabaseLockedError when a writer keeps the database for too long.
    """

    def __init__(self) -> None:
        self._journal = list(live_runs())
        self._tables: dict[str, list[dict[str, Any]]] = {}
        self._usual: dict[str, tuple[float, int]] = {}
        if database_path().exists():
            with reading() as connection:
                self._tables = _ask(connection, _QUERIES)
                self._usual = durations.usual(connection) if _has(connection, "task_runs") else {}
        self._markers = {row["update_id"] for row in self._rows(MARKERS)}
        self._runs = {(row["task"], row["date"]): row for row in self._rows("task_runs")}

    def _rows(self, table: str) -> list[dict[str, Any]]:
        return self._tables.get(table, [])

    def newest(self, count: int | None = None) -> list[dt.date]:
        """The sessions that were worked on, with the latest settled one, newest first; all, or so many of them."""
        known = {dt.date.fromisoformat(marker.split(":")[1]) for marker in self._markers}
        known |= {date for _, date in self._runs if date} | {date for run in self._journal for date in _dates(run)}
        known = {day for day in known if calendar.is_session(day)}  # Redis is fed on other days too
        return sorted(known | {calendar.latest_session()}, reverse=True)[:count]

    def sessions(self, days: Sequence[dt.date]) -> list[SessionStatus]:
        """The status of each of the days, in their order."""
        found = {day: SessionStatus(day, {name: self._stage(name, day) for name in stage_names()}) for day in days}
        if days and database_path().exists():
            with reading() as connection:
                self._tables |= _ask(connection, _OF_DAYS, {"first": min(days), "last": max(days)})
        self._add_journal(found)
        _add_scheduler(found)
        for row in self._rows("price_coverage"):
            if row["date"] in found:
                found[row["date"]].symbols[row["state"]] = row["symbols"]
        hits = {row["date"]: row["hits"] for row in self._rows("daily_watchlist")}
        audits = {row["session"]: row for row in self._rows("audits")}
        provisional = {row["date"]: row["bars"] for row in self._rows("bar_versions")}
        stale = {row["date"] for row in self._rows("stale_sessions")}
        for day, status in found.items():
            status.coverage = _coverage(status.symbols)
            status.hits = hits.get(day, 0) if status.stages["ScanWatchlist"].state == "done" else None
            status.is_stale = day in stale
            status.audited = audits.get(day, {}).get("audited", 0)
            status.healed = audits.get(day, {}).get("healed", 0)
            status.provisional = provisional.get(day, 0)
        return list(found.values())

    def _stage(self, name: str, day: dt.date) -> StageState:
        run = self._runs.get((name, day))
        state = StageState() if run is None else StageState(
            run["status"] if run["status"] not in HARMLESS else "pending", run["started_at"], run["duration_seconds"],
            combined=run["combined"], tries=run["tries"], reason=run["message"] or "",
        )  # fmt: skip
        state.usual_seconds = self._usual.get(name, (None, 0))[0]
        if f"{name}:{day}" in self._markers and MarkerTarget(name, day).exists():
            state.state, state.reason = "done", ""
        return state

    def _add_journal(self, found: dict[dt.date, SessionStatus]) -> None:
        for run in self._journal:
            for day in set(_dates(run)) & found.keys():
                stage = found[day].stages.get(run.task)
                if stage is not None and stage.state != "done":
                    _overlay(stage, run)


def _overlay(stage: StageState, run: journal.TaskRun) -> None:
    """What a living run's journal says of a stage, over what the tables say."""
    ended = run.duration is not None
    stage.state = run.status if ended and run.status not in HARMLESS else "pending" if ended else "running"
    stage.reason = run.error if ended else ""
    stage.started_at = dt.datetime.fromtimestamp(run.started_at, dt.UTC)
    stage.seconds = run.duration if ended else calendar.now().timestamp() - run.started_at
    stage.combined, stage.tries = len(run.dates), stage.tries + 1


def _add_scheduler(found: dict[dt.date, SessionStatus]) -> None:
    if not central.answers():
        return
    for task in [*central.known_tasks("RUNNING"), *central.known_tasks("DISABLED")]:
        for day in set(task.sessions) & found.keys():
            stage = found[day].stages.get(task.family)
            if stage is None or stage.state == "done":
                continue
            if task.status == "RUNNING" and stage.state == "running":
                stage.percent = task.percent
            elif task.status == "DISABLED":
                stage.state = "disabled"


def live_runs() -> Iterable[journal.TaskRun]:
    """The task runs that are not in the database yet: those of processes that go on; of a dead one as killed."""
    for by, path in journal.journals():
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:  # moved into the database a moment ago
            continue
        for run in journal.fold(text):
            if run.duration is None and (by is None or by.is_gone):
                run.duration, run.error = 0.0, "the process was killed"
            yield run


def _dates(run: journal.TaskRun) -> list[dt.date]:
    return [dt.date.fromisoformat(date) for date in run.dates]


def _coverage(symbols: dict[str, int]) -> float | None:
    known = sum(symbols.values()) - symbols.get("unknown", 0)
    return (symbols.get("stored", 0) + symbols.get("not_traded", 0)) / known if known else None


def _has(connection: DuckDBPyConnection, table: str) -> bool:
    return connection.execute("FROM duckdb_tables() SELECT 1 WHERE table_name = ?", [table]).fetchone() is not None


def _ask(
    connection: DuckDBPyConnection, queries: dict[str, str], values: dict[str, dt.date] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each query whose table is there."""
    return {
        name: records(connection, query, **(values or {})) for name, query in queries.items() if _has(connection, name)
    }


_QUERIES = {
    MARKERS: f"SELECT update_id FROM {MARKERS} WHERE update_id LIKE '%:____-__-__'",
    "task_runs": """
        SELECT r.task, r.date, r.status, r.started_at, r.duration_seconds, r.combined, r.try_number AS tries, a.message
        FROM (SELECT DISTINCT ON (task, date) * FROM task_runs ORDER BY task, date, started_at DESC) r
        LEFT JOIN (SELECT run_id, any_value(message) AS message FROM alerts GROUP BY run_id) a USING (run_id)
    """,
}

#: Of the sessions from `first` to `last`: what is stored of all others costs nothing.
_OF_DAYS = {
    "price_coverage": """
        SELECT date, state, count(*) AS symbols FROM price_coverage WHERE date BETWEEN $first AND $last
        GROUP BY date, state ORDER BY date, state
    """,
    "daily_watchlist": """
        SELECT scan_date AS date, count(*) AS hits FROM daily_watchlist WHERE scan_date BETWEEN $first AND $last
        GROUP BY scan_date
    """,
    "audits": """
        SELECT session, count(*) AS audited, count(*) FILTER (differed > 0) AS healed FROM audits
        WHERE session BETWEEN $first AND $last GROUP BY session
    """,
    # the table came with the column `is_final`, which a database of before lacks
    "bar_versions": """
        SELECT date, count(*) AS bars FROM stock_data WHERE date BETWEEN $first AND $last AND NOT is_final GROUP BY date
    """,
    "stale_sessions": "SELECT DISTINCT date FROM stale_sessions WHERE date BETWEEN $first AND $last",
}
