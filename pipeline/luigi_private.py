"""Everything of Luigi that this project uses and Luigi does not promise: each name, and why no public one would do.

Nothing else in the pipeline touches a name of Luigi's that begins with an underscore, or relies on the text of a line
that it logs. A new Luigi that breaks one of them is told apart by the test beside this module, which names the reason.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import luigi
import luigi.configuration
import luigi.interface
from luigi import execution_summary
from luigi.cmdline_parser import CmdlineParser
from luigi.rpc import RemoteScheduler, RPCError
from luigi.scheduler import BATCH_RUNNING, DONE, PENDING, RUNNING, Scheduler, Task
from luigi.task_register import Register
from luigi.worker import TaskProcess, Worker, _get_retry_policy_dict
from tenacity import Retrying

#: Settings of [core] that Luigi reads past its own parameters, and would warn of, as unknown, on each run.
RPC_SETTINGS = frozenset({"rpc_retry_wait", "rpc_retry_attempts", "rpc_connect_timeout"})

#: How each line on a task begins that a worker logs; without it, a line has the name of the task alone.
WORKER_PREFIX = "[pid %s] Worker %s "

#: Lines about the scheduling itself, of no news to somebody who has one worker and one scheduler.
CHATTER = ("Informed scheduler that task", "Done scheduling tasks", "Worker Worker(", "Did not schedule ")

#: The line of each ping of a run, one a second, that a scheduler which is away does not answer.
UNANSWERED_PING = "Failed pinging scheduler"

#: The line that goes with an exception which ends the command line with `[retcode] unhandled_exception`.
UNCAUGHT = "Uncaught exception in luigi"

#: How the error begins of a task that Luigi found its requirements undone for: it is put back, and has not failed. The
#: scheduler gets it at the end of a traceback.
PUT_BACK = "Unfulfilled dependenc"


def expect_rpc_settings() -> None:
    """Have Luigi not warn of the settings of its own that it forgets it has."""
    luigi.interface.core.ignore_unconsumed |= RPC_SETTINGS


def build_parsers_once() -> None:
    """Have Luigi keep its command line's parsers: it builds nine in a run, each with an option for every setting."""
    build = CmdlineParser._build_parser

    @functools.cache
    def kept(names: tuple[str, ...], root_task: str | None, help_all: bool) -> argparse.ArgumentParser:
        return build(root_task=root_task, help_all=help_all)

    def parser(root_task: str | None = None, help_all: bool = False) -> argparse.ArgumentParser:
        return kept(tuple(Register.task_names()), root_task, help_all)

    CmdlineParser._build_parser = staticmethod(parser)  # type: ignore[method-assign]


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
    """Have a tracking URL change nothing else of the task: Luigi's call resets its resources, retries and messages."""
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
        """The tasks that some worker has in hand; those of a combined task before it."""
        return list(self._state.get_active_tasks_by_status(BATCH_RUNNING, RUNNING))

    def known_task(self, task_id: str) -> Task | None:
        return self._state.get_task(task_id)

    def take_policy(self, task: Task, policy: dict[str, Any]) -> None:
        """Have a new retry policy count for the failure that comes with it: Luigi counts first, and takes it then."""
        task.retry_policy = self._generate_retry_policy(policy)

    def enable(self, task: Task) -> None:
        """Have a task that was given up wait for a worker again, its failures forgotten."""
        self._state.re_enable(task, self._config)

    def put_back(self, task: Task) -> None:
        """Have a task, and those that it combines, wait for a worker again."""
        task.worker_running = None
        self._state.set_status(task, PENDING, self._config)

    def finish(self, task: Task) -> None:
        """Have a task be done that no worker has in hand."""
        self._state.set_status(task, DONE, self._config)

    def state_to_save(self) -> Any:
        """What Luigi itself pickles when it stops in order."""
        return self._state.get_state()

    def _schedulable(self, task: Task) -> bool:
        return super()._schedulable(task) and self.may_run(task)

    def _prune_tasks(self) -> None:
        self.before_pruning()
        super()._prune_tasks()


class OpenRemoteScheduler(RemoteScheduler):
    """Luigi's client of the central scheduler, which asks us how long to try and how to fail."""

    def retrying(self) -> Retrying:
        """How often, and for how long, a call is tried."""
        return super()._get_retryer()

    def unreachable(self, error: RPCError) -> Exception:
        """The error of a call that was tried long enough."""
        return error

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """One of the scheduler's methods, which Luigi gives its client when it is imported."""
        return getattr(RemoteScheduler, method)(self, *arguments, **options)

    def _get_retryer(self) -> Retrying:
        return self.retrying()

    def _fetch(self, url_suffix: str, body: dict[str, Any]) -> str:
        try:
            return super()._fetch(url_suffix, body)
        except RPCError as error:
            raise self.unreachable(error) from error


class Results:
    """Luigi's queue of what became of tasks, without the word of a task process that a signal ends.

    The worker tells that itself. With both, it takes the second for the end of the next attempt, forgets the process of
    that one, and waits for it when all is done.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def put(self, result: Any) -> None:
        if sys.exc_info()[0] is not KeyboardInterrupt:
            self._queue.put(result)


def quietly(run: Callable[[], None]) -> None:
    """What a task process runs: a signal ends it without a traceback, as the worker says what happened."""
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(130)


class OpenWorker(Worker):
    """Luigi's worker, which says who it is, and can be told to tell the scheduler again what it is to do."""

    def more_facts(self) -> list[tuple[str, object]]:
        """What its name holds beside host and pid."""
        return []

    def announce_again(self) -> None:
        """Tell a scheduler that has forgotten: this worker, its tasks and what they need, and what it is running."""
        self._batch_families_sent.clear()
        self._add_worker()
        self.add(self._scheduled_tasks[self._first_task])
        for task_id, process in self._running_tasks.items():
            self._scheduler.add_task(
                worker=self._id,
                task_id=task_id,
                status=RUNNING,
                family=process.task.task_family,
                params=process.task.to_str_params(),
                resources=process.task.process_resources(),
            )

    def outcome(self) -> dict[str, set[luigi.Task]]:
        """The tasks of the run by what became of them, as Luigi's own summary and exit codes have it."""
        return execution_summary._summary_dict(self)

    def _create_task_process(self, task: luigi.Task) -> TaskProcess:
        process = super()._create_task_process(task)
        process.result_queue = Results(process.result_queue)
        if process.use_multiprocessing:
            process.run = functools.partial(quietly, process.run)
        return process

    def _generate_worker_info(self) -> list[tuple[str, object]]:
        return [*super()._generate_worker_info(), *self.more_facts()]


class WorkerFactory(luigi.interface._WorkerSchedulerFactory):
    """Makes the worker and the scheduler of a run."""


def use_factory(factory: type[WorkerFactory]) -> None:
    """Have Luigi's command line, which takes no factory, make its worker and scheduler by this one."""
    luigi.interface._WorkerSchedulerFactory = factory  # type: ignore[misc]
