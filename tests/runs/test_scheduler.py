"""Which workers are gone, and what the scheduler does with the tasks that they, and other runs, have left."""

import dataclasses
import os
import socket
import subprocess
import sys
import time

import luigi.scheduler
import pytest

from pipeline.host.owner import this_process
from pipeline.runs.scheduler import DailyScheduler, is_gone


def worker(pid, host=None, started=None):
    began = "" if started is None else f", started={started:.2f}"
    return f"Worker(salt=1, workers=1, host={host or socket.gethostname()}, username=market, pid={pid}{began})"


@pytest.fixture
def ended():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_worker_of_this_host_is_gone_with_its_process(ended):
    assert is_gone(worker(ended))
    assert not is_gone(worker(os.getpid()))


def test_a_pid_that_is_used_again_is_not_the_worker():
    mine = this_process()
    assert not is_gone(worker(mine.pid, started=mine.started))
    assert is_gone(worker(mine.pid, started=mine.started - 60))


def test_nothing_is_known_of_processes_elsewhere(ended):
    assert not is_gone(worker(ended, host="another.example"))
    assert not is_gone("a worker with a name of its own")


@pytest.fixture
def scheduler():
    """Our scheduler as [scheduler] of the configuration has it: one failure gives a task up."""
    return DailyScheduler(
        retry_count=1, retry_delay=0, disable_persist=3600, prune_on_get_work=True, stable_done_cooldown_secs=0
    )


DEAD = worker(os.getpid(), started=this_process().started - 60)
LIVING = worker(os.getpid(), started=this_process().started)
OTHER = LIVING.replace("salt=1", "salt=2")


def ask(scheduler, by):
    return scheduler.get_work(worker=by, current_tasks=[])


def status(scheduler, task_id="stage"):
    return scheduler.known_task(task_id).status


def test_a_stage_that_was_marked_before_the_kill_is_done_at_once(scheduler):
    """Killed between its marker and the word to the scheduler: the next run finds it done, and it blocks nobody."""
    scheduler.add_task(worker=DEAD, task_id="stage", family="Stage")
    assert ask(scheduler, DEAD)["task_id"] == "stage"
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage", status="DONE", runnable=False)
    scheduler.add_task(worker=LIVING, task_id="next", family="Next", deps=["stage"])
    assert ask(scheduler, LIVING)["task_id"] == "next"


def test_a_stage_in_the_hands_of_a_living_run_stays_there(scheduler):
    scheduler.add_task(worker=OTHER, task_id="stage", family="Stage")
    assert ask(scheduler, OTHER)["task_id"] == "stage"
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage")
    assert ask(scheduler, LIVING)["task_id"] is None
    assert status(scheduler) == "RUNNING"


def test_the_sessions_of_a_combined_run_that_was_killed_are_free(scheduler):
    scheduler.add_task_batcher(worker=DEAD, task_family="Stage", batched_args=["date"], max_batch_size=10)
    for day in ("1", "2"):
        scheduler.add_task(worker=DEAD, task_id=f"s{day}", family="Stage", params={"date": day}, batchable=True)
    work = ask(scheduler, DEAD)
    assert work["batch_task_ids"] == ["s1", "s2"]
    scheduler.add_task(worker=DEAD, task_id="both", family="Stage", status="RUNNING", batch_id=work["batch_id"])
    scheduler.add_task(worker=LIVING, task_id="s1", family="Stage", status="DONE", runnable=False)
    scheduler.add_task(worker=LIVING, task_id="s2", family="Stage", params={"date": "2"}, batchable=True)
    assert ask(scheduler, LIVING)["task_id"] == "s2"
    assert status(scheduler, "s1") == "DONE"


@pytest.fixture
def fall_silent(scheduler, monkeypatch):
    """`fall_silent()` is a moment at which only LIVING has said anything for two minutes."""
    now = time.time

    def fall() -> None:
        monkeypatch.setattr(time, "time", lambda: now() + 120)
        scheduler.ping(worker=LIVING)

    return fall


def test_a_stage_seen_done_is_done_when_the_run_that_had_it_falls_silent(scheduler, fall_silent):
    """Its process may be stopped, or be on another host, between the marker and the word to the scheduler."""
    scheduler.add_task(worker=OTHER, task_id="stage", family="Stage")
    ask(scheduler, OTHER)
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage", status="DONE", runnable=False)
    scheduler.add_task(worker=LIVING, task_id="next", family="Next", deps=["stage"])
    assert ask(scheduler, LIVING)["task_id"] is None
    fall_silent()
    assert ask(scheduler, LIVING)["task_id"] == "next"


