"""What a luigi process gets from us beside the tasks."""

import argparse
import http.server
import logging
import os
import socket
import subprocess
import sys

import luigi
import luigi.configuration
import pytest

from pipeline import given
from pipeline.config import market, redis, storage, yahoo
from pipeline.errors import CoverageError
from pipeline.runs import central, command_line, log
from pipeline.runs import startup as runtime
from tests.support.servers import MailServer, serving


@pytest.fixture
def configuration(settings, monkeypatch):
    """Luigi's configuration, which forgets at the end what the code under test has set."""
    settings("core", scheduler_url="http://127.0.0.1:8082/", local_scheduler="false")
    for section, names in {"yahoo": ("base_url",), "market": ("source", "offline"), "storage": ("data_dir",)}.items():
        for name in names:
            config = luigi.configuration.get_config()
            settings(section, **{name: config.get(section, name, "")})
    monkeypatch.setattr(given, "_values", {})
    return luigi.configuration.get_config()


def test_settings_of_the_command_line_hold_until_the_process_ends(configuration):
    command_line.read(
        [
            "DailyPipeline",
            "--yahoo-base-url",
            "http://127.0.0.1:1/%7E",
            "--market-source=simulated",
            "--market-offline",
            "true",
        ]
    )
    assert yahoo().base_url == "http://127.0.0.1:1/%7E"
    assert market().source == "simulated"
    assert market().offline is True


def test_a_setting_that_is_not_given_stays(configuration, settings):
    settings("storage", data_dir="/somewhere")
    command_line.read(["DailyPipeline", "--date", "2024-02-16"])
    assert storage().data_dir == "/somewhere"


def options(**given):
    plain = {"local_scheduler": False, "scheduler_url": "", "scheduler_host": "", "scheduler_port": "", "help": False}
    return argparse.Namespace(**plain | given)


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def open_port():
    """Of a server that answers."""
    with serving(http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)) as server:
        yield server.server_port


def test_the_central_scheduler_is_used_when_it_answers(configuration, open_port):
    configuration.set("core", "scheduler_url", f"http://127.0.0.1:{open_port}/")
    assert runtime.choose_scheduler(options()) is False
    assert configuration.getboolean("core", "local_scheduler") is False


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_without_one_on_this_host_the_run_is_local_and_says_so(configuration, closed_port, caplog, host):
    configuration.set("core", "scheduler_url", f"http://{host}:{closed_port}/")
    assert runtime.choose_scheduler(options()) is True
    assert configuration.getboolean("core", "local_scheduler") is True
    assert [f"no luigid answers on {host}:{closed_port}:" in line for line in caplog.messages] == [True]


