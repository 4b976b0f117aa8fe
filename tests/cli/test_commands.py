"""The commands beside Luigi's, over a finished session and over none."""

from __future__ import annotations

import datetime as dt
import errno
import importlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

import pipeline
from pipeline import calendar, given
from pipeline.cli import commands, doctor, terminal
from pipeline.cli.doctor import installation
from pipeline.cli.main import READING, main, module_of
from pipeline.config import all_settings, market
from pipeline.database.backups import backup_paths
from pipeline.database.connection import database_path, reading, writing
from pipeline.database.replica import publish, replica_path
from pipeline.masking import MASK
from pipeline.report.places import report_path
from pipeline.runs import alerts, central, notifications
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.lake import PublishLake
from tests.support.runs import run_here
from tests.support.small_market import LAST, MARKUP, SMALL, UNKNOWN, SmallMarket

#: Words of the commands that need more than their name.
ASKING = {
    "evaluate": ["evaluate", "--start", "2024-02-20", "--stop", "2024-02-21"],
    "explain": ["explain", "2024-02-20", "NVDA"],
    "query": ["query", "SHOW TABLES"], "reset": ["reset", "2024-02-20", "--from", "CollectPrices", "--yes"],
    "show": ["show", "NVDA"], "try": ["try", "rsi_14 < 30"],
}  # fmt: skip
COMMANDS = main.list_commands(None)  # type: ignore[attr-defined, arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the first test leaves a copy of its installation for the others."""
    return tmp_path_factory.mktemp("made") / "data"


@pytest.fixture
def done(here: SmallMarket, data_dir: pathlib.Path, made: pathlib.Path, clock: Callable[..., None]) -> pathlib.Path:
    """The data folder of an installation whose only session, the latest one, is done."""
    clock(LAST.year, LAST.month, LAST.day, 20)
    if made.exists():
        shutil.copytree(made, data_dir)
        return data_dir
    assert run_here(DailyPipeline(date=LAST))
    shutil.copytree(data_dir, made)
    return data_dir


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def facts(*arguments: str) -> Any:
    return json.loads(call(*arguments, "--json").output)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_takes_settings(name: str) -> None:
    answer = call(name, "--help")
    assert answer.exit_code == 0
    assert f"pipeline {name}" in answer.output.split("Usage:")[1].split("\n", 1)[1]
    assert "--data-dir" in answer.output
    assert "--set" in answer.output


def test_status_shows_a_finished_session(done: pathlib.Path) -> None:
    (status,) = facts("status", "--days", "1")
    assert status["session"] == str(LAST)
    assert status["is_done"]
    assert {stage["state"] for stage in status["stages"].values()} == {"done"}
    with reading() as connection:
        (hits,) = connection.execute("SELECT count(*) FROM daily_watchlist").fetchone() or (0,)
        states = dict(connection.execute("SELECT state, count(*) FROM price_coverage GROUP BY state").fetchall())
    assert status["hits"] == hits > 0
    assert status["symbols"] == states
    assert status["coverage"] == 1.0
    assert str(LAST) in call("status").output


def test_status_names_sessions_that_were_never_run(done: pathlib.Path, clock: Callable[..., None]) -> None:
    clock(2024, 2, 26, 20)
    answer = call("status")
    assert (
        "2 sessions between 2024-02-22 and 2024-02-23 were never run: pipeline backfill 2024-02-22 2024-02-23"
        in answer.output
    )


@pytest.mark.parametrize(
    "words",
    [
        *([name] for name in sorted({*READING} & {*COMMANDS} - set(ASKING))),
        *(words for name, words in ASKING.items() if name in COMMANDS),
    ],
)
def test_a_command_says_that_its_folder_is_not_there(data_dir: pathlib.Path, words: list[str]) -> None:
    answer = call(*words, "--data-dir", str(data_dir / "mistyped"))
    assert answer.exit_code == 1
    assert answer.output.startswith(f"Error: {data_dir / 'mistyped'} does not exist: nothing has been run there.")
    assert not data_dir.exists(), "looking makes nothing"


def test_a_mistyped_command_is_told_the_nearest_one() -> None:
    answer = call("watchlst")
    assert answer.exit_code == 2
    assert "no such command 'watchlst'; did you mean watchlist?" in answer.output
    assert "there are: alert-test, " in call("xyzzy").output


