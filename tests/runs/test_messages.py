"""A message of success that nobody took is not lost: it waits in the database, and a later run sends it."""

import datetime as dt
import logging

import pytest

from pipeline.database.connection import database_path, reading, writing
from pipeline.errors import DatabaseLockedError
from pipeline.runs import alerts
from pipeline.runs.messages import notify
from pipeline.tasks.close import CloseSession
from pipeline.tasks.redis_sync import RedisWatchlistSync
from tests.runs.test_alerts import messages, runs, slack  # noqa: F401
from tests.support.feed import FeedData
from tests.support.runs import run_here

DAY = dt.date(2024, 2, 16)
LATE = "of 2024-02-16 23:00 UTC, which no webhook took then:\n"


def waiting():
    with reading() as connection:
        return connection.execute("SELECT text FROM unsent_messages ORDER BY id").fetchall()


def locked():
    raise DatabaseLockedError("another process has it")


@pytest.fixture
def down(slack):  # noqa: F811
    """The Slack webhook, which refuses the next message."""
    slack.answers = [403]
    return slack


def test_a_message_that_was_taken_is_not_sent_again(slack):  # noqa: F811
    assert notify("2024-02-16: 2,240 bars") == ["slack"]
    assert not database_path().exists()
    with writing():
        pass
    alerts.tell()
    assert messages(slack) == ["2024-02-16: 2,240 bars"]


def test_a_message_that_nobody_took_is_sent_by_the_next_run_once(down):
    assert notify("2024-02-16: 2,240 bars") == []
    assert waiting() == [("2024-02-16: 2,240 bars",)]
    messages(down)
    for expected in ([f"{LATE}2024-02-16: 2,240 bars"], []):
        alerts.tell()
        assert messages(down) == expected
    assert waiting() == []


def test_it_waits_for_as_many_runs_as_it_takes_and_in_order(down, clock):
    down.answers = [403] * 4
    notify("first")
    clock(2024, 2, 20, 18, 0)
    notify("second")
    alerts.tell()
    alerts.tell()
    assert len(waiting()) == 2
    messages(down)
    alerts.tell()
    assert messages(down) == [f"{LATE}first", "of 2024-02-20 23:00 UTC, which no webhook took then:\nsecond"]


def test_of_many_the_newest_are_sent_and_the_others_counted(down):
    down.answers = [403] * 30
    for number in range(30):
        notify(f"message {number}")
    messages(down)
    alerts.tell()
    texts = messages(down)
    assert len(texts) == 11
    assert texts[0] == "20 older messages, which no webhook took then, are in the log alone"
    assert texts[1].endswith("message 20") and texts[-1].endswith("message 29")
    assert waiting() == []


def test_one_webhook_of_two_is_enough(down, settings):
    settings("alerts", discord_webhook_url=down.url)
    assert len(notify("done")) == 1
    assert not database_path().exists()


def test_without_a_webhook_nothing_waits_and_the_log_has_it(down, settings, caplog):
    notify("done")
    settings("alerts", slack_webhook_url="")
    with caplog.at_level(logging.INFO, "pipeline"):
        assert notify("done, too") == []
    assert "done, too" in caplog.text
    alerts.tell()
    assert waiting() == []


@pytest.mark.redis
def test_a_stage_of_the_pipeline_leaves_its_message(down, redis):
    data = FeedData()
    data.scans = {DAY: data.symbols[:3]}
    data.finish(DAY)
    assert run_here(RedisWatchlistSync(date=DAY))
    ((text,),) = waiting()
    assert text.startswith("2024-02-16: Redis holds 3 of 3 symbols")


def test_the_last_stage_is_told_once_also_when_it_is_killed_behind_its_commit(slack, monkeypatch):  # noqa: F811
    task = CloseSession(date=DAY)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("pipeline.runs.notifications.send", killed)
        task.process([DAY])
    assert task.row(DAY).exists() and len(waiting()) == 1
    for count in (1, 0):
        alerts.tell()
        assert [text.startswith(f"{LATE}2024-02-16 is done; replica ") for text in messages(slack)] == [True] * count


def killed(text):
    raise KeyboardInterrupt


def test_the_last_stage_is_told_once(slack):  # noqa: F811
    CloseSession(date=DAY).process([DAY])
    alerts.tell()
    assert [text.startswith("2024-02-16 is done; replica ") for text in messages(slack)] == [True]
    assert waiting() == []


def test_what_waits_already_stays_when_the_last_stage_is_told(down):
    notify("first")
    CloseSession(date=DAY).process([DAY])
    assert waiting() == [("first",)]


def test_the_last_stage_is_done_also_when_its_message_cannot_be_forgotten(slack, monkeypatch, caplog):  # noqa: F811
    task = CloseSession(date=DAY)
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "pipeline"):
        patched.setattr("pipeline.runs.messages.writing", locked)
        assert task.process([DAY]) == {DAY: {}}
    assert "the next run sends this message again: another process has it" in caplog.text
    assert task.row(DAY).exists()


def test_it_follows_the_alerts_of_the_run(down):
    notify("2024-02-16: 2,240 bars")
    messages(down)
    runs(("CollectPrices", DAY, "failed", "HTTP 503"))
    assert [text.split()[0] for text in messages(down)] == ["ALERT", "of"]


def test_a_database_that_is_locked_costs_the_message_and_says_so(down, monkeypatch, caplog):
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "pipeline"):
        patched.setattr("pipeline.runs.messages.writing", locked)
        assert notify("done") == []
    assert "no webhook took it, and it cannot be kept: another process has it" in caplog.text


def test_a_database_from_before_the_messages_has_none(down):
    with writing() as connection:
        connection.execute("DROP TABLE unsent_messages")
    alerts.tell()
    assert messages(down) == []
