"""Both readers over generated answers: any bytes, any JSON, good answers with a part of them replaced.

What comes of it is an error of ours, or rows that can be stored.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import (
    ListingRefusedError,
    ListingTooShortError,
    ListingUnavailableError,
    ListingUnreadableError,
)
from pipeline.sources.nasdaq.screener import NasdaqScreener
from pipeline.sources.protocol import is_symbol
from pipeline.sources.yahoo.pacing import Pace, pace_file
from pipeline.sources.yahoo.unfinished import STATES, table_of
from pipeline.sources.yahoo.worker import Asker, Settings
from pipeline.text import clean
from tests.support.fake_market import FakeMarket
from tests.support.servers import serving
from tests.support.stranger import Stranger, sized

FIRST, LAST = dt.date(2024, 2, 12), dt.date(2024, 2, 16)
MARKET = FakeMarket(["AAA", "BBB", "CCC"])
CHART = MARKET.chart("AAA", FIRST, LAST)
LISTING = MARKET.screener()
MOST = 200_000

#: What readers stumble over.
ODD = st.sampled_from([
    None, True, 0, -1, 2**63, 10**400, 1e308, float("nan"), float("inf"), "", "\ud83d", "\x1b[2J", "9" * 400, "NaN",
    [], {}, [[]], "x" * 3000, "99999999999", -(2**63), [None] * 5, {"date": "2024-02-30"}, "\u202e",
])  # fmt: skip
JSON = st.recursive(
    st.one_of(ODD, st.integers(), st.floats(), st.text(st.characters(), max_size=20)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a JSON value."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*path, key))


@st.composite
def spoilt(draw: st.DrawFn, good: Any) -> Any:
    """A good answer with one to three of its parts gone, or replaced."""
    tree = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(tree) if path] or [()]))
        if not path:
            return copy.deepcopy(draw(JSON))
        holder = tree
        for key in path[:-1]:
            holder = holder[key]
        if draw(st.booleans()) and isinstance(holder, dict):
            del holder[path[-1]]
        else:
            holder[path[-1]] = copy.deepcopy(draw(JSON))  # what is drawn is shared, and must not be changed
    return tree


def bodies(good: Any) -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.binary(max_size=200),
        JSON.map(json.dumps).map(str.encode),
        spoilt(good).map(json.dumps).map(str.encode),
    )


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    with serving(Stranger()) as server:
        yield server


@pytest.fixture(scope="module")
def asker(stranger: Stranger) -> Iterator[Asker]:
    values = {"requests_per_second": 1e6, "timeout": 5.0, "max_bytes": MOST, "retry_budget": 9.0, "backoff": 0.0}
    with pace_file(1e6) as file:
        yield Asker(Settings(stranger.url, threads=1, **values), Pace(file.fileno(), 1e6))  # type: ignore[arg-type]


CALM = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CALM
@given(st.sampled_from([200, 200, 200, 400, 404, 500]), bodies(CHART))
@example(404, json.dumps({"chart": {"error": {"description": "half \ud83d \x1b[2J\n2024 ERROR"}}}).encode())
@example(200, b"[" * 100_000)
@example(200, b'{"chart":' * 20_000)
def test_any_answer_for_a_chart_is_a_record_that_can_be_stored(
    stranger: Stranger, asker: Asker, status: int, body: bytes
) -> None:
    stranger.behaviour = lambda send: send(sized(body).replace(b"200 OK", b"%d X" % status, 1))
    record = asker.answer("AAA", FIRST, LAST, 0)
    assert record["status"] in STATES
    assert record["reason"] is None or record["reason"] == clean(record["reason"]) and len(record["reason"]) < 250
    assert len(record["bars"].get("date", ())) <= 5
    assert table_of([json.loads(json.dumps(record))]).num_rows


OURS = (ListingRefusedError, ListingTooShortError, ListingUnavailableError, ListingUnreadableError)


@CALM
@given(bodies(LISTING))
@example(json.dumps({"data": {"rows": [{"symbol": "\ud83d"}]}, "status": {"rCode": "\ud83d" * 900}}).encode())
@example(b"[" * 100_000)
@example(json.dumps(LISTING).encode().replace(b'"volume": "', b'"volume": "' + b"9" * 30, 1))
def test_any_answer_of_the_screener_is_a_listing_or_an_error_of_ours(
    stranger: Stranger, asked: Callable[[], Any], body: bytes
) -> None:
    stranger.behaviour = lambda send: send(sized(body))
    try:
        listing = asked()
    except OURS as error:
        assert len(str(error)) < 1500
        return
    for company in listing.companies:
        assert is_symbol(company.symbol) and company.name == clean(company.name) != ""
        assert all(abs(value or 0) <= 1e15 for value in (company.market_cap, company.volume, company.last_sale))


@pytest.fixture
def asked(stranger: Stranger, settings: Callable[..., None]) -> Callable[[], Any]:
    settings("nasdaq", base_url=stranger.url, min_symbols=1, retries=0, max_rows=100)
    return lambda: NasdaqScreener().listing(LAST)
