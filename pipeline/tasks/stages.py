"""The stages in the order in which the data passes them, found from what each of them follows."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.tasks.base import SessionTask
from pipeline.tasks.daily import DailyPipeline

Stage = type[SessionTask]


def stages_up_to(last: Stage = DailyPipeline) -> list[Stage]:
    """Every stage that `last` needs, and itself, the first one first."""
    needed = [stage for before in last.follows for stage in stages_up_to(before)]
    return [*dict.fromkeys(needed), last]


def stages_from(name: str) -> list[Stage]:
    """The stage called `name` and all that follow it, in whatever pipeline, in their order."""
    known = dict.fromkeys(needed for stage in _all_stages() for needed in stages_up_to(stage))
    return [stage for stage in known if name in {needed.__name__ for needed in stages_up_to(stage)}]


def stage_names() -> list[str]:
    """The names of the stages that `DailyPipeline` goes through."""
    return [stage.__name__ for stage in stages_up_to()]


def _all_stages(base: Stage = SessionTask) -> Iterator[Stage]:
    for stage in base.__subclasses__():
        if stage.process is not SessionTask.process:
            yield stage
        yield from _all_stages(stage)