@pytest.mark.parametrize("words", [[str(LAST)], ["--date", str(LAST)], []])
def test_the_watchlist_of_a_session_is_shown_whole_at_80_columns(
    done: pathlib.Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "WIDTH_OF_A_FILE", 80)
    answer = call("watchlist", *words)
    assert answer.exit_code == 0
    with reading() as connection:
        rows = connection.execute("SELECT symbol, scan_reason, close_price FROM daily_watchlist").fetchall()
    for symbol, reason, close in rows:
        (line,) = [line for line in answer.output.splitlines() if line.startswith(f"│ {symbol} ")]
        assert reason in line
        assert f"{close:.2f}" in line
    assert max(map(len, answer.output.partition("database:")[0].splitlines())) <= 80
    assert "left out at 80 characters: " in answer.output
    assert str(report_path(LAST)) in answer.output


@pytest.mark.parametrize(
    ("day", "says"),
    [
        (
            "2024-02-20",
            "2024-02-20 was never run, and has no watchlist; "
            "run it: luigi --module pipeline DailyPipeline --date 2024-02-20",
        ),
        (
            "2024-02-17",
            "2024-02-17 was no session, and has no watchlist; the sessions around it are 2024-02-16 and 2024-02-20",
        ),
        ("2024-02-22", "session 2024-02-22 settles on 2024-02-22"),
        ("2030-01-01", "2030-01-01 lies in the future"),
        ("1899-01-01", "1899-01-01 lies before"),
    ],
)  # fmt: skip
def test_a_day_without_a_watchlist_says_why(done: pathlib.Path, day: str, says: str) -> None:
    answer = call("watchlist", day)
    assert answer.exit_code == 1
    assert f"Error: {says}" in answer.output
    assert "valid result" not in answer.output


@pytest.fixture
def failed(done: pathlib.Path) -> dt.date:
    """The session before the last one, whose run failed at its prices."""
    day = LAST - dt.timedelta(days=1)
    with writing() as connection:
        connection.execute(
            "INSERT INTO table_updates (update_id, target_table, inserted) VALUES (?, 'symbols', now())",
            [f"CollectSymbols:{day}"],
        )
        connection.execute(
            """
            INSERT INTO task_runs
                (pipeline, task, date, started_at, duration_seconds, status, try_number, combined, run_id)
            VALUES ('DailyPipeline', 'CollectPrices', ?, now(), 1, 'failed', 1, 1, 'r')
            """,
            [day],
        )
        connection.execute(
            """
            INSERT INTO alerts (type, pipeline, task, date, message, raised_at, run_id)
            VALUES ('failed', 'DailyPipeline', 'CollectPrices', ?, '60 % of symbols', now(), 'r')
            """,
            [day],
        )
    return day


def test_the_watchlist_of_a_failed_session_says_what_failed(failed: dt.date) -> None:
    answer = call("watchlist", str(failed))
    assert answer.exit_code == 1
    assert f"Error: {failed} has no watchlist, for its run failed; CollectPrices: 60 % of symbols" in answer.output
    assert f"run it again: luigi --module pipeline DailyPipeline --date {failed}" in answer.output


