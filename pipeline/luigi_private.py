"""Everything of Luigi that this project uses and Luigi does not promise: each name, and why no public one would do.

Nothing else in the pipeline touches a name of Luigi's that begins with an underscore, or relies on the text of a line that
it logs. A new Luigi that breaks one of them is told apart by the test beside this module, which names the reason.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import luigi
import luigi.configuration
import luigi.interface
from luigi.scheduler import PENDING, RUNNING, Scheduler, Task
from luigi.task_register import Register
from luigi.worker import TaskProcess, _get_retry_policy_dict

#: Settings of [core] that Luigi reads past its own parameters, and would warn of, as unknown, on each run.
RPC_SETTINGS = frozenset({"rpc_retry_wait", "rpc_retry_attempts", "rpc_connect_timeout"})

#: How each line on a task begins that a worker logs; without it, a line has the name of the task alone.
WORKER_PREFIX = "[pid %s] Worker %s "

#: Lines about the scheduling itself, of no news to somebody who has one worker and one scheduler.
CHATTER = ("Informed scheduler that task", "Done scheduling tasks", "Worker Worker(")

#: How the error begins of a task that Luigi found its requirements undone for: it is put back, and has not failed.
PUT_BACK = "Unfulfilled dependenc"


def expect_rpc_settings() -> None:
    """Have Luigi not warn of the settings of its own that it forgets it has."""
    luigi.interface.core.ignore_unconsumed |= RPC_SETTINGS


def known_settings() -> Iterator[tuple[str, str]]:
    """Section and name of every parameter of every task and `luigi.Config`, and the names that they had before."""
    for section, _, name, parameter in Register.get_all_params():
        yield section, name
        if parameter._config_path:
            yield parameter._config_path["section"], parameter._config_path["name"]
    for name in (*RPC_SETTINGS, "rpc_log_retries", *luigi.interface.core.ignore_unconsumed):
        yield "core", name


def configuration_files() -> list[pathlib.Path]:
    """The files that the configuration is read from, in their order; Luigi names them nowhere else."""
    return [pathlib.Path(path) for path in luigi.configuration.get_config()._config_paths]


def is_command_line() -> bool:
    """Whether this process is Luigi's command line, however it was started: only that imports `luigi.cmdline`."""
    import sys

    return "luigi.cmdline" in sys.modules


class LateDefaultDateParameter(luigi.DateParameter):
    """A date whose default is asked for when nothing else gives a value, and not when the class is made."""

    def late_default(self) -> Any:
        """The value when neither the command line nor the configuration has one."""
        raise NotImplementedError

    def _value_iterator(self, task_name: str, param_name: str) -> Iterator[tuple[Any, str | None]]:
        yield from super()._value_iterator(task_name, param_name)
        yield self.late_default(), None


def keep_facts_beside_tracking_url(process: TaskProcess) -> None:
    """Have a tracking URL change nothing else of the task: Luigi's own call resets its resources, retries and messages."""
    reporter, task = process.status_reporter, process.task

    def update(url: str) -> Any:
        return reporter._scheduler.add_task(
            task_id=reporter._task_id,
            worker=reporter._worker_id,
            status=luigi.task_status.RUNNING,
            tracking_url=url,
            resources=task.process_resources(),
            accepts_messages=task.accepts_messages,
            retry_policy_dict=_get_retry_policy_dict(task),
        )

    reporter.update_tracking_url = update


class OpenScheduler(Scheduler):
    """Luigi's scheduler with its inner decisions as methods that can be overridden, and its state as methods to ask."""

    def may_run(self, task: Task) -> bool:
        """Whether a task that Luigi finds ready may be handed out now."""
        return True

    def before_pruning(self) -> None:
        """Called before Luigi looks for workers and tasks to forget, which it does before it hands out work."""

    def worker_ids(self) -> set[str]:
        """The workers that have been heard of lately."""
        return {worker.id for worker in self._state.get_active_workers()}

    def running_tasks(self) -> list[Task]:
        return list(self._state.get_active_tasks_by_status(RUNNING))

    def put_back(self, task: Task) -> None:
        """Have a task, and those that it combines, wait for a worker again."""
        task.worker_running = None
        self._state.set_status(task, PENDING, self._config)

    def state_to_save(self) -> Any:
        """What Luigi itself pickles when it stops in order."""
        return self._state.get_state()

    def _schedulable(self, task: Task) -> bool:
        return super()._schedulable(task) and self.may_run(task)

    def _prune_tasks(self) -> None:
        self.before_pruning()
        super()._prune_tasks()
