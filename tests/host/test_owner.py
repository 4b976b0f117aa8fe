"""Who owns something, and whether that process is gone: of the kernel's own facts, whatever the clock says."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

import psutil
import pytest

from pipeline.host import owner


@pytest.fixture
def process():
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as started:
        yield started
        started.kill()


def test_this_process_is_not_gone():
    mine = owner.this_process()
    assert (mine.pid, mine.is_here, mine.is_gone) == (os.getpid(), True, False)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_start_is_the_kernels(process):
    ticks = int(pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    assert owner.of(process.pid).started == pytest.approx(ticks / os.sysconf("SC_CLK_TCK"), abs=0.011)


def test_it_survives_being_written_down():
    mine = owner.this_process()
    assert owner.parse(str(mine)) == mine


@pytest.mark.parametrize("text", ["", "host@12", "host@12@x", "4711", "host@12@1.5.jsonl"])
def test_other_texts_are_none(text):
    assert owner.parse(text) is None


def test_a_killed_process_is_gone_before_and_after_it_is_reaped(process):
    killed = owner.of(process.pid)
    assert not killed.is_gone
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from here on
    assert killed.is_gone
    process.wait()
    assert killed.is_gone


def test_a_stopped_process_is_not_gone(process):
    process.send_signal(signal.SIGSTOP)
    assert not owner.of(process.pid).is_gone


def test_a_number_that_is_used_again_is_another_process(process):
    before = dataclasses.replace(owner.of(process.pid), started=owner.of(process.pid).started - 60)
    assert before.is_gone


@pytest.mark.parametrize("seconds", [-86_400 * 365, 3600])
def test_a_clock_that_was_set_makes_nobody_look_gone(process, monkeypatch, seconds):
    living, boot = owner.of(process.pid), psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux if sys.platform == "linux" else psutil, "boot_time", lambda: boot + seconds)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + seconds)
    assert not living.is_gone


def test_of_another_host_nobody_knows():
    theirs = dataclasses.replace(owner.this_process(), host="elsewhere", pid=1)
    assert (theirs.is_here, theirs.is_gone) == (False, False)


def test_a_process_that_is_not_there_has_no_owner(process):
    process.kill()
    process.wait()
    with pytest.raises(ProcessLookupError):
        owner.of(process.pid)
