"""One message for one cause, another one when the date is done, and nothing lost when nobody takes them."""

import datetime as dt
import email
import json
import logging
import os
import subprocess
import sys

import luigi
import pytest

from pipeline.database.connection import database_path, reading, writing
from pipeline.errors import AlertTestError
from pipeline.host.owner import this_process
from pipeline.runs import alerts, channel_test, ending, journal
from tests.runs.test_notifications import Receiver
from tests.support.runs import run_here
from tests.support.servers import MailServer, serving

DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(60)]
DAY = dt.date(2024, 2, 16)
T0 = dt.datetime(2024, 2, 16, 22, 0, tzinfo=dt.UTC).timestamp()


@pytest.fixture
def slack(data_dir, settings, clock):
    """A Slack webhook; `messages()` empties it."""
    server = Receiver()
    settings("alerts", slack_webhook_url=f"{server.url}/slack", discord_webhook_url="", retries=0, timeout=5)
    settings("redis", url="")
    clock(2024, 2, 16, 18, 0)
    yield server
    server.server.shutdown()
    server.server.server_close()


def messages(server) -> list[str]:
    texts = [body["text"] for _, body in server.received]
    server.received.clear()
    return texts


def runs(*entries: tuple[str, dt.date, str, str], at: float = T0) -> None:
    """Task runs as a luigi process leaves them: task, date, status, error; and its end, with the messages."""
    with writing() as connection:
        for number, (task, date, status, error) in enumerate(entries):
            run = journal.TaskRun(f"{task}-{date}-{at}-{number}", task, [str(date)], at + number, status, 0.5, error)
            journal.store(connection, run)
        alerts.update(connection)
    alerts.tell()


def test_a_failure_is_told_with_its_reason(slack):
    runs(("CollectPrices", DAY, "failed", "95.1 % of 2,249 symbols"))
    assert messages(slack) == ["ALERT DailyPipeline: CollectPrices failed for 2024-02-16\n95.1 % of 2,249 symbols"]


def test_sixty_dates_that_fail_for_one_reason_are_one_message(slack):
    runs(*(("CollectPrices", day, "failed", f"{day}: {n}.5 % of 2,2{n:02d} symbols") for n, day in enumerate(DAYS)))
    (text,) = messages(slack)
    assert "60 dates from 2024-01-01 to 2024-02-29" in text
    with reading() as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT date) FROM alerts").fetchone() == (60, 60)


def test_retries_are_one_message(slack):
    runs(*[("CollectPrices", DAY, "failed", "HTTP 503")] * 3)
    assert messages(slack) == ["ALERT DailyPipeline: CollectPrices failed for 2024-02-16 (3 times)\nHTTP 503"]


def test_retries_that_fail_for_another_reason_are_one_message_with_the_last_one(slack):
    """A second attempt gets some of what the first one missed, so that it names other symbols."""
    reasons = ("First failures: MSFT: no bar", "First failures: LIN: no bar")
    runs(*[("CollectPrices", DAY, "failed", reason) for reason in reasons])
    heading = "ALERT DailyPipeline: CollectPrices failed for 2024-02-16 (2 times)"
    assert messages(slack) == [f"{heading}\n{reasons[1]}"]
    runs(("CollectPrices", DAY, "failed", reasons[0]), at=T0 + 60)
    assert messages(slack) == []


def test_a_later_run_with_the_same_cause_is_silent(slack):
    runs(("CollectPrices", DAY, "failed", "HTTP 503"))
    runs(("CollectPrices", DAY, "failed", "HTTP 503"), at=T0 + 60)
    runs(("CollectPrices", DAYS[0], "failed", "HTTP 503"), at=T0 + 120)
    assert len(messages(slack)) == 1


def test_another_cause_is_another_message(slack):
    runs(
        ("CollectPrices", DAY, "failed", "HTTP 503"),
        ("CollectPrices", DAYS[0], "failed", "HTTP 429"),
        ("ScanWatchlist", DAYS[1], "killed", "killed"),
    )
    assert len(messages(slack)) == 3


