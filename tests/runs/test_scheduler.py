"""Which workers are gone."""

import os
import socket
import subprocess
import sys

import pytest

from pipeline.runs.scheduler import is_gone


def worker(pid, host=None):
    return f"Worker(salt=1, workers=1, host={host or socket.gethostname()}, username=market, pid={pid})"


@pytest.fixture
def ended():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_worker_of_this_host_is_gone_with_its_process(ended):
    assert is_gone(worker(ended))
    assert not is_gone(worker(os.getpid()))


def test_nothing_is_known_of_processes_elsewhere(ended):
    assert not is_gone(worker(ended, host="another.example"))
    assert not is_gone("a worker with a name of its own")
