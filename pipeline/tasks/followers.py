"""What rests on a stage: the later ones of the day, and the pipelines behind a finished day."""

from __future__ import annotations

from pipeline.tasks.lake import PublishLake
from pipeline.tasks.redis_sync import FEED_STAGES
from pipeline.tasks.stages import Stage, stages_from


def resting_on(name: str) -> tuple[Stage, ...]:
    """The stage of `DailyPipeline` called `name`, and whatever has to be done again when it is, in order."""
    return (*stages_from(name), *FEED_STAGES, PublishLake)
