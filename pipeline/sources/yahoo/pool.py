"""A pool of processes that answer questions, given and taken as lines of JSON.

Plain child processes instead of multiprocessing: a Luigi task may run in a daemonic process, which may not have such
children; and nothing of the caller is imported again. No worker outlives its caller: the kernel ends it (see
processes.py), and so does the end of its standard input.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from pipeline.config import ROOT
from pipeline.sources.yahoo.learned import first_rate, keep
from pipeline.sources.yahoo.pacing import Pace, pace_file
from pipeline.sources.yahoo.worker import Settings

#: Questions that wait inside a worker beside those under way, so that no thread waits for the next one.
AHEAD = 2

logger = logging.getLogger("pipeline")


class Answer(NamedTuple):
    """What a worker said: as a dictionary, and as the line that it came as (None for an answer in its place)."""

    record: dict[str, Any]
    line: bytes | None = None


class _Worker:
    """One process, the questions it has not answered yet, and the thread that reads its answers."""

    def __init__(
        self, command: list[str], environment: dict[str, str], descriptor: int, inbox: queue.Queue[Any]
    ) -> None:
        self.open: dict[int, dict[str, Any]] = {}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, pass_fds=[descriptor]
        )
        self.reader = threading.Thread(target=self._read, args=[inbox], daemon=True)
        self.reader.start()

    def _read(self, inbox: queue.Queue[Any]) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                inbox.put((self, Answer(json.loads(line), line)))
        inbox.put((self, None))

    def ask(self, number: int, question: dict[str, Any]) -> None:
        assert self.process.stdin
        self.open[number] = question
        line = json.dumps({"number": number, **question}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # it died: its reader says so, and settles its open questions
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def end(self) -> int:
        self.process.kill()
        code = self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):  # a half-written question to a process that is gone
                pipe.close()
        return code


class WorkerPool:
    """`with WorkerPool(settings, processes) as pool: for number, answer in pool.ask(questions): ...`"""

    def __init__(self, settings: Settings, processes: int) -> None:
        self.settings = settings
        self.processes = processes
        self._inbox: queue.Queue[tuple[_Worker, Answer | None]] = queue.Queue()
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool:
        limit = self.settings.requests_per_second
        self._pace = pace_file(limit, first_rate(limit))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        keep(Pace(self._pace.fileno(), self.settings.requests_per_second))
        self._pace.close()

    def ask(self, questions: Iterable[dict[str, Any]]) -> Iterator[tuple[int, Answer]]:
        """Yield (position of the question, answer) in the order in which the answers come.

        A worker that dies is replaced; the answer to each question that it had is `{"error": ...}`.
        """
        waiting = deque(enumerate(questions))
        while waiting or any(worker.open for worker in self._workers):
            self._hand_out(waiting)
            worker, answer = self._inbox.get()
            if answer is None:
                yield from self._bury(worker)
            else:
                number = answer.record["number"]
                del worker.open[number]
                yield number, answer

    def _hand_out(self, waiting: deque[tuple[int, dict[str, Any]]]) -> None:
        while waiting and len(self._workers) < self.processes:
            self._workers.append(self._start())
        while waiting:
            worker = min(self._workers, key=lambda candidate: len(candidate.open))
            if len(worker.open) >= self.settings.threads + AHEAD:
                return
            worker.ask(*waiting.popleft())

    def _start(self) -> _Worker:
        descriptor = self._pace.fileno()
        given = json.dumps([os.getpid(), descriptor, dataclasses.asdict(self.settings)])
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        # a thread pool of the linear algebra library in each worker would only take memory
        environment = os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pipeline.sources.yahoo.worker", given]
        return _Worker(command, environment, descriptor, self._inbox)

    def _bury(self, worker: _Worker) -> Iterator[tuple[int, Answer]]:
        self._workers.remove(worker)
        code = worker.end()
        logger.warning(
            "a worker process ended with code %d; %d symbols that it was at have failed", code, len(worker.open)
        )
        for number in worker.open:
            yield number, Answer({"error": f"worker process ended with code {code}"})
