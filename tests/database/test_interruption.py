"""A signal in the middle of a query ends the program, as it does anywhere else, and leaves the database as it was."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
from collections.abc import Iterator

import pytest

from pipeline.database.connection import reading, writing
from pipeline.database.interruption import INTERRUPTED, interruptible
from tests.support.runs import ROOT, start_luigi, wait_until

#: Takes some seconds: DuckDB does not always look for signals before a query has ended, but is never to swallow one.
LONG = "SELECT sum(hash(range) % 7) FROM range(800000000)"

ASKER = f"""
import pathlib

import luigi

from pipeline.database.connection import writing
from pipeline.tasks.base import SessionTask


class Asks(SessionTask):
    notes = luigi.PathParameter()
    tries = 2

    def process(self, sessions):
        with writing() as connection:
            with self.notes.open("a") as file:
                file.write("begun ")
            connection.execute({LONG!r})
"""


@pytest.fixture
def soon() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as in a run, and comes in a moment."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM])
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)


def test_a_signal_in_a_query_ends_the_program(data_dir: pathlib.Path, soon: None) -> None:
    with pytest.raises(KeyboardInterrupt), writing() as connection:
        connection.execute("CREATE TABLE half (i INTEGER)")
        connection.execute(LONG)
    with writing() as connection:
        connection.execute("CREATE TABLE half (i INTEGER)")


def test_the_error_that_duckdb_makes_of_a_signal_is_one_again() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        raise RuntimeError(INTERRUPTED)


def test_another_error_stays_what_it_is(data_dir: pathlib.Path) -> None:
    with writing():
        pass
    with pytest.raises(RuntimeError, match="something else"), reading():
        raise RuntimeError("something else")


def test_a_run_that_is_told_to_stop_in_a_query_stops(tmp_path: pathlib.Path) -> None:
    (tmp_path / "asker.py").write_text(ASKER)
    notes, log = tmp_path / "notes", tmp_path / "log"
    process = start_luigi(
        "Asks", "--module", "asker", "--date", "2024-02-16", "--notes", str(notes), "--local-scheduler",
        "--storage-data-dir", str(tmp_path / "data"), "--scheduler-retry-delay", "0", "--worker-wait-interval", "0.05",
        home=tmp_path, log=log, PYTHONPATH=f"{ROOT}:{tmp_path}",
    )  # fmt: skip
    wait_until(notes.exists, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130, log.read_text()
    assert notes.read_text() == "begun "
    assert "stopped by a signal; the same command takes up the work where it was left" in log.read_text()