def test_a_cause_that_lasts_is_told_again_after_a_while(slack, clock):
    runs(("CollectPrices", DAY, "failed", "HTTP 503"))
    clock(2024, 2, 17, 18, 0)
    runs(("CollectPrices", DAYS[0], "failed", "HTTP 503"), at=T0 + 86_400)
    assert [text.splitlines()[0] for text in messages(slack)] == [
        "ALERT DailyPipeline: CollectPrices failed for 2024-02-16",
        "ALERT DailyPipeline: CollectPrices failed for 2024-01-01",
    ]


def test_a_failure_that_a_retry_overcame_is_not_told(slack):
    runs(
        ("CollectSymbols", DAY, "failed", "HTTP 503"),
        ("CollectSymbols", DAY, "done", ""),
        ("CollectPrices", DAY, "failed", "an outage"),
    )
    assert [text.splitlines()[1] for text in messages(slack)] == ["an outage"]
    runs(("CollectPrices", DAY, "done", ""), ("DailyPipeline", DAY, "done", ""), at=T0 + 60)
    (text,) = messages(slack)
    assert "of CollectPrices" in text
    with reading() as connection:
        assert connection.execute("SELECT count(*) FROM alerts WHERE closed_at IS NULL").fetchone() == (0,)


def test_a_date_that_is_done_after_all_is_told_once(slack):
    runs(*(("CollectPrices", day, "failed", "HTTP 503") for day in DAYS[:3]))
    messages(slack)
    runs(("CollectPrices", DAYS[0], "done", ""), at=T0 + 60)
    assert messages(slack) == []  # the date is not done yet
    runs(*(("DailyPipeline", day, "done", "") for day in DAYS[:2]), at=T0 + 120)
    assert messages(slack) == [
        "RECOVERED DailyPipeline: 2024-01-01, 2024-01-02 done, "
        "after 2 failures of CollectPrices since 2024-02-16 22:00 UTC"
    ]
    runs(("DailyPipeline", DAYS[2], "done", ""), at=T0 + 180)
    assert len(messages(slack)) == 1
    runs(("DailyPipeline", DAYS[2], "done", ""), at=T0 + 240)
    assert messages(slack) == []


def test_after_a_recovery_the_same_cause_is_told_again(slack):
    runs(("CollectPrices", DAY, "failed", "HTTP 503"), ("DailyPipeline", DAY, "done", ""))
    runs(("CollectPrices", DAYS[0], "failed", "HTTP 503"), at=T0 + 60)
    assert len(messages(slack)) == 1


def test_a_later_feed_makes_up_for_an_earlier_one_that_failed(slack):
    runs(("SyncRedis", DAYS[0], "failed", "down"))
    runs(("RedisWatchlistSync", DAYS[1], "done", ""), at=T0 + 60)
    assert [text.split()[:2] for text in messages(slack)] == [
        ["ALERT", "RedisWatchlistSync:"],
        ["RECOVERED", "RedisWatchlistSync:"],
    ]


def test_a_message_that_nobody_took_is_sent_by_the_next_run(slack):
    slack.answers = [503]
    runs(("CollectPrices", DAY, "failed", "HTTP 503"))
    messages(slack)
    alerts.tell()
    assert len(messages(slack)) == 1
    alerts.tell()
    assert messages(slack) == []


def test_without_any_channel_the_record_is_complete_and_nothing_waits(data_dir, settings):
    settings("redis", url="")
    runs(("CollectPrices", DAY, "failed", "HTTP 503"))
    with reading() as connection:
        assert connection.execute(
            "SELECT type, pipeline, task, date, message FROM alerts WHERE told_at IS NOT NULL"
        ).fetchall() == [("failed", "DailyPipeline", "CollectPrices", DAY, "HTTP 503")]


