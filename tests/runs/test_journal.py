"""The record of task runs: written line by line, moved into the database once, and complete after a kill."""

import dataclasses
import datetime as dt
import json
import signal
import subprocess
import sys

import luigi
import pytest

from pipeline.database.connection import reading, writing
from pipeline.errors import CoverageError, ScanError
from pipeline.host.owner import Owner, this_process
from pipeline.parameters import SessionParameter
from pipeline.runs import journal
from pipeline.tasks.confirm import ConfirmSession
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.ranges import RangeTradingDays
from tests.support.runs import run_here

DAY = "2024-02-16"


def line(task_id, status, at, error="", dates=(DAY,), task="CollectPrices"):
    return json.dumps({
        "id": f"{task_id}-{at}", "task_id": task_id, "task": task, "dates": list(dates), "at": at, "status": status,
        "error": error,
    }) + "\n"  # fmt: skip


def stored(columns, table="task_runs"):
    with reading() as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()


@pytest.fixture
def listening(data_dir, monkeypatch):
    """The journal of this process, which is attached to Luigi's events until the test ends."""
    before = {
        cls: {event: set(calls) for event, calls in events.items()}
        for cls, events in luigi.Task._event_callbacks.items()
    }
    journal.listen()
    yield journal.journal_path(this_process())
    luigi.Task._event_callbacks.clear()
    luigi.Task._event_callbacks.update(before)


def test_a_start_and_its_end_are_one_run():
    (run,) = journal.fold(line("a", None, 10.0) + line("a", "done", 12.5))
    assert (run.task, run.dates, run.status, run.started_at, run.duration) == (
        "CollectPrices",
        [DAY],
        "done",
        10.0,
        2.5,
    )


def test_a_start_without_an_end_was_killed():
    (run,) = journal.fold(line("a", None, 10.0))
    assert (run.status, run.duration) == ("killed", None)


def test_two_tries_are_two_runs_in_their_order():
    text = (
        line("a", None, 1.0)
        + line("b", None, 2.0)
        + line("a", "failed", 3.0, "why")
        + line("a", None, 4.0)
        + line("b", "done", 5.0)
        + line("a", "done", 6.0)
    )
    assert [(run.status, run.duration) for run in journal.fold(text)] == [("failed", 2.0), ("done", 3.0), ("done", 2.0)]


def test_an_end_without_a_start_is_a_run_that_never_began():
    (run,) = journal.fold(line("a", "not started", 1.0, "no calendar"))
    assert (run.status, run.error) == ("not started", "no calendar")


def test_a_line_that_a_kill_cut_off_is_left_out():
    text = line("a", None, 1.0) + line("a", "done", 2.0)
    (run,) = journal.fold(text[:-5])
    assert run.status == "killed"


def test_runs_move_into_the_database_once(data_dir, monkeypatch):
    path = journal.journal_path(this_process())
    path.parent.mkdir(parents=True)
    text = (
        line("a", None, 10.0)
        + line("a", "failed", 12.0, "no coverage")
        + line("a", None, 13.0)
        + line("a", "done", 14.0)
    )
    for _ in range(2):  # the second time as if the process had been killed before it deleted the journal
        path.write_text(text)
        journal.settle()
        assert not path.exists()
    assert stored("task, date, status, try_number, duration_seconds, pipeline") == [
        ("CollectPrices", dt.date(2024, 2, 16), "done", 2, 1.0, "DailyPipeline"),
        ("CollectPrices", dt.date(2024, 2, 16), "failed", 1, 2.0, "DailyPipeline"),
    ]
    assert stored("type, task, date, message", "alerts") == [
        ("failed", "CollectPrices", dt.date(2024, 2, 16), "no coverage")
    ]


def test_a_run_without_a_date_is_stored_once_too(data_dir):
    path = journal.journal_path(this_process())
    path.parent.mkdir(parents=True)
    for _ in range(2):
        path.write_text(line("r", "not started", 1.0, "an empty range", dates=(), task="RangeTradingDays"))
        journal.settle()
    assert stored("task, date, status") == [("RangeTradingDays", None, "not started")]
    assert stored("task, message", "alerts") == [("RangeTradingDays", "an empty range")]


def test_a_combined_run_is_a_row_and_an_alert_for_each_date(data_dir):
    path = journal.journal_path(this_process())
    path.parent.mkdir(parents=True)
    path.write_text(
        line("a", None, 1.0, dates=(DAY, "2024-02-20")) + line("a", "failed", 2.0, "why", dates=(DAY, "2024-02-20"))
    )
    journal.settle()
    assert stored("date, combined, try_number") == [(dt.date(2024, 2, 16), 2, 1), (dt.date(2024, 2, 20), 2, 1)]
    assert stored("date, message, run_id", "alerts") == [
        (dt.date(2024, 2, 16), "why", "a-1.0"), (dt.date(2024, 2, 20), "why", "a-1.0"),
    ]  # fmt: skip