def test_one_on_this_host_that_hangs_is_replaced(configuration, monkeypatch):
    monkeypatch.setattr(central, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        configuration.set("core", "scheduler_url", f"http://127.0.0.1:{hanging.getsockname()[1]}/")
        assert runtime.choose_scheduler(options()) is True


def test_a_server_that_speaks_something_else_is_not_replaced(configuration):
    """What is wrong with it is said by who asks it for work."""
    with serving(MailServer()) as other:
        configuration.set("core", "scheduler_url", f"http://127.0.0.1:{other.port}/")
        assert runtime.choose_scheduler(options()) is False


def test_one_on_another_host_is_never_replaced(configuration):
    configuration.set("core", "scheduler_url", "http://scheduler.invalid:8082/")
    assert runtime.choose_scheduler(options()) is False


@pytest.mark.parametrize(
    "given", [{"scheduler_url": "http://127.0.0.1:1/"}, {"scheduler_host": "localhost"}, {"scheduler_port": "1"}]
)
def test_one_named_on_the_command_line_is_never_replaced(configuration, given):
    assert runtime.choose_scheduler(options(**given)) is False


def test_a_local_scheduler_that_was_asked_for(configuration, open_port):
    configuration.set("core", "scheduler_url", f"http://127.0.0.1:{open_port}/")
    assert runtime.choose_scheduler(options(local_scheduler=True)) is True


def record(error: BaseException) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return logging.LogRecord(
            "luigi-interface", logging.ERROR, "x.py", 1, "%s failed", ("CollectPrices",), sys.exc_info()
        )


NOTEBOOK = """
import signal, sys
import pipeline
assert sys.excepthook is sys.__excepthook__ and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
import datetime, luigi
print("went on", luigi.build([pipeline.DailyPipeline(date=datetime.date(2024, 2, 17))], local_scheduler=True))
"""


def test_a_program_that_is_no_run_gets_the_tasks_and_nothing_else(tmp_path):
    """No argument is parsed (a run would refuse these), no lock is taken, nothing ends it; a Saturday has no work."""
    settings = tmp_path / "luigi.cfg"
    settings.write_text(f"[storage]\ndata_dir = {tmp_path / 'data'}\n", encoding="utf-8")
    said = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, "--no-such-option", "--date", "2024-02-16,2024-02-20"],
        env={**os.environ, "LUIGI_CONFIG_PATH": str(settings)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (said.returncode, said.stdout) == (0, "went on True\n"), said.stderr
    assert not (tmp_path / "data").exists()


def test_an_error_that_explains_itself_loses_its_traceback():
    logged = record(CoverageError("session 2024-02-16: 40% of 100%"))
    assert log.plain_errors(logged)
    assert logging.Formatter("%(message)s").format(logged) == "CollectPrices failed: session 2024-02-16: 40% of 100%"


def test_any_other_error_keeps_it():
    logged = record(ZeroDivisionError("by zero"))
    assert log.plain_errors(logged)
    text = logging.Formatter("%(message)s").format(logged)
    assert "Traceback (most recent call last)" in text
    assert "ZeroDivisionError: by zero" in text


@pytest.mark.parametrize("error", ["pipeline.errors.CoverageError", "pipeline.runs.worker.SchedulerGoneError"])
def test_a_traceback_inside_a_message_is_cut_down_to_our_error(error):
    text = f'before\nTraceback (most recent call last):\n  File "a.py", line 1, in b\n{error}: too few\n'
    logged = logging.LogRecord("luigi-interface", logging.ERROR, "x.py", 1, text, (), None)
    assert log.plain_errors(logged)
    assert logged.getMessage() == "before\ntoo few\n"


def test_a_foreign_traceback_inside_a_message_stays():
    text = 'Traceback (most recent call last):\n  File "a.py", line 1, in b\nZeroDivisionError: by zero\n'
    logged = logging.LogRecord("luigi-interface", logging.ERROR, "x.py", 1, text, (), None)
    assert log.plain_errors(logged)
    assert logged.getMessage() == text


def test_a_secret_is_in_no_printed_form_of_its_section(settings):
    settings("redis", url="redis://:hunter2@localhost/0")
    section = redis()
    assert section.url == "redis://:hunter2@localhost/0"
    assert (
        "hunter2" not in repr(section) + str(section) + str(section.to_str_params(only_public=True)) + section.task_id
    )


@pytest.mark.parametrize(
    ("message", "arguments", "line"),
    [
        (
            "[pid %s] Worker %s running   %s",
            (1, "Worker(salt=1)", "ScanWatchlist(date=2024-02-20)"),
            "running   ScanWatchlist(date=2024-02-20)",
        ),
        ("Informed scheduler that task   %s   has status   %s", ("ScanWatchlist_2024", "DONE"), None),
        ("Failed pinging scheduler", (), None),
        ("Worker Worker(salt=1) was stopped. Shutting down Keep-Alive thread", (), None),
        ("Running Worker with %d processes", (2,), "Running Worker with 2 processes"),
    ],
)
def test_lines_of_luigi_keep_what_is_news(message: str, arguments: tuple[object, ...], line: str | None) -> None:
    record = logging.LogRecord("luigi-interface", logging.INFO, __file__, 1, message, arguments, None)
    assert (record.getMessage() if log.plain_words(record) else None) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "running   A(date=2024-02-14,2024-02-15,2024-02-16)",
            "running   A(date=2024-02-14 to 2024-02-16, 3 sessions)",
        ),
        ("running   A(date=2024-02-14,2024-02-15)", "running   A(date=2024-02-14,2024-02-15)"),
        ("running   A(date=2024-02-14)", "running   A(date=2024-02-14)"),
    ],
)
def test_the_sessions_of_a_combined_run_are_named_by_their_span(text, shown):
    record = logging.LogRecord("luigi-interface", logging.INFO, "", 0, text, (), None)
    assert log.LineFormatter("%(message)s").format(record) == shown


def test_the_client_of_the_webhooks_can_be_loaded_when_a_run_ends():
    """Python refuses what it needs from then on; a run that has asked no source has not loaded it before."""
    program = "import atexit, pipeline.runs.startup; atexit.register(__import__, 'pipeline.sources.web')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