def test_a_watchlist_without_a_hit_says_so_and_one_without_a_page_names_none(done: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute("DELETE FROM daily_watchlist")
    publish(LAST)
    report_path(LAST).unlink()
    answer = call("watchlist", str(LAST))
    assert answer.exit_code == 0
    assert "No scan found a symbol: a valid result." in answer.output
    assert "report:   not made" in answer.output


def test_status_is_short_where_the_stages_have_no_room(done: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "WIDTH_OF_A_FILE", 80)
    short = call("status", str(LAST)).output
    assert re.search(rf"^{LAST}  done  +100.00%  +\d+  +\d+$", short, re.MULTILINE)
    assert short == call("status", str(LAST), "--short").output
    assert " sym" in call("status", "--stages").output
    monkeypatch.setattr(terminal, "WIDTH_OF_A_FILE", 200)
    assert "symbols" in call("status").output
    assert "never run" in call("status", "2024-02-20", "--short").output


@pytest.mark.parametrize(
    ("day", "says"),
    [
        ("2024-02-17", "2024-02-17 was no session; the sessions around it are 2024-02-16 and 2024-02-20"),
        ("2030-01-01", "2030-01-01 lies in the future"),
    ],
)
def test_status_of_a_day_without_a_session_says_so(done: pathlib.Path, day: str, says: str) -> None:
    answer = call("status", day)
    assert answer.exit_code == 1
    assert f"Error: {says}" in answer.output


def test_status_in_short_says_where_a_session_failed(failed: dt.date) -> None:
    answer = call("status", str(failed), "--short").output
    assert re.search(rf"^{failed}  failed at prices: 60 % of symbols", answer, re.MULTILINE)


def test_explain_says_what_every_rule_saw(done: pathlib.Path) -> None:
    with reading() as connection:
        symbol, reason, fired = (
            connection.execute("SELECT symbol, scan_reason, fired FROM daily_watchlist LIMIT 1").fetchone() or ("",) * 3
        )
    found = facts("explain", str(LAST), symbol)
    verdict = next(verdict for verdict in found["verdicts"] if verdict["scan"] == reason)
    assert verdict["fired"]
    assert all(part["holds"] for part in verdict["parts"])
    seen = {name: value for part in verdict["parts"] for name, value in part["values"].items()}
    assert seen == pytest.approx(json.loads(fired))
    assert pathlib.Path(found["raw_file"]).exists()
    assert f"on the watchlist for {reason}" in call("explain", str(LAST), symbol.lower()).output


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE daily_watchlist SET rule_version = 'before'",
        "UPDATE daily_watchlist SET scan_reason = 'another'",
        "DELETE FROM daily_watchlist",
    ],
)
def test_explain_says_that_a_list_was_made_by_other_rules(done: pathlib.Path, change: str) -> None:
    with reading() as connection:
        ((symbol,),) = connection.execute("SELECT symbol FROM daily_watchlist LIMIT 1").fetchall()
    said = f"anew: pipeline reset {LAST} --from ComputeIndicators, then pipeline retry {LAST}"
    assert said not in call("explain", str(LAST), symbol).output
    with writing() as connection:
        connection.execute(change)
    assert said in " ".join(call("explain", str(LAST), symbol).output.split())


def test_a_setting_of_another_type_is_refused(done: pathlib.Path) -> None:
    answer = call("status", "--set", "market.min_market_cap=abc")
    assert answer.exit_code == 1
    assert answer.output.startswith("Error: [market] cannot be read: ")
    assert "'abc'" in answer.output


def test_a_file_that_may_not_be_written_is_named(done: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "/srv/data/reports")

    monkeypatch.setattr("pipeline.cli.commands.status.Overview", refuse)
    assert call("status").output == "Error: /srv/data/reports: Read-only file system\n"


def test_explain_says_which_value_kept_a_rule_from_firing(done: pathlib.Path) -> None:
    with reading() as connection:
        (symbol, rsi) = connection.execute(
            "SELECT symbol, rsi_14 FROM technical_indicators "
            "WHERE rsi_14 > 35 AND symbol NOT IN (SELECT symbol FROM daily_watchlist) LIMIT 1"
        ).fetchone() or ("", 0)
    verdict = facts("explain", str(LAST), symbol)["verdicts"][0]
    assert verdict["scan"] == "rsi_oversold"
    assert not verdict["fired"]
    part = verdict["parts"][0]
    assert (part["text"], part["holds"], part["values"]) == ("rsi_14 < 30", False, {"rsi_14": pytest.approx(rsi)})


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        (SMALL, "not expected: market_cap 50,000,000 is not above [market] min_market_cap = 100,000,000"),
        (UNKNOWN, "not looked at: its bar is unknown"),
    ],
)
def test_explain_a_symbol_that_no_rule_looks_at(done: pathlib.Path, symbol: str, words: str) -> None:
    answer = call("explain", str(LAST), symbol)
    assert words in answer.output
    assert "not on the watchlist" in answer.output


def test_explain_leaves_what_came_from_outside_as_it_is(done: pathlib.Path) -> None:
    assert "<img src=x onerror=alert(1)> & Sons" in call("explain", str(LAST), MARKUP).output


