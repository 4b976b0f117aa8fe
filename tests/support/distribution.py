"""Which of the processes that run tests at the same time has which test."""

from __future__ import annotations

import functools

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from pipeline.config import ROOT

#: What a file says whose tests begin with something that the first of them makes.
MAKES_ONCE = ('scope="module"', "begun:")


class Together(LoadScopeScheduling):
    """Each test, in the order of the collection, goes to the process that is free; those of one file that begin with
    something made once go to one process, or each would make it."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False  # the order of the collection: fast ones first
        super().__init__(config, log)  # type: ignore[arg-type]

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if makes_once(path) else nodeid


@functools.cache
def makes_once(path: str) -> bool:
    text = (ROOT / path).read_text(encoding="utf-8")
    return any(word in text for word in MAKES_ONCE)
