from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipeline.sources.yahoo import pacing
from pipeline.sources.yahoo.pacing import Pace, pace_file

TAKER = """
import json, sys
from pipeline.sources.yahoo.pacing import Pace
pace = Pace(int(sys.argv[1]), float(sys.argv[2]))
print(json.dumps([pace.take() for _ in range(int(sys.argv[3]))]), flush=True)
"""

HOLDER = """
import fcntl, sys
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def busiest(moments: list[float]) -> int:
    """The most permissions within any one second."""
    return max(sum(start <= moment < start + 1 for moment in moments) for start in moments)


def test_processes_and_threads_share_one_pace():
    limit = 40.0
    with pace_file(limit) as file:
        command = [sys.executable, "-c", TAKER, str(file.fileno()), str(limit), "30"]
        children = [
            subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[file.fileno()], text=True) for _ in range(2)
        ]
        pace, moments = Pace(file.fileno(), limit), []
        threads = [threading.Thread(target=lambda: moments.extend(pace.take() for _ in range(10))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for child in children:
            moments += json.loads(child.communicate()[0])
    assert len(moments) == 90
    # of any second: the limit, what the slack allows to come early, and the one at its beginning
    assert busiest(sorted(moments)) <= limit + limit * pacing.SLACK + 1


def test_a_process_killed_with_the_lock_does_not_stop_the_others():
    with pace_file(100.0) as file:
        command = [sys.executable, "-c", HOLDER, str(file.fileno())]
        holder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[file.fileno()], text=True
        )
        assert holder.stdout and holder.stdout.readline() == "locked\n"
        taken: list[float] = []
        taker = threading.Thread(target=lambda: taken.append(Pace(file.fileno(), 100.0).take()), daemon=True)
        taker.start()
        taker.join(0.2)
        assert not taken
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
        taker.join(5)
        assert taken


def test_complaints_about_one_burst_lower_the_pace_once():
    with pace_file(100.0) as file:
        pace = Pace(file.fileno(), 100.0)
        burst = [pace.take() for _ in range(4)]
        for taken in burst:
            pace.slow_down(taken, 0.0, 60.0)
        assert pace.rate == pytest.approx(100 * pacing.DECREASE, abs=5)


def test_the_pace_recovers_little_by_little_up_to_the_limit(monkeypatch):
    with pace_file(100.0) as file:
        pace = Pace(file.fileno(), 100.0)
        pace.slow_down(pace.take(), 0.0, 60.0)
        now = time.monotonic()
        monkeypatch.setattr(pacing.time, "monotonic", lambda: now + 10)
        assert pace.rate == pytest.approx(100 * pacing.DECREASE + 10 * 100 * pacing.RECOVERY, abs=0.5)
        monkeypatch.setattr(pacing.time, "monotonic", lambda: now + 3600)
        assert pace.rate == 100


def test_the_pause_doubles_with_each_complaint_in_a_row_and_is_bounded():
    def pause_after(strikes: int, longest: float = 60.0) -> float:
        with pace_file(100.0) as file:
            pace = Pace(file.fileno(), 100.0)
            for _ in range(strikes):
                pace.slow_down(time.monotonic(), None, longest)
            with pace._shared() as state:
                return state.next_free - time.monotonic()

    assert pause_after(1) == pytest.approx(1, abs=0.4)
    assert pause_after(4) == pytest.approx(8, abs=0.4)
    assert pause_after(9, longest=20.0) == pytest.approx(20, abs=0.4)


def test_an_answer_ends_the_row_of_complaints():
    with pace_file(100.0) as file:
        pace = Pace(file.fileno(), 100.0)
        early = pace.take()
        pace.slow_down(time.monotonic(), 0.0, 60.0)
        pace.succeeded(early)  # sent before the complaint: says nothing about the new pace
        with pace._shared() as state:
            assert state.strikes == 1
        pace.succeeded(time.monotonic())
        with pace._shared() as state:
            assert state.strikes == 0


def test_the_floor_keeps_the_pace_above_a_standstill():
    with pace_file(10.0) as file:
        pace = Pace(file.fileno(), 10.0)
        for _ in range(100):
            pace.slow_down(time.monotonic(), 0.0, 60.0)
        assert pace.rate == pytest.approx(0.5, abs=0.01)
