"""One run at a time, between real processes."""

import errno
import pathlib
import subprocess
import sys

import pytest

from pipeline.errors import DataFolderError, RunInProgressError
from pipeline.runs import lock as runlock

HOLDER = """
import sys
import pipeline  # first: it reads config/luigi.cfg
from luigi.configuration import get_config
from pipeline.runs import lock as runlock
get_config().set("storage", "data_dir", sys.argv[1])  # the import reads config/luigi.cfg, which has it, too
lock = runlock.acquire(shared=sys.argv[2] == "shared")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start_holder(data_dir):
    """Starts a process that holds the run lock: `start_holder("shared")`."""
    started: list[subprocess.Popen[str]] = []

    def start(kind: str) -> subprocess.Popen[str]:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(data_dir), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    yield start
    for holder in started:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize(("held", "asked"), [("alone", False), ("alone", True), ("shared", False)])
def test_a_second_run_is_told_who_is_first(start_holder, held, asked):
    holder = start_holder(held)
    with pytest.raises(RunInProgressError, match=rf"process {holder.pid}, since 20\d\d-.* -c .*scripts/luigid"):
        runlock.acquire(shared=asked)


def test_runs_under_one_scheduler_share_the_lock(start_holder):
    start_holder("shared")
    runlock.acquire(shared=True).close()


def test_the_lock_ends_with_a_killed_process(start_holder):
    holder = start_holder("alone")
    holder.kill()
    holder.wait()
    runlock.acquire(shared=False).close()


def test_the_name_is_that_of_the_present_holder(start_holder, data_dir):
    start_holder("alone").communicate("")
    second = start_holder("alone")
    assert (data_dir / "run.lock").read_text().startswith(f"process {second.pid},")
    assert len((data_dir / "run.lock").read_text().splitlines()) == 1


def test_a_refused_run_leaves_the_name_of_the_holder(start_holder, data_dir):
    holder = start_holder("alone")
    for _ in range(2):
        with pytest.raises(RunInProgressError, match=f"process {holder.pid},"):
            runlock.acquire(shared=False)


def test_a_folder_that_cannot_be_written_is_said_plainly(data_dir, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(data_dir / "run.lock"))

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with pytest.raises(
        DataFolderError, match=rf"{data_dir}/run.lock cannot be written by the user .*Permission denied"
    ):
        runlock.acquire(shared=False)


def test_a_folder_that_is_a_file(data_dir, settings):
    data_dir.parent.mkdir(exist_ok=True)
    data_dir.write_text("no folder")
    with pytest.raises(DataFolderError, match="File exists|Not a directory"):
        runlock.acquire(shared=False)
