"""Luigi's command line, and what each stage took of the processor, as the last line: JSON, seconds by task.

Of this process and of those that it started; what the simulated market took is counted apart.
"""

from __future__ import annotations

import atexit
import collections
import json
import os
from collections.abc import Callable
from typing import Any

import luigi
from luigi.cmdline import luigi_run

REST, SOURCE = "rest", "source"


class Meter:
    """Processor seconds of this process, and of those that it started, by what was going on."""

    def __init__(self) -> None:
        self.seconds: collections.Counter[str] = collections.Counter()
        self._since, self._doing = 0.0, REST

    def turn(self, to: str) -> str:
        """From here on it is `to`; what it was before."""
        now = sum(os.times()[:4])
        self.seconds[self._doing] += now - self._since
        before, self._since, self._doing = self._doing, now, to
        return before

    def apart(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted as the source's."""

        def counted(*arguments: Any, **named: Any) -> Any:
            before = self.turn(SOURCE)
            try:
                return function(*arguments, **named)
            finally:
                self.turn(before)

        return counted


def main() -> None:
    meter = Meter()
    luigi.Task.event_handler(luigi.Event.START)(lambda task: meter.turn(task.task_family))
    for event in (luigi.Event.SUCCESS, luigi.Event.FAILURE):
        luigi.Task.event_handler(event)(lambda *_: meter.turn(REST))
    from pipeline.sources.simulated.source import SimulatedSource  # makes this process a run, by its command line

    for name in ("__init__", "listing", "collect"):
        setattr(SimulatedSource, name, meter.apart(getattr(SimulatedSource, name)))
    atexit.register(lambda: (meter.turn(REST), print(json.dumps(meter.seconds), flush=True)))
    luigi_run()


if __name__ == "__main__":
    main()
