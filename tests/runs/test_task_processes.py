"""A task process that ends before its task, as it takes too long or is killed, is tried again, and not waited for."""

from __future__ import annotations

import pathlib
import re
import signal

import pytest

from tests.support.runs import ROOT, processes_of, run_luigi

SLEEPER = """
import os
import pathlib
import time

import luigi

import pipeline


class Sleeps(luigi.Task):
    notes = luigi.PathParameter()
    tries = luigi.IntParameter()
    signal = luigi.IntParameter(default=0)

    @property
    def worker_timeout(self):
        return 0 if self.signal else 1

    @property
    def retry_count(self):
        return self.tries

    def run(self):
        with self.notes.open("a") as file:
            file.write("begun ")
        if self.signal:
            os.kill(os.getpid(), self.signal)
        time.sleep(600)
"""


def sleep(folder: pathlib.Path, tries: int, *arguments: str) -> str:
    """What is said by a run of the task, all of whose attempts come to nothing."""
    (folder / "sleeper.py").write_text(SLEEPER)
    code, said = run_luigi(
        "Sleeps", "--module", "sleeper", "--notes", str(folder / "notes"), "--tries", str(tries), *arguments,
        "--storage-data-dir", str(folder / "data"), "--scheduler-retry-delay", "0", "--local-scheduler",
        "--worker-wait-interval", "0.05", home=folder, PYTHONPATH=f"{ROOT}:{folder}",
    )  # fmt: skip
    assert code == 30, said
    assert (folder / "notes").read_text() == "begun " * tries
    assert "Traceback" not in said
    assert processes_of(folder) == []
    return said


@pytest.mark.parametrize("tries", [1, 2])
def test_one_that_takes_too_long(tmp_path: pathlib.Path, tries: int) -> None:
    said = sleep(tmp_path, tries)
    assert len(re.findall(r"INFO +Task Sleeps\S+ timed out after 1 seconds and was terminated", said)) == tries


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_killed(tmp_path: pathlib.Path, signum: int) -> None:
    said = sleep(tmp_path, 2, "--signal", str(int(signum)), "--workers", "2")
    assert len(re.findall(r"INFO +Task Sleeps\S+ died unexpectedly with exit code", said)) == 2