def test_an_alert_of_the_doctor_is_told_once_and_recovers(slack):
    for _ in range(3):
        alerts.raise_alert("no run", "DailyPipeline", DAY, f"session {DAY} has no finished run")
    assert messages(slack) == [
        "ALERT DailyPipeline: DailyPipeline no run for 2024-02-16\nsession 2024-02-16 has no finished run"
    ]
    runs(("DailyPipeline", DAY, "done", ""), at=T0 + 7200)
    assert [text.split(" ")[0] for text in messages(slack)] == ["RECOVERED"]


def test_what_the_doctor_finds_on_a_finished_day_is_over_with_the_next_one(slack):
    runs(("DailyPipeline", DAYS[0], "done", ""), at=T0 - 3600)
    alerts.raise_alert("doctor", "DailyPipeline", DAYS[0], "disk: 0.1 GB free")
    messages(slack)
    runs(("DailyPipeline", DAYS[1], "done", ""), at=T0 + 7200)
    assert [text.split(" ")[0] for text in messages(slack)] == ["RECOVERED"]


HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()"


def test_a_locked_database_does_not_keep_an_alert_from_being_sent(slack, settings):
    with writing():
        pass
    settings("storage", lock_timeout=0.1)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database_path())], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        alerts.raise_alert("no run", "DailyPipeline", DAY, "why")
        holder.communicate(b"")
    assert len(messages(slack)) == 1


def test_failures_that_the_database_cannot_take_are_told_all_the_same(slack, settings):
    path = journal.journal_path(this_process())
    path.parent.mkdir(parents=True)
    entry = {
        "id": "a",
        "task_id": "a",
        "task": "CollectPrices",
        "dates": ["2024-02-16"],
        "at": T0,
        "status": "failed",
        "error": "No space left",
    }
    path.write_text(json.dumps(entry) + "\n")
    database_path().write_bytes(b"no database" * 1000)
    ending.close(os.getpid())
    (text,) = messages(slack)
    assert "not recorded yet" in text and "No space left" in text
    assert path.exists()


def test_a_test_message_goes_through_every_channel(slack, settings):
    with serving(MailServer()) as mail:
        settings("email", receiver="ops@example.com", sender="luigi@example.com")
        settings("smtp", host="127.0.0.1", port=str(mail.port))
        assert channel_test.send_test() == {
            "slack": "sent",
            "discord": "not configured",
            "redis": "not configured",
            "e-mail": "sent",
        }
    assert "nothing has failed" in messages(slack)[0]
    assert "To: ops@example.com" in mail.messages[0]


class Fails(luigi.Task):
    def run(self):
        raise ValueError("a mistake of ours")


def test_luigis_own_mail_is_left_usable(slack, settings):
    with serving(MailServer()) as mail:
        settings("email", receiver="ops@example.com", sender="luigi@example.com", force_send="true")
        settings("smtp", host="127.0.0.1", port=str(mail.port))
        assert not run_here(Fails())
    message = email.message_from_string(mail.messages[0])
    (part,) = [part for part in message.walk() if not part.is_multipart()]
    assert "Fails" in message["Subject"] and b"ValueError: a mistake of ours" in part.get_payload(decode=True)


def test_a_channel_that_fails_the_test_is_named(slack, settings, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    slack.answers = [404]
    with pytest.raises(AlertTestError, match="slack: answered HTTP 404; discord: not configured"):
        channel_test.send_test()


def test_what_varies_is_no_cause_of_its_own():
    one = alerts.cause_of(
        "CollectPrices", "2024-02-16: 95.1 % of 2,249 symbols (PID 1234) at 2024-02-16T21:00:00.5+00:00"
    )
    other = alerts.cause_of("CollectPrices", "2024-02-20: 7 % of 12 symbols (PID 77) at 2024-02-20T21:00:01+00:00")
    assert one == other
    assert alerts.cause_of("CollectPrices", "HTTP 503") != alerts.cause_of("CollectPrices", "HTTP 429")
    assert alerts.cause_of("CollectPrices", "x") != alerts.cause_of("CollectSymbols", "x")


def marker(stage: str, day: dt.date, at: float) -> None:
    with writing() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO table_updates VALUES (?, 'x', to_timestamp(?))", [f"{stage}:{day}", at]
        )


