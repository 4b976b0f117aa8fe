"""Runs that are lost at moments nobody chose by hand; benchmarks/kills.py tries out more of them."""

from __future__ import annotations

import pathlib

import pytest

from tests.support import moments
from tests.support.small_market import SmallMarket

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

#: Moments of each way that are tried; benchmarks/kills.py takes as many as are wanted.
SAMPLE = 2


@pytest.mark.parametrize(
    "way", [moments.Way("day", False, 1), moments.Way("back-fill", True, 2), moments.Way("confirm", False, 1)], ids=str
)
def test_the_same_command_makes_up_for_a_lost_run(way: moments.Way, tmp_path: pathlib.Path) -> None:
    with SmallMarket(as_of=moments.LAST) as market:
        seen = moments.undisturbed(tmp_path / "undisturbed", market, way)
        assert {kind for kind, _ in seen.moments} == {"rename", "commit", "scheduler"}
        assert way.command != "confirm" or seen.tables["watchlist_amendments"], "there is something to lose"
        picked = moments.chosen(moments.moments(way, seen), SAMPLE)
        outcomes = [moments.try_out(tmp_path / str(place), market, one, seen) for place, one in enumerate(picked)]
    assert {str(outcome.moment): outcome.faults for outcome in outcomes if outcome.faults} == {}