def test_the_seen_session_of_a_combined_run_that_fell_silent_is_done_and_the_other_free(scheduler, fall_silent):
    scheduler.add_task_batcher(worker=OTHER, task_family="Stage", batched_args=["date"], max_batch_size=10)
    for day in ("1", "2"):
        scheduler.add_task(worker=OTHER, task_id=f"s{day}", family="Stage", params={"date": day}, batchable=True)
    work = ask(scheduler, OTHER)
    scheduler.add_task(worker=OTHER, task_id="both", family="Stage", status="RUNNING", batch_id=work["batch_id"])
    scheduler.add_task(worker=LIVING, task_id="s1", family="Stage", status="DONE", runnable=False)
    scheduler.add_task(worker=LIVING, task_id="s2", family="Stage", params={"date": "2"}, batchable=True)
    assert ask(scheduler, LIVING)["task_id"] is None
    fall_silent()
    assert ask(scheduler, LIVING)["task_id"] == "s2"
    assert status(scheduler, "s1") == "DONE"


def test_what_was_seen_done_once_is_not_done_when_it_is_run_again_and_its_run_falls_silent(scheduler, fall_silent):
    scheduler.add_task(worker=OTHER, task_id="stage", family="Stage")
    ask(scheduler, OTHER)
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage", status="DONE", runnable=False)
    scheduler.add_task(worker=OTHER, task_id="stage", family="Stage", status="DONE")
    scheduler.add_task(worker=OTHER, task_id="stage", family="Stage")  # it was reset
    assert ask(scheduler, OTHER)["task_id"] == "stage"
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage")
    fall_silent()
    assert ask(scheduler, LIVING)["task_id"] == "stage"


def test_what_was_seen_done_and_waits_again_is_not_done_because_another_task_is_taken_back(scheduler, fall_silent):
    for name in ("stage", "other"):
        scheduler.add_task(worker=OTHER, task_id=name, family="Stage")
        assert scheduler.get_work(worker=OTHER, current_tasks=["stage"])["task_id"] == name
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage", status="DONE", runnable=False)
    fail(scheduler, OTHER)
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage")  # it was reset
    fall_silent()
    assert ask(scheduler, LIVING)["task_id"] == "stage"
    assert status(scheduler, "other") == "PENDING"


def fail(scheduler, by, task_id="stage", policy=None):
    scheduler.add_task(worker=by, task_id=task_id, family="Stage", status="FAILED", retry_policy_dict=policy)


def test_what_one_run_gave_up_another_one_tries(scheduler):
    scheduler.add_task(worker=OTHER, task_id="stage", family="Stage")
    ask(scheduler, OTHER)
    fail(scheduler, OTHER)
    assert status(scheduler) == "DISABLED"
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage")
    assert ask(scheduler, LIVING)["task_id"] == "stage"


def test_the_run_itself_does_not(scheduler):
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage")
    ask(scheduler, LIVING)
    fail(scheduler, LIVING)
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage")  # put back for the sake of a later stage
    assert status(scheduler) == "DISABLED"
    assert ask(scheduler, LIVING)["task_id"] is None


@pytest.mark.parametrize(("count", "left"), [(1, "DISABLED"), (2, "FAILED")])
def test_the_retry_policy_that_comes_with_a_failure_counts_for_it(scheduler, count, left):
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage", retry_policy_dict={"retry_count": 2})
    ask(scheduler, LIVING)
    fail(scheduler, LIVING, policy={"retry_count": count})
    assert status(scheduler) == left


def test_a_worker_that_says_again_who_it_is_has_nothing_in_hand(scheduler):
    """What the state of some seconds ago takes for running may have ended since."""
    scheduler.add_task(worker=LIVING, task_id="stage", family="Stage")
    ask(scheduler, LIVING)
    scheduler.add_worker(worker=LIVING, info=[])
    assert status(scheduler) == luigi.scheduler.PENDING


def test_each_scheduler_says_which_one_it_is(scheduler):
    names = {DailyScheduler().ping(worker=LIVING)["scheduler"] for _ in range(3)}
    assert len(names) == 3
    assert scheduler.ping(worker=LIVING)["scheduler"] == scheduler.ping(worker=LIVING)["scheduler"]


def test_dead_and_living_differ_in_their_start_alone():
    assert dataclasses.replace(this_process(), started=this_process().started - 60).is_gone
    assert is_gone(DEAD)
    assert not is_gone(LIVING)


UNDONE = "Runtime error:\\nRuntimeError: Unfulfilled dependency at run time: before (a file)"


def test_a_task_whose_requirements_are_undone_waits_for_them_once(scheduler):
    """A second time in one run it fails: Luigi announces its requirements anew no more, and it would wait for ever."""
    for fate in ("PENDING", "DISABLED"):
        scheduler.add_task(worker=LIVING, task_id="stage", family="Stage")
        assert ask(scheduler, LIVING)["task_id"] == "stage"
        scheduler.add_task(worker=LIVING, task_id="stage", family="Stage", status="FAILED", expl=UNDONE)
        assert status(scheduler) == fate
    scheduler.add_task(worker=OTHER, task_id="stage", family="Stage")
    assert ask(scheduler, OTHER)["task_id"] == "stage"
    scheduler.add_task(worker=OTHER, task_id="stage", family="Stage", status="FAILED", expl=UNDONE)
    assert status(scheduler) == "PENDING"
