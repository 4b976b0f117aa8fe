"""Figures for Prometheus: what the database says of the installation, as a text file that others read.

A run writes `metrics/pipeline.prom` at its end, `pipeline doctor --alert` some hours later. node_exporter's textfile
collector takes it from there, and luigid serves it at `/metrics` beside Luigi's own figures: neither of them opens the
database, which a run may be writing.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import redis, storage
from pipeline.database.connection import database_path, reading
from pipeline.host.files import write_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclasses.dataclass(frozen=True)
class Metric:
    """One figure, or one for each value of a label. Its name begins with `nasdaq_pipeline_`."""

    name: str
    help: str
    values: dict[str, float]
    label: str = ""
    kind: str = "gauge"

    def lines(self) -> Iterator[str]:
        name = f"nasdaq_pipeline_{self.name}"
        yield f"# HELP {name} {self.help}"
        yield f"# TYPE {name} {self.kind}"
        for key, value in sorted(self.values.items()):
            escaped = key.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
            labels = f'{{{self.label}="{escaped}"}}' if self.label else ""
            yield f"{name}{labels} {value:.10g}"


def path() -> pathlib.Path:
    return storage().root / "metrics" / "pipeline.prom"


def write() -> None:
    """Write the figures anew. Raises what opening the database does."""
    if not database_path().exists():
        return
    with reading() as connection:
        found = [*of_sessions(connection), *of_runs(connection), *of_changes(connection)]
    text = "\n".join(line for metric in [*found, *of_events(), *of_feed()] for line in metric.lines())
    write_text(path(), text + "\n")
    path().chmod(0o644)  # for the user of node_exporter


def of_sessions(connection: DuckDBPyConnection) -> Iterator[Metric]:
    (last,) = connection.execute(
        "SELECT max(session) FROM finished_stages WHERE stage = 'CloseSession'"
    ).fetchone() or (None,)
    if last is None:
        return
    latest = calendar.latest_session()
    close = dt.datetime.combine(last, dt.time(16), calendar.NEW_YORK).timestamp()
    yield Metric("last_session_timestamp_seconds", "16:00 in New York of the last session that is done.", {"": close})
    behind = len(calendar.sessions_between(last, latest)) - 1 if last < latest else 0
    yield Metric("sessions_behind", "Settled sessions after the last one that is done.", {"": behind})
    yield Metric("written_timestamp_seconds", "When these figures were written.", {"": calendar.now().timestamp()})
    rows = connection.execute(
        "SELECT state, count(*) FROM price_coverage WHERE date = ? GROUP BY state", [last]
    ).fetchall()
    states = dict(rows)
    known = sum(states.values()) - states.get("unknown", 0)
    if known:
        share = (states.get("stored", 0) + states.get("not_traded", 0)) / known
        yield Metric(
            "coverage_ratio", "Share of the known symbols that the last session was delivered for.", {"": share}
        )
    yield Metric("symbols", "Symbols of the last session by their state.", states, "state")
    (hits,) = connection.execute("SELECT count(*) FROM daily_watchlist WHERE scan_date = ?", [last]).fetchone() or (0,)
    yield Metric("watchlist_symbols", "Symbols on the last session's watchlist.", {"": hits})


def of_runs(connection: DuckDBPyConnection) -> Iterator[Metric]:
    from pipeline.runs.durations import usual

    rows = connection.execute(
        """
        SELECT task, arg_max(duration_seconds / combined, started_at) FROM task_runs
        WHERE status = 'done' AND duration_seconds IS NOT NULL GROUP BY task
        """
    ).fetchall()
    yield Metric("stage_duration_seconds", "Seconds a session of each stage's last run.", dict(rows), "stage")
    medians = {task: seconds for task, (seconds, _) in usual(connection).items()}
    yield Metric(
        "stage_usual_duration_seconds", "Median of each stage's last 20 runs of one session.", medians, "stage"
    )
    (alerts,) = connection.execute("SELECT count(*) FROM alerts WHERE resolved_at IS NULL").fetchone() or (0,)
    yield Metric("open_alerts", "Alerts that are not resolved.", {"": alerts})


def of_changes(connection: DuckDBPyConnection) -> Iterator[Metric]:
    for name, table, text in (
        ("revised_bars_total", "bar_versions", "Bars that were replaced since the database was made."),
        ("amended_hits_total", "watchlist_amendments", "Hits that came or went on lists that were made before."),
    ):
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        yield Metric(name, text, {"": count}, kind="counter")


def of_events() -> Iterator[Metric]:
    from pipeline.feed.delivery import standing

    waiting = {line["transport"].partition(" ")[0]: line["waiting"] for line in standing()}
    if waiting:
        yield Metric("events_waiting", "Events that a transport has not taken yet.", waiting, "transport")


def of_feed() -> Iterator[Metric]:
    if not redis().url:
        return
    from pipeline.feed.state import look

    state, _ = look("SyncRedis")
    if state is not None:
        age = (calendar.now() - state.at).total_seconds()
        yield Metric("feed_age_seconds", "Age of the feed in Redis when these figures were written.", {"": age})
