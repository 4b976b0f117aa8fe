"""The last lines of a run, what is recorded and told of it, and its exit code when its own record fails."""

import datetime as dt
import logging
import os
import sys

import luigi
import pytest
from luigi.task_register import Register, TaskClassException

from pipeline import given
from pipeline.database.connection import database_path, writing
from pipeline.errors import ClockError, SchedulerUnreachableError
from pipeline.host.owner import this_process
from pipeline.luigi_private import UNCAUGHT
from pipeline.parameters import SessionParameter
from pipeline.runs import ending, journal, notifications
from tests.runs.test_journal import DAY, line, stored


@pytest.fixture
def called_with(monkeypatch):
    """`called_with("DailyPipeline", ...)`: the words after `luigi` on the command line of this process."""
    monkeypatch.setattr(given, "_values", {})

    def call(*words: str, local: bool = True) -> None:
        monkeypatch.setattr(sys, "argv", ["luigi", *words, *(["--local-scheduler"] if local else [])])
        for name, setting in given.options().items():
            if name in words:
                monkeypatch.setitem(given._values, setting, words[words.index(name) + 1])

    call("--module", "pipeline", "DailyPipeline", "--date", DAY)
    return call


def closing(text: str) -> list[str]:
    return ending.closing_lines(journal.fold(text))


def test_the_closing_line_says_date_stage_reason_and_command(called_with):
    text = (
        line("a", None, 1.0)
        + line("a", "failed", 2.0, "first")
        + line("a", None, 3.0)
        + line("a", "failed", 4.0, "too few")
    )
    assert closing(text) == [
        "2024-02-16: CollectPrices failed: too few\n"
        "    run again: luigi --module pipeline DailyPipeline --date 2024-02-16 --local-scheduler"
    ]


def test_what_went_well_in_the_end_is_not_mentioned(called_with):
    text = line("a", None, 1.0) + line("a", "failed", 2.0, "why") + line("a", None, 3.0) + line("a", "done", 4.0)
    assert closing(text) == []


def test_a_task_without_a_date_is_mentioned_too(called_with):
    (said,) = closing(line("a", "not started", 1.0, "an empty range", dates=(), task="RangeTradingDays"))
    assert said.startswith("RangeTradingDays not started: an empty range\n")


FAILED = line("a", "failed", 1.0, "down")
LOCAL = f"luigi --module pipeline DailyPipeline --date {DAY} --local-scheduler"


@pytest.mark.parametrize(
    ("words", "local", "command"),
    [
        (
            ("DailyPipeline", "--date", DAY, "--storage-data-dir", "my data", "--yahoo-base-url", "http://x",
             "--workers", "2"),
            True,
            f"{LOCAL} --workers 2 --yahoo-base-url http://x "
            "--storage-data-dir 'my data'",
        ),
        (("ManualFullSync", "--date", DAY), True, LOCAL.replace("DailyPipeline", "ManualFullSync")),
        (
            ("RangeTradingDays", "--of", "DailyPipeline", "--start", "2024-02-01", "--stop", "2024-03-01",
             "--workers=2"),
            True,
            f"{LOCAL} --workers=2",
        ),
        (
            ("DailyPipeline", "--date", DAY, "--scheduler-url", "http://h:1", "--storage-data-dir", "d"),
            False,
            f"pipeline retry {DAY} --scheduler-url http://h:1 --storage-data-dir d",
        ),
        (("RedisWatchlistSync", "--date", DAY), False, f"pipeline retry {DAY} --task RedisWatchlistSync"),
        (("ConfirmSession", "--date", DAY), False, f"pipeline retry {DAY} --task ConfirmSession"),
        (("ComputeIndicators", "--date", DAY), False, f"luigi --module pipeline ComputeIndicators --date {DAY}"),
        (
            ("DailyPipeline", "--alerts-slack-webhook-url", "https://hooks.invalid/secret"),
            True,
            f"{LOCAL} --alerts-slack-webhook-url '********'",
        ),
    ],
)  # fmt: skip
def test_the_command_is_that_of_the_call_with_its_settings(called_with, words, local, command):
    called_with("--module", "pipeline", *words, local=local)
    (said,) = closing(FAILED)
    assert said.splitlines()[1] == f"    run again: {command}"


@pytest.fixture
def left(monkeypatch):
    """The codes that the process was left with."""
    codes: list[int] = []
    monkeypatch.setattr(ending, "leave", codes.append)
    monkeypatch.setattr(journal, "unwritten", [])
    monkeypatch.setattr(journal, "refused", [])
    monkeypatch.setattr(journal, "unsettled", [])
    return codes


