"""The central scheduler's rules, where they are not Luigi's."""

from __future__ import annotations

import logging
import re
import socket
from typing import Any

from luigi.scheduler import Task

from pipeline import calendar
from pipeline.luigi_private import OpenScheduler
from pipeline.processes import is_alive

logger = logging.getLogger("pipeline")


#: How Luigi names a worker: "Worker(salt=1, workers=1, host=quant1, username=market, pid=4711)".
_WORKER = re.compile(r"host=(?P<host>[^,]+),.* pid=(?P<pid>\d+)")


def is_gone(worker: str) -> bool:
    """True when the worker was a process of this host that has ended; silence alone takes longer to tell."""
    named = _WORKER.search(worker)
    return named is not None and named["host"] == socket.gethostname() and not is_alive(int(named["pid"]))


class DailyScheduler(OpenScheduler):
    """Hands a task whose run was killed to the next run that wants it, and combines only tasks of one run.

    Luigi counts a kill as a failure of the task and, since one failure is enough to give a task up, refuses it for
    `disable_persist` seconds: the command that was typed again after a kill would leave with its work undone.

    Luigi also combines tasks that only another run has asked for, and then, since the run at work on them never asked,
    takes that for dead: two runs would collect the same session at once, and one of them leave with its work undone.
    """

    _asking: str | None = None

    def get_work(self, *arguments: Any, worker: str | None = None, assistant: bool = False, **options: Any) -> Any:
        """As Luigi's, for tasks that the worker itself has asked for."""
        self._asking = None if assistant else worker
        try:
            return super().get_work(*arguments, worker=worker, assistant=assistant, **options)
        finally:
            self._asking = None

    def may_run(self, task: Task) -> bool:
        return self._asking is None or self._asking in task.workers

    def before_pruning(self) -> None:
        living = {worker for worker in self.worker_ids() if not is_gone(worker)}
        for task in self.running_tasks():
            if task.worker_running not in living:
                self._take_back(task)

    def _take_back(self, task: Task) -> None:
        logger.warning("%s was being run by a process that is gone, and is to be done again", task.id)
        is_combined = task.batch_id is not None and not task.batchable
        self.put_back(task)
        if is_combined:
            task.remove = calendar.now().timestamp()
