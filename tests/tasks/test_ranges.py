"""Back-fills: what a range holds, how many runs it takes, and what becomes of a bad session."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from pathlib import Path

import exchange_calendars
import luigi
import pytest

from pipeline.database.connection import reading
from pipeline.database.replica import manifest_path, publish, replica_path
from pipeline.errors import EmptyRangeError, SessionNotSettledError, SessionOutOfRangeError
from pipeline.indicators.spark import submit as spark
from pipeline.report.places import report_path
from pipeline.tasks import replica as replica_stage
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.ranges import RangeTradingDays, sessions_of_range
from tests.conftest import forget
from tests.support.frozen import assert_frozen_tables
from tests.support.runs import mark_done, results, run_here
from tests.support.small_market import FROZEN_WEEK, LAST, SESSIONS, SmallMarket

WEEK = SESSIONS[-8:]
BAD = WEEK[3]


def back_fill(first: dt.date, last: dt.date) -> RangeTradingDays:
    return RangeTradingDays(of=DailyPipeline, start=first, stop=last + dt.timedelta(days=1))


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, here: SmallMarket) -> Counter[str]:
    """Counts Spark jobs and replicas."""
    counts: Counter[str] = Counter()
    submit = spark.SparkJob.submit

    def counting_submit(job: spark.SparkJob, arguments: list[str]) -> None:
        counts["spark"] += 1
        submit(job, arguments)

    def counting_publish(session: dt.date) -> dict[str, object]:
        counts["replica"] += 1
        return publish(session)

    monkeypatch.setattr(spark.SparkJob, "submit", counting_submit)
    monkeypatch.setattr(replica_stage, "publish", counting_publish)
    return counts


def test_a_back_fill_is_one_collection_one_spark_job_and_one_replica(here: SmallMarket, work: Counter[str]) -> None:
    assert run_here(back_fill(WEEK[0], LAST))
    assert work == {"spark": 1, "replica": 1}
    assert set(here.requests.values()) == {1}, "one request a symbol, however many sessions"
    assert here.listings == 1
    assert DailyPipeline.bulk_complete(WEEK) == WEEK


def test_a_back_fill_gives_the_tables_of_single_runs(here: SmallMarket, data_dir: Path) -> None:
    assert run_here(back_fill(FROZEN_WEEK[0], LAST))
    assert_frozen_tables("week.json", results(data_dir))


def test_a_bad_session_fails_alone(here: SmallMarket, work: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    days = SmallMarket.days
    monkeypatch.setattr(SmallMarket, "days", lambda market, symbol: [day for day in days(market, symbol) if day != BAD])
    assert not run_here(back_fill(WEEK[0], LAST))
    good = [day for day in WEEK if day != BAD]
    assert DailyPipeline.bulk_complete(WEEK) == good
    assert work == {"spark": 1, "replica": 1}
    monkeypatch.undo()
    with reading() as connection:
        assert connection.execute("SELECT DISTINCT date FROM recollections").fetchall() == [(BAD,)]


def test_finished_sessions_are_not_run_again(here: SmallMarket, work: Counter[str]) -> None:
    assert run_here(back_fill(WEEK[0], WEEK[4]))
    asked = here.total
    assert run_here(back_fill(WEEK[0], WEEK[4]))
    assert here.total == asked and work["spark"] == 1


def test_five_years_are_looked_through_in_under_a_second(data_dir: Path) -> None:
    years = sessions_of_range(dt.date(2019, 1, 2), dt.date(2023, 12, 29))
    mark_done(*years[:-1])
    for path in (replica_path(), manifest_path(), *map(report_path, years[:-1])):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    manifest_path().write_text("{}")
    forget()
    began = time.process_time()
    required = back_fill(years[0], years[-1]).requires()
    assert time.process_time() - began < 1.0
    assert [task.date for task in required] == years[-1:]


def test_nothing_of_a_long_range_is_dropped(data_dir: Path) -> None:
    wanted = [
        stamp.date() for stamp in exchange_calendars.get_calendar("XNAS").sessions_in_range("2014-01-01", "2023-12-31")
    ]
    assert len(wanted) > 2500
    tasks = RangeTradingDays(of=DailyPipeline, start=dt.date(2014, 1, 1), stop=dt.date(2024, 1, 1)).requires()
    assert [task.date for task in tasks] == wanted


def test_the_stop_is_the_first_day_after_the_range(data_dir: Path) -> None:
    tasks = RangeTradingDays(of=DailyPipeline, start=dt.date(2024, 2, 16), stop=dt.date(2024, 2, 21)).requires()
    assert [task.date for task in tasks] == [dt.date(2024, 2, 16), dt.date(2024, 2, 20)]


@pytest.mark.parametrize(
    ("first", "last", "error", "words"),
    [
        (dt.date(2024, 2, 17), dt.date(2024, 2, 19), EmptyRangeError, "2024-02-16 and 2024-02-20"),
        (dt.date(2024, 2, 16), dt.date(2024, 2, 15), EmptyRangeError, "pipeline backfill 2024-02-16 2024-02-16"),
        (dt.date(2024, 2, 16), dt.date(2024, 2, 21), SessionNotSettledError, "pipeline backfill 2024-02-16 2024-02-20"),
        (dt.date(2024, 2, 16), dt.date(2031, 2, 21), SessionNotSettledError, "pipeline backfill 2024-02-16 2024-02-20"),
        (dt.date(2031, 2, 16), dt.date(2031, 2, 21), SessionNotSettledError, "2024-02-20"),
        (dt.date(1980, 2, 16), dt.date(2024, 2, 16), SessionOutOfRangeError, "1990-01-02"),
    ],
)
def test_a_range_that_cannot_be_served_is_an_error(clock, first, last, error, words) -> None:
    clock(2024, 2, 21, 10)
    with pytest.raises(error, match=words):
        sessions_of_range(first, last)


def test_a_range_may_end_on_a_weekend_that_follows_the_latest_session(clock) -> None:
    clock(2024, 2, 18, 12)
    assert sessions_of_range(dt.date(2024, 2, 15), dt.date(2024, 2, 18)) == [dt.date(2024, 2, 15), dt.date(2024, 2, 16)]


class Undated(luigi.Task):
    """A task of other people's, whose date has another name."""

    day = luigi.DateParameter()
    flavour = luigi.Parameter(default="")

    @classmethod
    def bulk_complete(cls, days: list[dt.date]) -> list[dt.date]:
        return list(days)[:1]


def test_any_task_with_a_date_and_a_bulk_query_can_be_back_filled() -> None:
    tasks = RangeTradingDays(of=Undated, of_params={"flavour": "x"}, start=WEEK[0], stop=WEEK[3]).requires()
    assert [(task.day, task.flavour) for task in tasks] == [(day, "x") for day in WEEK[1:3]]
