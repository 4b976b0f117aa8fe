"""The central scheduler's rules, where they are not Luigi's."""

from __future__ import annotations

import logging

from luigi.scheduler import PENDING, RUNNING, Scheduler, Task

from pipeline import calendar

logger = logging.getLogger("pipeline")


class DailyScheduler(Scheduler):
    """Hands a task whose run was killed to the next run that wants it.

    Luigi counts it as a failure of the task and, since one failure is enough to give a task up, refuses it for
    `disable_persist` seconds: the command that was typed again after a kill would leave with its work undone.
    """

    def _prune_tasks(self) -> None:
        living = {worker.id for worker in self._state.get_active_workers()}
        for task in list(self._state.get_active_tasks_by_status(RUNNING)):
            if task.worker_running not in living:
                self._put_back(task)
        super()._prune_tasks()

    def _put_back(self, task: Task) -> None:
        logger.warning("%s was being run by a process that is gone, and is to be done again", task.id)
        is_combined = task.batch_id is not None and not task.batchable
        task.worker_running = None
        self._state.set_status(task, PENDING, self._config)  # those that it combines, too
        if is_combined:
            task.remove = calendar.now().timestamp()
