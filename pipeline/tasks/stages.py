"""The stages in the order in which the data passes them: the one list, of which everything else is derived."""

from __future__ import annotations

from pipeline.tasks.base import SessionTask
from pipeline.tasks.cleanup import CleanUpFiles
from pipeline.tasks.close import CloseSession
from pipeline.tasks.indicators import ComputeIndicators
from pipeline.tasks.notify import NotifySuccess
from pipeline.tasks.prices import CollectPrices
from pipeline.tasks.replica import ReplicateDatabase
from pipeline.tasks.report import GenerateReport
from pipeline.tasks.symbols import CollectSymbols
from pipeline.tasks.watchlist import ScanWatchlist

Stage = type[SessionTask]

#: What `DailyPipeline` goes through. A stage that is added stands behind all that it follows.
STAGES: tuple[Stage, ...] = (
    CollectSymbols,
    CollectPrices,
    ComputeIndicators,
    ScanWatchlist,
    ReplicateDatabase,
    NotifySuccess,
    GenerateReport,
    CleanUpFiles,
    CloseSession,
)


def stage_names() -> list[str]:
    """The names of the stages that `DailyPipeline` goes through."""
    return [stage.__name__ for stage in STAGES]


def stages_from(name: str) -> list[Stage]:
    """The stage of `DailyPipeline` called `name`, and all that rest on it, in their order."""
    affected = {name}
    for stage in STAGES:
        if any(before.__name__ in affected for before in stage.follows):
            affected.add(stage.__name__)
    return [stage for stage in STAGES if stage.__name__ in affected]