@pytest.fixture
def sent(monkeypatch):
    texts: list[str] = []

    def send(text: str) -> dict[str, None]:
        texts.append(text)
        return {"slack": None}

    monkeypatch.setattr(notifications, "send", send)
    return texts


def write_journal(text: str) -> None:
    path = journal.journal_path(this_process())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def close_with(**outcome: set[luigi.Task]) -> None:
    """Close a run of which Luigi says this."""

    class Worker:
        def outcome(self):
            return outcome

    ending.RunFactory.worker = Worker()
    try:
        ending.close(os.getpid())
    finally:
        ending.RunFactory.worker = None


def test_an_end_that_goes_wrong_is_told_and_is_no_success(data_dir, called_with, left, sent, monkeypatch, settings):
    settings("redis", url="")
    write_journal(FAILED)

    def broken() -> None:
        raise TypeError("unexpected keyword argument 'ssl_ca_cert'")

    monkeypatch.setattr("pipeline.feed.mirror.mirror", broken)
    ending.close(os.getpid())
    assert stored("type, task", "alerts") == [("failed", "CollectPrices")]
    assert any("TypeError: unexpected keyword argument 'ssl_ca_cert'" in text for text in sent)
    assert left == [40]


def test_what_could_not_be_recorded_is_an_alert_a_message_and_no_success(data_dir, called_with, left, sent, settings):
    settings("redis", url="")
    for end in ("started", "done"):
        text = f"CollectPrices_2024_1 {end}: not recorded (OSError: [Errno 28] No space left on device)"
        journal.unwritten.append(text)
    ending.close(os.getpid())
    assert stored("type, task, date, resolved_at IS NULL", "alerts") == [
        ("not recorded", "DailyPipeline", dt.date(2024, 2, 16), True)
    ]
    assert len(sent) == 1  # one cause
    assert "No space left on device" in sent[0]
    assert "and 1 more" in sent[0]
    assert left == [40]


@pytest.mark.parametrize("place", ["journal.store", "alerts.update"])
def test_rows_that_cannot_be_stored_are_told_though_all_went_well(
    data_dir, called_with, left, sent, settings, monkeypatch, place
):
    settings("redis", url="")
    write_journal(line("a", "done", 1.0))

    def broken(*_: object) -> None:
        raise TypeError("unexpected keyword argument 'ssl_ca_cert'")

    monkeypatch.setattr(f"pipeline.runs.{place}", broken)
    ending.close(os.getpid())
    assert "TypeError: unexpected keyword argument 'ssl_ca_cert'" in sent[0]
    assert left == [40]
    assert journal.journal_path(this_process()).exists()


@pytest.mark.parametrize("is_range", [False, True])
def test_what_could_not_be_recorded_is_over_when_its_date_is_found_done(
    data_dir, called_with, left, sent, settings, monkeypatch, is_range
):
    from pipeline.tasks.daily import DailyPipeline
    from pipeline.tasks.ranges import RangeTradingDays

    settings("redis", url="")
    monkeypatch.setattr(DailyPipeline, "bulk_complete", lambda days: list(days))
    start, stop = dt.date(2024, 2, 14), dt.date(2024, 2, 17)
    tasks = {RangeTradingDays(of=DailyPipeline, start=start, stop=stop) if is_range else DailyPipeline(date=start)}
    assert not is_range or all(task.complete() for task in tasks)  # Luigi asks, before it says so
    journal.unwritten.append("CollectPrices_2024_1 started: not recorded (OSError)")
    close_with(already_done=tasks)
    assert stored("resolved_at IS NULL", "alerts") == [(True,)]  # told, and looked at again by the next run
    journal.unwritten.clear()
    close_with(already_done=tasks)
    assert stored("resolved_at IS NULL", "alerts") == [(False,)]


def test_a_damaged_database_leaves_the_journal_and_tells(data_dir, called_with, left, sent, settings):
    settings("redis", url="")
    with writing():
        pass
    database_path().write_bytes(b"no database" * 1000)
    write_journal(FAILED)
    ending.close(os.getpid())
    assert journal.journal_path(this_process()).exists()
    assert "CollectPrices failed: down" in sent[0]
    assert left == []  # the exit code is Luigi's own: the stage has failed


def uncaught(error: Exception) -> logging.LogRecord:
    return logging.LogRecord("luigi-interface", logging.ERROR, "x", 1, UNCAUGHT, (), (type(error), error, None))


def test_an_error_of_ours_that_luigi_has_wrapped_is_told_alone(data_dir, called_with, sent):
    wrapped = ValueError("Error when parsing the default value of 'date'")
    wrapped.__cause__ = ClockError("the clock of this host says 1970-01-01")
    assert not ending.note_uncaught(uncaught(wrapped))
    journal.settle()
    assert stored("type, message", "alerts") == [("failed", "the clock of this host says 1970-01-01")]