@pytest.mark.parametrize(
    ("date", "symbol", "words"),
    [
        (str(LAST), "S055", "close to it: S55"),
        ("2022-02-22", "S05", "nothing is stored of session"),
        ("2024-02-17", "S05", "2024-02-17 is no session of XNAS; the ones around it are 2024-02-16 and 2024-02-20"),
        ("2030-01-02", "S05", "the latest session that has settled is 2024-02-21"),
    ],
)
def test_explain_what_is_not_there(done: pathlib.Path, date: str, symbol: str, words: str) -> None:
    answer = call("explain", date, symbol)
    assert answer.exit_code == 1
    assert words in answer.output


def level(check: str) -> str:
    levels = [finding.level for finding in doctor.examine() if finding.check == check]
    return next(level for level in (doctor.FAILURE, doctor.WARNING, doctor.NOTE, doctor.OK) if level in levels)


def test_the_doctor_is_content_with_a_finished_latest_session(done: pathlib.Path) -> None:
    assert level("sessions") == doctor.OK
    assert level("replica") == doctor.OK
    answer = call("doctor")
    assert answer.exit_code == 0, answer.output


def test_the_doctor_fails_when_the_latest_session_has_no_run(done: pathlib.Path, clock: Callable[..., None]) -> None:
    clock(2024, 2, 22, 20)
    answer = call("doctor")
    assert answer.exit_code == 1
    assert "2024-02-22, the latest settled session, has no finished run" in answer.output
    assert "pipeline retry 2024-02-22" in answer.output


def test_the_doctor_raises_an_alert_once(done: pathlib.Path, clock: Callable[..., None]) -> None:
    clock(2024, 2, 22, 20)
    for _ in range(2):
        assert call("doctor", "--alert").exit_code == 1
    with reading() as connection:
        rows = connection.execute("SELECT type, date FROM alerts WHERE message LIKE '%no finished run%'").fetchall()
    assert rows == [("doctor", dt.date(2024, 2, 22))]


def test_the_doctor_finds_what_was_left_undone_back_to_the_first(
    done: pathlib.Path, clock: Callable[..., None]
) -> None:
    with writing() as connection:
        for day in ("2022-03-01", "2022-03-02", "2023-06-01"):  # begun, years before the newest twenty
            connection.execute("INSERT INTO table_updates VALUES (?, 'x', now())", [f"CollectSymbols:{day}"])
    texts = [finding.text for finding in doctor.examine() if finding.check == "sessions"]
    assert any(
        text.startswith("3 sessions from 2022-03-01 to 2023-06-01 are not finished; 2023-06-01:") for text in texts
    )
    assert any("were never run" in text and "between 2022-03-03 and 2024-02-20" in text for text in texts)
    assert len(texts) == 3


