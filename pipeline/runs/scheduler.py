"""The scheduler's rules, where they are not Luigi's; the central one and that of a single run have the same."""

from __future__ import annotations

import logging
import re
import socket
import uuid
from typing import Any

from luigi.scheduler import BATCH_RUNNING, DISABLED, DONE, FAILED, PENDING, RUNNING, Task

from pipeline import calendar
from pipeline.host.owner import Owner
from pipeline.host.processes import is_alive
from pipeline.luigi_private import PUT_BACK, OpenScheduler

logger = logging.getLogger("pipeline")


#: How a worker is named: "Worker(salt=1, workers=1, host=quant1, username=market, pid=4711, started=86400.12)"; Luigi's
#: own workers have no `started`.
_WORKER = re.compile(r"host=(?P<host>[^,]+),.* pid=(?P<pid>\d+)(, started=(?P<started>[\d.]+))?")


def is_gone(worker: str) -> bool:
    """True when the worker was a process of this host that has ended; silence alone takes longer to tell."""
    named = _WORKER.search(worker)
    if named is None:
        return False
    if named["started"] is None:
        return named["host"] == socket.gethostname() and not is_alive(int(named["pid"]))
    return Owner(named["host"], int(named["pid"]), float(named["started"])).is_gone


class DailyScheduler(OpenScheduler):
    """Hands a task whose run was killed to the next run that wants it, and combines only tasks of one run.

    Luigi counts a kill as a failure of the task and, since one failure is enough to give a task up, refuses it for
    `disable_persist` seconds: the command that was typed again after a kill would leave with its work undone. What
    failed in one run and is asked for by another is tried again at once, for the same reason. So is, once in a run,
    what Luigi found its requirements undone for: a combined run had left them, and they are done alone. What a run has
    found done while another one had it in hand is done once that one is gone: nobody would do it again.

    Luigi also combines tasks that only another run has asked for, and then, since the run at work on them never asked,
    takes that for dead: two runs would collect the same session at once, and one of them leave with its work undone.
    """

    _asking: str | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._started = uuid.uuid4().hex
        self._given_up_by: dict[str, str] = {}
        self._put_back_by: set[tuple[str, str]] = set()
        self._seen_done: set[str] = set()

    def ping(self, **options: Any) -> Any:
        """As Luigi's, and which scheduler this is: a worker that meets another one tells it again what it wants."""
        return {**super().ping(**options), "scheduler": self._started}

    def add_worker(self, worker: str, info: Any, **options: Any) -> Any:
        """As Luigi's. A worker says who it is when it runs nothing, or tells what it runs at once."""
        for task in self.running_tasks():
            if task.worker_running == worker:
                self._take_back(task)
        return super().add_worker(worker, info, **options)

    def add_task(
        self, task_id: str | None = None, status: str = PENDING, runnable: bool | None = True,
        worker: str | None = None, retry_policy_dict: dict[str, Any] | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """As Luigi's, for a task a dead worker has in hand, that another run gave up, or that is not to be retried."""
        task = self.known_task(task_id or "")
        if task is not None:
            if task.status in (RUNNING, BATCH_RUNNING) and task.worker_running and is_gone(task.worker_running):
                self._take_back(task)
            if status == DONE and task.status in (RUNNING, BATCH_RUNNING) and task.worker_running != worker:
                self._seen_done.add(task.id)  # Luigi believes nobody but the worker that runs it
            if status == FAILED and self._is_first_wait(task, str(worker), str(options.get("expl"))):
                self.put_back(task)
                status = PENDING
            if status == FAILED:
                self._note_failure(task, str(worker), retry_policy_dict)
            if task.status == DISABLED and task.scheduler_disable_time and status == PENDING and runnable:
                self._try_again(task, str(worker))
        return super().add_task(
            task_id=task_id,
            status=status,
            runnable=runnable,
            worker=worker,
            retry_policy_dict=retry_policy_dict,
            **options,
        )

    def _is_first_wait(self, task: Task, worker: str, error: str) -> bool:
        """Whether the task has to wait for its requirements, and has not done so in this run before."""
        if f"RuntimeError: {PUT_BACK}" not in error or (task.id, worker) in self._put_back_by:
            return False
        self._put_back_by.add((task.id, worker))
        return True

    def _note_failure(self, task: Task, worker: str, policy: dict[str, Any] | None) -> None:
        if policy:
            self.take_policy(task, policy)
        self._given_up_by |= {each.id: worker for each in self._combined(task)}

    def _combined(self, task: Task) -> list[Task]:
        """The task that some worker has in hand, and those that it combines."""
        others = self.running_tasks() if task.batch_id else []
        return [task, *(other for other in others if other.batch_id == task.batch_id and other is not task)]

    def _try_again(self, task: Task, worker: str) -> None:
        if self._given_up_by.get(task.id) != worker:
            logger.info("%s, which another run gave up, is tried again", task.id)
            self.enable(task)

    def get_work(self, *arguments: Any, worker: str | None = None, assistant: bool = False, **options: Any) -> Any:
        """As Luigi's, for tasks that the worker itself has asked for."""
        self._asking = None if assistant else worker
        try:
            work = super().get_work(*arguments, worker=worker, assistant=assistant, **options)
        finally:
            self._asking = None
        self._seen_done.difference_update([work["task_id"], *work.get("batch_task_ids", [])])
        return work

    def may_run(self, task: Task) -> bool:
        return self._asking is None or self._asking in task.workers

    def before_pruning(self) -> None:
        living = {worker for worker in self.worker_ids() if not is_gone(worker)}
        for task in self.running_tasks():
            if task.worker_running not in living:
                self._take_back(task)

    def _take_back(self, task: Task) -> None:
        if task.status not in (RUNNING, BATCH_RUNNING):  # put back with the combined task that it was part of
            return
        is_combined = task.status == RUNNING and task.batch_id is not None and not task.batchable
        taken = self._combined(task)
        self.put_back(task)
        for done in taken:
            if done.id in self._seen_done:
                self.finish(done)
        if task.status == PENDING:
            logger.warning("%s was being run by a process that is gone, and is to be done again", task.id)
        if is_combined:
            task.remove = calendar.now().timestamp()
