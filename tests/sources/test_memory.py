"""What a hostile listing costs in memory, beside a good one: processes of their own, measured by the kernel."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.config import ROOT
from tests.support.servers import serving
from tests.support.stranger import Stranger, sized

#: The largest listing of the replayed evenings had so many rows.
ROWS = 4500
ROW = {
    "symbol": "AAPL", "name": "Apple Inc. Common Stock", "lastsale": "$182.31", "netchange": "-1.55",
    "pctchange": "-0.843%",
    "volume": "49700778", "marketCap": "2815209325110.00", "country": "United States", "ipoyear": "1980",
    "industry": "Computer Manufacturing", "sector": "Technology", "url": "/market-activity/stocks/aapl",
}  # fmt: skip
ASK = """
import contextlib, datetime as dt, resource, sys
import pipeline
import luigi.configuration
luigi.configuration.get_config().set("nasdaq", "base_url", sys.argv[1])
luigi.configuration.get_config().set("nasdaq", "retries", "0")
from pipeline.errors import PipelineError
from pipeline.sources.nasdaq.screener import NasdaqScreener
said = "taken"
try:
    NasdaqScreener().listing(dt.date(2024, 2, 16))
except PipelineError as error:
    said = type(error).__name__
print(said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def repeated(part: str, size: int = 7_900_000) -> bytes:
    """A list of so many bytes within an answer."""
    return f'{{"data": {{"rows": [{",".join([part] * (size // (len(part) + 1)))}]}}}}'.encode()


def good() -> bytes:
    rows = [
        ROW | {"symbol": "".join(chr(65 + number // 26**place % 26) for place in range(5))} for number in range(ROWS)
    ]
    return json.dumps({"data": {"rows": rows, "totalrecords": ROWS, "asof": "Feb 16, 2024"}}).encode()


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    with serving(Stranger()) as server:
        yield server


def measured(stranger: Stranger, body: bytes) -> tuple[str, int]:
    """How it ended, and the peak of its memory in pages of the kernel's count."""
    stranger.behaviour = lambda send: send(sized(body))
    done = subprocess.run(
        [sys.executable, "-c", ASK, stranger.url], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    said, peak = done.stdout.split()
    return said, int(peak)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(resource, "RUSAGE_SELF"), reason="the kernel does not count")
def test_no_listing_takes_more_than_twice_the_memory_of_a_good_one(stranger: Stranger) -> None:
    said, usual = measured(stranger, good())
    assert said == "taken"
    for part in ("[]", '{"":0}', "0.5", '"ab"', "99999999999", json.dumps(ROW)):
        said, peak = measured(stranger, repeated(part))
        assert said.startswith("Listing"), part
        assert peak < 2 * usual, f"{part}: {peak:,} beside {usual:,}"
