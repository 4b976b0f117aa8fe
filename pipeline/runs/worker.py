"""The worker of a run, and its scheduler: one of its own, or the central one, which may go away for a while."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import luigi.configuration
import tenacity
from luigi.rpc import RPCError

from pipeline.errors import SchedulerUnreachableError
from pipeline.host import owner
from pipeline.luigi_private import OpenRemoteScheduler, OpenWorker, WorkerFactory
from pipeline.runs.scheduler import DailyScheduler

logger = logging.getLogger("pipeline")

#: Attempts to reach a scheduler that has not answered yet: it may have the wrong address.
FIRST_ATTEMPTS = 3


class SchedulerGoneError(SchedulerUnreachableError, RPCError):
    """The central scheduler has not answered for as long as a run waits; also what Luigi expects in that case."""


class _OfThread(threading.local):
    """What the thread of the pings must not share with that of the work: whether a call may fail at once."""

    is_optional = False


class CentralScheduler(OpenRemoteScheduler):
    """The central scheduler as a run sees it.

    Its absence is waited for, `[core] rpc_retry_attempts` times `rpc_retry_wait` seconds. A scheduler that was started
    anew knows the state of some seconds ago at best: it is told again what the run wants. What only shows how far the
    work is is said once, and never fails it.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        config = luigi.configuration.get_config()
        self.worker: OpenWorker | None = None
        self._known: str | None = None
        self._has_answered = False
        self._is_away = False
        self._of_thread = _OfThread()
        self._attempts = config.getint("core", "rpc_retry_attempts", 3)
        self._wait = config.getint("core", "rpc_retry_wait", 30)

    def retrying(self) -> tenacity.Retrying:
        attempts = 1 if self._of_thread.is_optional else self._attempts if self._has_answered else FIRST_ATTEMPTS
        return tenacity.Retrying(
            wait=tenacity.wait_fixed(self._wait),
            stop=tenacity.stop_after_attempt(min(attempts, max(self._attempts, 1))),
            reraise=True,
            before_sleep=self._say,
        )

    def _say(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1:
            logger.warning(
                "the central scheduler at %s does not answer; it is waited for, up to %d seconds",
                self._url, self._wait * ((self._attempts if self._has_answered else FIRST_ATTEMPTS) - 1),
            )  # fmt: skip

    def unreachable(self, error: RPCError) -> Exception:
        return SchedulerGoneError(
            f"the central scheduler at {self._url} does not answer. Start it (scripts/luigid) or set [core] "
            f"scheduler_url, and run the same command again; with --local-scheduler a run needs none",
            error.sub_exception,
        )

    def _fetch(self, url_suffix: str, body: dict[str, Any]) -> str:
        answer = super()._fetch(url_suffix, body)
        self._has_answered = True
        return answer

    @contextlib.contextmanager
    def _once(self) -> Iterator[None]:
        self._of_thread.is_optional = True
        try:
            yield
        finally:
            self._of_thread.is_optional = False

    def add_task(self, **options: Any) -> Any:
        """As Luigi's, and notes which scheduler it is that is told."""
        if self._known is None:
            self._known = self.call("ping", worker=options["worker"]).get("scheduler")
        return self.call("add_task", **options)

    def get_work(self, **options: Any) -> Any:
        """As Luigi's; before it, a scheduler that was started anew is told what the run wants."""
        scheduler = self.call("ping", worker=options["worker"]).get("scheduler")
        if self._known not in (None, scheduler) and self.worker is not None:
            logger.info("the central scheduler was started anew, and is told again what this run wants")
            self.worker.announce_again()
        self._known = scheduler
        return self.call("get_work", **options)

    def ping(self, **options: Any) -> Any:
        """As Luigi's, once: the next ping comes a second later. That there is no answer is said at the first one."""
        try:
            with self._once():
                answer = self.call("ping", **options)
        except RPCError:
            if not self._is_away:
                logger.warning("the central scheduler at %s does not answer", self._url)
            self._is_away = True
            raise
        if self._is_away:
            logger.info("the central scheduler at %s answers again", self._url)
        self._is_away = False
        return answer

    def set_task_status_message(self, *arguments: Any, **options: Any) -> None:
        with self._once(), contextlib.suppress(RPCError):
            self.call("set_task_status_message", *arguments, **options)

    def set_task_progress_percentage(self, *arguments: Any, **options: Any) -> None:
        with self._once(), contextlib.suppress(RPCError):
            self.call("set_task_progress_percentage", *arguments, **options)


class RunWorker(OpenWorker):
    """A worker whose name says when its process began, so that a pid that is used again deceives nobody."""

    def more_facts(self) -> list[tuple[str, object]]:
        return [("started", f"{owner.this_process().started:.2f}")]


class RunFactory(WorkerFactory):
    """Makes a run's scheduler and worker, and keeps the worker, which knows how the run ended."""

    worker: RunWorker | None = None

    def create_local_scheduler(self) -> DailyScheduler:
        return DailyScheduler(prune_on_get_work=True, record_task_history=False)

    def create_remote_scheduler(self, url: str) -> CentralScheduler:
        return CentralScheduler(url)

    def create_worker(self, scheduler: Any, worker_processes: int, assistant: bool = False) -> RunWorker:
        worker = RunWorker(scheduler=scheduler, worker_processes=worker_processes, assistant=assistant)
        if isinstance(scheduler, CentralScheduler):
            scheduler.worker = worker
        RunFactory.worker = worker
        return worker