STARTED = """
import sys
import pipeline  # first: it reads config/luigi.cfg
from luigi.configuration import get_config
from pipeline.runs import journal
get_config().set("storage", "data_dir", sys.argv[1])  # what is set before the import, config/luigi.cfg sets again
from pipeline.tasks.daily import DailyPipeline
import datetime as dt
journal.listen()
DailyPipeline(date=dt.date(2024, 2, 16)).trigger_event("event.core.start", DailyPipeline(date=dt.date(2024, 2, 16)))
print("started", flush=True)
sys.stdin.read()
"""


def test_the_next_run_records_what_a_killed_one_had_begun(data_dir):
    killed = subprocess.Popen(
        [sys.executable, "-c", STARTED, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert killed.stdout is not None
    killed.stdout.readline()
    assert journal.settle() == {}  # it lives: its journal is its own
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert [by.pid for by in journal.settle()] == [killed.pid]
    assert stored("task, status") == [("DailyPipeline", "killed")]
    assert stored("type, task, date", "alerts") == [("killed", "DailyPipeline", dt.date(2024, 2, 16))]


def test_a_locked_database_keeps_the_journal_for_the_next_run(data_dir, settings, caplog):
    path = journal.journal_path(this_process())
    path.parent.mkdir(parents=True)
    path.write_text(line("a", None, 1.0) + line("a", "done", 2.0))
    with writing():
        pass
    settings("storage", lock_timeout=0.1)
    database = str(data_dir / "stock_data.duckdb")
    hold = f"import duckdb, sys; c = duckdb.connect({database!r}); print(1, flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    journal.settle()
    assert path.exists()
    assert f"PID {holder.pid}" in caplog.text
    holder.communicate(b"")
    journal.settle()
    assert stored("task, status") == [("CollectPrices", "done")]


class Refuses(luigi.Task):
    date = SessionParameter()

    def run(self):
        raise CoverageError("too few")


class Breaks(luigi.Task):
    date = SessionParameter()

    def run(self):
        raise ZeroDivisionError("by <nothing>")


class Asks(luigi.Task):
    def requires(self):
        raise CoverageError("asked too early")


def test_luigis_events_are_recorded(listening):
    day = dt.date(2024, 2, 16)
    assert not run_here(Refuses(date=day), Breaks(date=day), Asks())
    runs = {run.task: run for run in journal.fold(listening.read_text())}
    assert runs["Refuses"].error == "too few"  # an error of ours says all by itself
    assert runs["Breaks"].error == "ZeroDivisionError: by <nothing>"
    assert runs["Asks"].status == "not started"
    assert "asked too early" in runs["Asks"].error


def test_a_task_that_luigi_calls_broken_twice_for_one_reason_is_recorded_once(listening):
    for reason in ("luigid is away", "luigid is away", "another"):
        task = Refuses(date=dt.date(2024, 2, 16))
        task.trigger_event(luigi.Event.BROKEN_TASK, task, CoverageError(reason))
    assert [run.error for run in journal.fold(listening.read_text())] == ["luigid is away", "another"]


class Unreadable(luigi.Task):
    date = SessionParameter()

    def complete(self):
        raise CoverageError("redis://someone:hunter2@host/0 says no")


def test_a_task_that_cannot_be_asked_is_recorded_without_its_secrets(listening):
    assert not run_here(Unreadable(date=dt.date(2024, 2, 16)))
    journal.settle()
    assert stored("task, date, type, message", "alerts") == [
        ("Unreadable", dt.date(2024, 2, 16), "not started", "redis://********@host/0 says no")
    ]


def test_a_date_that_no_run_can_serve_is_a_mistake_and_no_failure(listening, clock):
    clock(2024, 2, 20, 12, 0)
    assert not run_here(DailyPipeline(date=dt.date(2024, 2, 20)))
    assert not listening.exists()


class Crashes(luigi.Task):
    """Its state cannot be looked at, for a reason that nobody foresaw."""

    date = SessionParameter()

    def complete(self):
        raise TypeError("AbstractConnection.__init__() got an unexpected keyword argument 'ssl_ca_cert'")


def test_any_exception_of_complete_is_recorded(listening):
    assert not run_here(Crashes(date=dt.date(2024, 2, 16)))
    journal.settle()
    ((task, kind, message),) = stored("task, type, message", "alerts")
    assert (task, kind) == ("Crashes", "not started")
    assert message.startswith("TypeError: AbstractConnection.__init__()")


def test_a_handler_that_fails_is_remembered(listening, monkeypatch, caplog):
    def full(line: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "append", full)
    monkeypatch.setattr(journal, "unwritten", [])
    assert not run_here(Breaks(date=dt.date(2024, 2, 16)))
    assert [text.split(":")[0].split(" ")[1] for text in journal.unwritten] == ["started", "failed"]
    assert "by <nothing>: not recorded (OSError: [Errno 28] No space left on device)" in journal.unwritten[1]


def test_each_session_of_a_combined_run_has_its_own_reason(data_dir):
    path = journal.journal_path(this_process())
    path.parent.mkdir(parents=True)
    entry = json.loads(line("a", "failed", 2.0, "the first", dates=(DAY, "2024-02-20")))
    entry["errors"] = {DAY: "the first", "2024-02-20": "the second"}
    path.write_text(json.dumps(entry) + "\n")
    journal.settle()
    assert stored("date, message", "alerts") == [
        (dt.date(2024, 2, 16), "the first"), (dt.date(2024, 2, 20), "the second"),
    ]  # fmt: skip


def test_a_clock_that_is_set_back_makes_no_negative_duration():
    (run,) = journal.fold(line("a", None, 100.0) + line("a", "done", 40.0))
    assert (run.status, run.duration) == ("done", 0.0)


def test_a_line_that_a_power_cut_damaged_is_left_out():
    text = line("a", None, 1.0) + "\x00\x00\x00\n" + line("a", "done", 2.0)
    (run,) = journal.fold(text)
    assert run.status == "done"


@pytest.mark.parametrize(("alone", "count"), [(False, 0), (True, 1)])
def test_a_journal_of_another_host_is_taken_by_a_run_that_is_alone(data_dir, alone, count):
    path = journal.journal_path(Owner("elsewhere", 1, 10.0))
    path.parent.mkdir(parents=True)
    path.write_text(line("a", None, 1.0))
    assert len(journal.settle(alone=alone)) == count
    assert path.exists() is not alone


def test_a_pid_that_is_used_again_does_not_keep_a_journal(data_dir):
    before = dataclasses.replace(this_process(), started=round(this_process().started - 100, 2))  # as a name holds it
    path = journal.journal_path(before)
    path.parent.mkdir(parents=True)
    path.write_text(line("a", None, 1.0))
    assert list(journal.settle()) == [before]
    assert stored("task, status") == [("CollectPrices", "killed")]


class Mistaken(luigi.Task):
    date = SessionParameter()

    def run(self):
        raise ScanError("a column that does not exist")


def test_what_cannot_pass_is_known_by_the_journal(listening):
    assert not run_here(Mistaken(date=dt.date(2024, 2, 16)), Refuses(date=dt.date(2024, 2, 16)))
    assert journal.has_failed_for_good(Mistaken(date=dt.date(2024, 2, 16)).task_id)
    assert not journal.has_failed_for_good(Refuses(date=dt.date(2024, 2, 16)).task_id)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (lambda: DailyPipeline(date=dt.date(2024, 2, 20)), "session 2024-02-20 settles on"),
        (lambda: DailyPipeline(date=dt.date(1980, 2, 20)), "1980-02-20 lies before 1990-01-02"),
        (lambda: ConfirmSession(date=dt.date(2024, 2, 16)), "session 2024-02-16 is final from 2024-02-17 00:00 EST on"),
        (lambda: days_of(dt.date(2024, 2, 10), dt.date(2024, 2, 12)), "no session lies between 2024-02-10 and 2024-"),
        (lambda: days_of(dt.date(2024, 2, 16), dt.date(2024, 2, 16)), "the range from 2024-02-16 to 2024-02-15 ends"),
        (
            lambda: days_of(dt.date(2024, 2, 16), dt.date(2024, 2, 21)),
            "the range from 2024-02-16 to 2024-02-20 reaches",
        ),
    ],
)
def test_a_date_that_no_run_can_serve_is_refused_and_nothing_has_failed(listening, clock, monkeypatch, task, says):
    monkeypatch.setattr(journal, "refused", [])
    clock(2024, 2, 16, 18, 0)
    assert not run_here(task())
    (reason,) = journal.refused
    assert reason.startswith(says)
    assert not listening.exists()


def days_of(start: dt.date, stop: dt.date) -> RangeTradingDays:
    return RangeTradingDays(of=DailyPipeline, start=start, stop=stop)