def open_alerts() -> list[str]:
    with writing() as connection:
        alerts.update(connection)
    return [alert.task for alert in alerts.listed()]


def test_a_kill_after_the_last_marker_leaves_no_alert(slack):
    runs(("CloseSession", DAY, "killed", "killed"))
    assert open_alerts() == ["CloseSession"]
    marker("CloseSession", DAY, T0 + 1)  # committed before the kill, after the start
    assert open_alerts() == []


def test_a_stage_that_fails_anew_in_a_session_that_was_done_stays_open(slack):
    """Its marker is of the first time: a replica that was deleted, say, and cannot be made again."""
    marker("ReplicateDatabase", DAY, T0 - 60)
    marker("CloseSession", DAY, T0 - 30)
    runs(("ReplicateDatabase", DAY, "failed", "no room"))
    assert open_alerts() == ["ReplicateDatabase"]
    marker("ReplicateDatabase", DAY, T0 + 60)
    assert open_alerts() == []


def test_what_the_doctor_does_not_find_any_more_is_over(slack):
    alerts.raise_alert("doctor", "DailyPipeline", DAY, "disk: 0.1 GB free")
    alerts.raise_alert("doctor", "DailyPipeline", DAY, "java: there is none")
    alerts.resolve_findings(["disk: 0.2 GB free"])
    assert [alert.message for alert in alerts.listed()] == ["disk: 0.1 GB free"]


@pytest.mark.parametrize(("task", "is_over"), [("ConfirmSession", False), ("PublishLake", True)])
def test_what_follows_a_finished_day_is_not_done_because_the_day_is(slack, task, is_over):
    """A later publication holds the earlier session, too; a later session that is final is no earlier one."""
    runs(("DailyPipeline", DAYS[1], "done", ""), (task, DAYS[1], "failed", "an outage"))
    alerts.resolve_done([("DailyPipeline", str(DAYS[1]))])
    runs(("DailyPipeline", DAYS[1], "done", ""), at=T0 + 30)
    assert messages(slack) == [f"ALERT {task}: {task} failed for {DAYS[1]}\nan outage"]
    runs((task, DAYS[0], "done", ""), at=T0 + 60)
    assert messages(slack) == []
    runs((task, DAYS[2], "done", ""), at=T0 + 90)
    assert len(messages(slack)) == is_over
    alerts.resolve_done([(task, str(DAYS[1]))])
    assert alerts.listed() == []


def test_open_alerts_are_listed_newest_first_and_others_on_demand(slack, clock):
    runs(("CollectPrices", DAY, "failed", "HTTP 503"))
    runs(("ScanWatchlist", DAY, "failed", "a column"), at=T0 + 5)
    runs(("DailyPipeline", DAYS[0], "failed", "x"), ("DailyPipeline", DAYS[0], "done", ""), at=T0 + 9)
    assert [alert.task for alert in alerts.listed()] == ["ScanWatchlist", "CollectPrices"]
    assert [alert.task for alert in alerts.listed(days=1)] == ["DailyPipeline", "ScanWatchlist", "CollectPrices"]


def test_every_task_is_recorded_under_the_pipeline_that_it_belongs_to():
    from pipeline.tasks.redis_sync import RedisStage

    for name in (
        "CollectPrices",
        "CloseSession",
        "DailyPipeline",
        "RangeTradingDays",
        "NoLongerThere",
    ):
        assert alerts.pipeline_of(name) == "DailyPipeline"
    feed = {cls.__name__ for cls in RedisStage.__subclasses__()}
    assert {"SyncRedis", "ManualFullSync"} <= feed
    assert {alerts.pipeline_of(name) for name in feed} == {"RedisWatchlistSync"}
    for name in ("ConfirmSession", "PublishLake"):
        assert alerts.pipeline_of(name) == name
