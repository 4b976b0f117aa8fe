"""What is said of a symbol that a rule finds, at the edge of the rule's limit."""

from __future__ import annotations

import pytest

from pipeline.watchlist.explain import Verdict
from pipeline.watchlist.scans import Scan, check


@pytest.mark.parametrize(("rank", "fired"), [(1, True), (3, True), (4, False), (None, False)])
def test_a_rule_fires_for_as_many_as_its_limit(rank: int | None, fired: bool) -> None:
    (scan,) = check((Scan("own", "", 1, "true", "symbol", 3),))
    assert Verdict(scan, (), rank, 9).fired is fired
