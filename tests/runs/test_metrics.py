"""The figures for Prometheus, read by its own parser."""

from __future__ import annotations

import datetime as dt
import stat
from collections.abc import Callable

import pytest

from pipeline.database.connection import database_path, writing
from pipeline.runs import alerts, journal, metrics
from tests.support.runs import mark_done

parser = pytest.importorskip("prometheus_client.parser")

DAY = dt.date(2024, 2, 16)


def figures() -> dict[str, dict[str, float]]:
    """Every figure by its name, and by the value of its label."""
    families = parser.text_string_to_metric_families(metrics.path().read_text(encoding="utf-8"))
    return {
        sample.name: {next(iter(one.labels.values()), ""): one.value for one in family.samples}
        for family in families
        for sample in family.samples
    }


def run(task: str, day: dt.date, seconds: float, dates: list[str] | None = None, status: str = "done") -> None:
    at = dt.datetime(day.year, day.month, day.day, 22, tzinfo=dt.UTC).timestamp()
    with writing() as connection:
        one = journal.TaskRun(f"{task}{day}", task, dates or [str(day)], at, status, seconds, "it broke")
        journal.store(connection, one)


@pytest.fixture
def finished(data_dir: object, clock: Callable[..., None], settings: Callable[..., None]) -> None:
    settings("redis", url="")
    clock(2024, 2, 21, 12)  # the 20th has settled; the 19th was a holiday
    mark_done(DAY)
    with writing() as connection:
        for symbol, state in (("A", "stored"), ("B", "stored"), ("C", "not_traded"), ("D", "failed"), ("E", "unknown")):
            connection.execute(
                "INSERT INTO price_coverage (date, symbol, state) VALUES (?, ?, ?)", [DAY, symbol, state]
            )


def test_what_is_known_of_the_last_session(finished: None) -> None:
    metrics.write()
    found = figures()
    moment = dt.datetime.fromtimestamp(found["nasdaq_pipeline_last_session_timestamp_seconds"][""], dt.UTC)
    assert f"{moment:%Y-%m-%d %H:%M}" == "2024-02-16 21:00"
    assert found["nasdaq_pipeline_sessions_behind"] == {"": 1}
    assert found["nasdaq_pipeline_coverage_ratio"] == {"": 0.75}
    assert found["nasdaq_pipeline_symbols"] == {"stored": 2, "not_traded": 1, "failed": 1, "unknown": 1}
    assert found["nasdaq_pipeline_open_alerts"] == {"": 0}
    assert found["nasdaq_pipeline_revised_bars_total"] == {"": 0}
    assert "nasdaq_pipeline_feed_age_seconds" not in found


def test_durations_are_those_of_a_session(finished: None) -> None:
    run("CollectPrices", dt.date(2024, 2, 14), 40.0)
    run("CollectPrices", dt.date(2024, 2, 15), 60.0)
    run("CollectPrices", DAY, 30.0, dates=["2024-02-14", "2024-02-15", "2024-02-16"])
    metrics.write()
    found = figures()
    assert found["nasdaq_pipeline_stage_duration_seconds"] == {"CollectPrices": 10.0}
    assert found["nasdaq_pipeline_stage_usual_duration_seconds"] == {"CollectPrices": 50.0}


def test_an_alert_counts_until_it_is_resolved(finished: None, clock: Callable[..., None]) -> None:
    run("CollectPrices", dt.date(2024, 2, 20), 5.0, status="failed")
    metrics.write()
    assert figures()["nasdaq_pipeline_open_alerts"] == {"": 1}
    mark_done(dt.date(2024, 2, 20))
    with writing() as connection:
        alerts.update(connection)
    metrics.write()
    assert figures()["nasdaq_pipeline_open_alerts"] == {"": 0}
    assert figures()["nasdaq_pipeline_sessions_behind"] == {"": 0}


def test_everybody_may_read_the_file_and_nothing_is_made_without_a_database(finished: None) -> None:
    metrics.write()
    assert stat.S_IMODE(metrics.path().stat().st_mode) == 0o644
    metrics.path().unlink()
    database_path().unlink()
    metrics.write()
    assert not metrics.path().exists()


def test_luigid_serves_them_beside_luigis_own(finished: None) -> None:
    from pipeline.runs.collector import Collector

    assert b"nasdaq_pipeline" not in Collector().generate_latest()
    metrics.write()
    text = Collector().generate_latest().decode()
    names = {family.name for family in parser.text_string_to_metric_families(text)}
    assert {"luigi_task_started", "nasdaq_pipeline_open_alerts"} <= names


def test_a_label_is_escaped() -> None:
    lines = list(metrics.Metric("x", "A figure.", {'a"b\\c\n': 1.0}, "stage").lines())
    (family,) = parser.text_string_to_metric_families("\n".join(lines) + "\n")
    assert family.samples[0].labels == {"stage": 'a"b\\c\n'}