def test_whatever_a_check_meets_is_a_finding(done: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise TypeError("unexpected keyword argument 'ssl_ca_cert'")

    for name in [check.__name__ for check in doctor.CHECKS]:
        broken.__name__ = name
        monkeypatch.setattr(doctor, "CHECKS", (broken,))
        (finding,) = doctor.examine()
        assert (finding.level, finding.check) == (doctor.FAILURE, name)
        assert finding.text == "TypeError: unexpected keyword argument 'ssl_ca_cert'"


def test_the_doctor_alerts_though_the_database_is_damaged(done: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(notifications, "send", lambda text: sent.append(text) or {})
    database_path().write_bytes(b"no database" * 1000)
    answer = call("doctor", "--alert")
    assert answer.exit_code == 1
    assert "database" in sent[0]


def found_by_doctor(check: str) -> doctor.Finding:
    return next(finding for finding in doctor.examine() if finding.check == check)


def test_the_doctor_compares_the_replica_with_what_was_published(done: pathlib.Path) -> None:
    assert found_by_doctor("replica").level == doctor.OK
    os.chmod(replica_path(), 0o644)
    with replica_path().open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    finding = found_by_doctor("replica")
    assert finding.level == doctor.FAILURE
    assert finding.command.startswith("pipeline retry ")


def test_the_doctor_looks_whether_the_tables_for_others_have_the_newest_session(
    done: pathlib.Path, tmp_path: pathlib.Path, settings: Callable[..., None]
) -> None:
    assert not [finding for finding in doctor.examine() if finding.check == "lake"]
    settings("publish", warehouse=str(tmp_path / "lake"))
    assert level("lake") == doctor.WARNING
    assert f"luigi --module pipeline PublishLake --date {LAST}" in call("doctor").output
    PublishLake(date=LAST).run()
    assert level("lake") == doctor.OK
    (tmp_path / "lake" / "catalog.db").unlink()
    assert level("lake") == doctor.WARNING


def test_the_doctor_reads_the_newest_backup(done: pathlib.Path, settings: Callable[..., None]) -> None:
    assert found_by_doctor("backups").level == doctor.OK
    source = market().source
    settings("market", source="files")
    assert found_by_doctor("backups").text.endswith(f"could not be put back: it is of source {source}")
    settings("market", source=source)
    backup = backup_paths()[-1]
    os.chmod(backup, 0o644)
    os.truncate(backup, backup.stat().st_size - 1)
    assert found_by_doctor("backups").level == doctor.FAILURE
    assert found_by_doctor("backups").text.endswith("Delete it")
    backup.unlink()
    assert found_by_doctor("backups").level == doctor.NOTE


def test_the_doctor_sees_that_newer_code_was_here(done: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute(
            "INSERT INTO migrations (name, source, code_version) VALUES ('998_future', 'yahoo', '9.9.9')"
        )
    finding = found_by_doctor("database")
    assert finding.level == doctor.FAILURE
    assert "9.9.9" in finding.text


def test_alerts_are_listed_from_the_database(done: pathlib.Path, clock: Callable[..., None]) -> None:
    assert call("alerts").output == "no alert is open\n"
    clock(2024, 2, 22, 20)
    call("doctor", "--alert")
    answer = call("alerts")
    assert "2024-02-22, the latest settled session, has no finished run" in answer.output
    assert "run again: pipeline retry 2024-02-22" in answer.output
    (alert,) = facts("alerts")
    assert (alert["type"], alert["resolved_at"]) == ("doctor", None)
    clock(2024, 2, 21, 20)
    assert call("doctor", "--alert").exit_code == 0
    assert facts("alerts") == []
    assert len(facts("alerts", "--days", "2")) == 1


def test_the_doctor_names_the_folder_that_it_was_told(done: pathlib.Path, clock: Callable[..., None]) -> None:
    clock(2024, 2, 22, 20)
    answer = call("doctor", "--data-dir", str(done))
    assert f"pipeline retry 2024-02-22 --data-dir {done}" in " ".join(answer.output.split())


def test_the_doctor_finds_rows_that_are_there_twice(done: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute("INSERT INTO stock_data FROM stock_data LIMIT 1")
    assert level("database") == doctor.FAILURE
    assert "1 rows of stock_data are there twice" in call("doctor").output


def test_the_doctor_names_the_command_of_a_task_that_luigid_has_given_up(
    done: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = central.KnownTask("ConfirmSession_1", "ConfirmSession", (LAST,), "DISABLED")
    monkeypatch.setattr(central, "answers", lambda: True)
    monkeypatch.setattr(central, "known_tasks", lambda status: [given_up])
    (finding,) = [finding for finding in doctor.examine() if "is disabled" in finding.text]
    assert finding.command.startswith(f"pipeline retry {LAST} --task ConfirmSession")


def test_the_alerts_name_the_pipeline_that_is_to_be_run_again(done: pathlib.Path) -> None:
    with writing() as connection:
        for task in ("ConfirmSession", "SyncRedis"):
            alerts.record(connection, "failed", task, LAST, "an outage", calendar.now())
    said = " ".join(call("alerts").output.split())
    for pipeline_ in ("ConfirmSession", "RedisWatchlistSync"):
        assert f"run again: pipeline retry {LAST} --task {pipeline_}" in said


@pytest.mark.parametrize("task", given.RETRIED)
def test_whatever_people_run_for_a_date_is_run_again(
    done: pathlib.Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("pipeline.cli.commands.retry.become", started.append)
    answer = call("retry", str(LAST), "--task", task, "--local-scheduler")
    assert answer.exit_code == 0, answer.output
    assert task in started[0]
    assert {*given.RETRIED, "RangeTradingDays"} == set(pipeline.__all__)


def test_the_doctor_lists_rejected_bars_and_failed_symbols(done: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute(
            "INSERT INTO rejected_bars (symbol, date, rule, rejected_at) VALUES ('S05', ?, 'high_too_low', now())",
            [LAST],
        )
        connection.execute("UPDATE price_coverage SET state = 'failed', reason = 'HTTP 500' WHERE symbol = 'S06'")
    said = call("doctor").output
    assert "S05 2024-02-21 (high_too_low)" in said
    assert "S06 (HTTP 500)" in said
    assert level("bars") == doctor.WARNING


def test_the_doctor_names_a_full_disk(done: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "GIGABYTE", 1024**5)
    assert level("disk") == doctor.FAILURE


def test_config_shows_values_with_their_origin_and_no_secret(
    data_dir: pathlib.Path, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("alerts", slack_webhook_url="https://hooks.slack.invalid/T0/B0/verysecret")
    settings("redis", url="redis://:verysecret@localhost:6379/0")
    settings("core", scheduler_url="http://operator:verysecret@localhost:8082/")
    monkeypatch.setattr(given, "_values", {("market", "calendar"): "XNAS"})
    answer = call("config", "--json")
    assert "verysecret" not in answer.output
    found = {(setting["section"], setting["name"]): setting for setting in json.loads(answer.output)}
    assert found.keys() >= set(all_settings())
    assert found["alerts", "slack_webhook_url"]["value"] == MASK
    assert found["market", "calendar"]["origin"] == "command line"
    assert found["core", "workers"]["origin"].endswith("luigi.cfg")


def test_a_setting_that_does_not_exist_is_refused_with_the_nearest_one() -> None:
    answer = call("config", "--set", "yahoo.retry=3")
    assert answer.exit_code == 1
    assert "there is no setting yahoo.retry; the nearest one is yahoo.retries" in answer.output
    assert "write SECTION.NAME=VALUE" in call("--set", "yahoo", "config").output
    for setting in ("core.scheduler_url", "spark.master"):
        section, name = setting.split(".")
        answer = call("config", "--set", f"{setting}=x")
        assert answer.exit_code == 1
        assert f"[{section}] is a section of Luigi's" in answer.output
        assert f"put {name} = ... into config/luigi.cfg" in answer.output


def test_a_secret_is_not_taken_from_the_command_line() -> None:
    answer = call("config", "--set", "alerts.slack_webhook_url=https://hooks.slack.invalid/verysecret")
    assert answer.exit_code == 1
    assert "verysecret" not in answer.output
    assert "environment" in answer.output


def test_a_backfill_of_finished_sessions_starts_nothing(done: pathlib.Path) -> None:
    answer = call("backfill", str(LAST), str(LAST))
    assert (answer.exit_code, answer.output) == (0, "nothing to do: every session of the range is done\n")


def test_a_backfill_of_the_future_is_refused(done: pathlib.Path) -> None:
    answer = call("backfill", str(LAST), "2024-03-01")
    assert answer.exit_code == 1
    assert f"pipeline backfill {LAST} {LAST}" in answer.output


def test_every_command_that_is_listed_is_there_and_a_file_that_is_not_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pathlib.Path(commands.__path__[0])
    assert [f"{module_of(name)}.py" for name in commands.COMMANDS] == sorted(
        path.name for path in folder.glob("[a-z]*.py") if hasattr(imported(path.stem), "command")
    )
    helper = types.ModuleType("pipeline.cli.commands.helper")
    monkeypatch.setitem(sys.modules, helper.__name__, helper)
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0
    assert CliRunner().invoke(main, ["helper"]).exit_code == 2


def imported(name: str) -> types.ModuleType:
    return importlib.import_module(f"pipeline.cli.commands.{name}")


@pytest.mark.parametrize("module", ["pipeline", "pipeline.cli"])
def test_python_runs_the_command_line_by_the_name_of_the_package(module: str) -> None:
    said = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Usage: pipeline ")
    assert all(f"  {name} " in said for name in commands.COMMANDS)