def test_where_it_cannot_be_noted_the_traceback_tells_it(called_with, monkeypatch):
    monkeypatch.setattr(ending, "_note_end", lambda error: 1 / 0)
    assert ending.note_uncaught(uncaught(ClockError("the clock of this host says 1970-01-01")))


def test_the_exception_that_ends_luigis_command_line_is_recorded(data_dir, called_with, sent):
    assert ending.note_uncaught(uncaught(ZeroDivisionError("by nothing")))
    journal.settle()
    assert stored("task, date, type, message", "alerts") == [
        ("DailyPipeline", dt.date(2024, 2, 16), "failed", "ZeroDivisionError: by nothing")
    ]


def test_a_task_that_there_is_not_is_one_line_with_the_nearest_name_and_no_alert(data_dir, called_with, caplog, capsys):
    with pytest.raises(TaskClassException) as raised:
        Register.get_task_cls("DailyPipelin")
    with caplog.at_level(logging.ERROR, "pipeline"):
        ending.end_by(raised.type, raised.value, raised.tb)
    (said,) = caplog.messages
    assert said.startswith("No task DailyPipelin. Did you mean: DailyPipeline")
    assert "\n" not in said
    assert "Traceback" not in capsys.readouterr().err
    assert not journal.journal_path(this_process()).exists()


@pytest.mark.parametrize("words", [(), ("--only-stale",)])
def test_without_a_date_the_command_is_the_one_that_was_typed(called_with, words):
    typed = ("RangeTradingDays", "--of", "DailyPipeline", "--start", "2024-02-17", "--stop", "2024-02-19", *words)
    called_with("--module", "pipeline", *typed, local=False)
    assert ending.again("") == f"luigi --module pipeline {' '.join(typed)}"


class Stage(luigi.Task):
    date = SessionParameter()


def test_a_session_that_is_found_done_has_no_open_alert(data_dir, called_with, left, sent, settings):
    from pipeline.tasks.daily import DailyPipeline

    settings("redis", url="")
    write_journal(line("a", "killed", 1.0, "killed", task="ScanWatchlist"))
    journal.settle()
    assert stored("resolved_at IS NULL", "alerts") == [(True,)]
    close_with(already_done={DailyPipeline(date=dt.date(2024, 2, 16))})
    assert stored("resolved_at IS NULL", "alerts") == [(False,)]
    assert left == []


@pytest.mark.parametrize("task", ["ConfirmSession", "PublishLake"])
def test_what_fails_behind_a_session_that_is_found_done_is_told(data_dir, called_with, left, sent, settings, task):
    from pipeline.tasks.daily import DailyPipeline

    settings("redis", url="")
    write_journal(line("a", "failed", 1.0, "an outage", task=task))
    close_with(already_done={DailyPipeline(date=dt.date(2024, 2, 16))})
    assert sent == [f"ALERT {task}: {task} failed for 2024-02-16\nan outage"]
    assert stored("resolved_at IS NULL", "alerts") == [(True,)]


def test_a_failure_that_only_luigi_knows_is_recorded(data_dir, called_with, left, sent, settings):
    settings("redis", url="")
    close_with(failed={Stage(date=dt.date(2024, 2, 16))})
    ((kind, message),) = stored("type, message", "alerts")
    assert kind == "not recorded"
    assert message.startswith("Stage_2024_02_16_")


def test_a_task_that_lacks_a_resource_says_so(called_with, settings):
    settings("resources", duckdb=0)

    class Needs(luigi.Task):
        date = SessionParameter()
        resources = {"duckdb": 1}

    (said,) = ending._not_run_lines({"not_run": {Needs(date=dt.date(2024, 2, 16))}})
    assert "was not run: it needs the resource duckdb" in said
    assert f"run again: luigi --module pipeline DailyPipeline --date {DAY}" in said


def test_a_run_with_a_scheduler_of_its_own_asks_no_other_one_why(called_with, settings, monkeypatch):
    settings("core", scheduler_url="http://127.0.0.1:1/", rpc_retry_attempts="60", rpc_retry_wait="2")
    monkeypatch.setattr(ending.central, "known_tasks", None)

    class Stage(luigi.Task):
        date = SessionParameter()

    (said,) = ending._not_run_lines({"not_run": {Stage(date=dt.date(2024, 2, 16))}})
    assert "its scheduler did not hand it out" in said


def test_who_only_looks_does_not_wait_for_a_scheduler_that_is_away(settings):
    settings("core", scheduler_url="http://127.0.0.1:1/", rpc_retry_attempts="60", rpc_retry_wait="30")
    with pytest.raises(SchedulerUnreachableError, match="does not answer"):
        ending.central.known_tasks("DISABLED")
