"""A task that takes longer than Luigi lets it is ended, and tried as often as it is to be: nothing waits for it."""

from __future__ import annotations

import pathlib
import re

import pytest

from tests.support.runs import ROOT, processes_of, run_luigi

SLEEPER = """
import pathlib
import time

import luigi

import pipeline


class Sleeps(luigi.Task):
    notes = luigi.PathParameter()
    tries = luigi.IntParameter()
    worker_timeout = 1

    @property
    def retry_count(self):
        return self.tries

    def run(self):
        with self.notes.open("a") as file:
            file.write("begun ")
        time.sleep(600)
"""


@pytest.mark.parametrize("tries", [1, 2])
def test_it_is_ended_and_tried_as_often_as_it_is_to_be(tmp_path: pathlib.Path, tries: int) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    code, said = run_luigi(
        "Sleeps", "--module", "sleeper", "--notes", str(tmp_path / "notes"), "--tries", str(tries),
        "--storage-data-dir", str(tmp_path / "data"), "--scheduler-retry-delay", "0", "--local-scheduler",
        "--worker-wait-interval", "0.05", home=tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path}",
    )  # fmt: skip
    assert code == 30, said
    assert (tmp_path / "notes").read_text() == "begun " * tries
    assert len(re.findall(r"INFO +Task Sleeps\S+ timed out after 1 seconds and was terminated", said)) == tries
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []
