"""The pace that the source took is kept from run to run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from pipeline.cli.doctor import NOTE, installation
from pipeline.sources.yahoo import learned, pacing
from pipeline.sources.yahoo.learned import first_rate, keep, learned_path
from pipeline.sources.yahoo.pacing import Pace, pace_file

LIMIT = 20.0

pytestmark = pytest.mark.usefixtures("data_dir")


def run(complaints: int, first: float | None = None) -> float:
    """A run with so many complaints; what it begins with."""
    rate = first_rate(LIMIT) if first is None else first
    with pace_file(LIMIT, rate) as file:
        pace = Pace(file.fileno(), LIMIT)
        assert pace.rate == pytest.approx(rate, abs=0.5)
        for _ in range(complaints):
            pace.slow_down(pace.take(), 0.0, 60.0)
        keep(pace)
    return rate


def test_a_run_begins_where_the_last_complaint_left_the_one_before() -> None:
    assert run(complaints=1) == LIMIT
    assert run(complaints=1) == pytest.approx(LIMIT * pacing.DECREASE, abs=0.5)
    assert run(complaints=0) == pytest.approx(LIMIT * pacing.DECREASE**2, abs=0.5)


def test_a_run_without_a_complaint_leaves_nothing() -> None:
    run(complaints=0)
    assert not learned_path().exists()


def test_what_has_come_back_to_full_pace_is_forgotten() -> None:
    run(complaints=1)
    assert learned_path().exists()
    run(complaints=0, first=LIMIT)
    assert not learned_path().exists()


def test_a_lower_limit_holds() -> None:
    run(complaints=1)
    assert first_rate(5.0) == 5.0


@pytest.mark.parametrize(
    "text", ["", "{}", '{"rate": 0, "at": "2024-02-20T00:00:00+00:00"}', '{"rate": "x", "at": 1}', "[]"]
)
def test_a_file_that_cannot_be_meant_is_as_none(text: str) -> None:
    learned_path().parent.mkdir(parents=True, exist_ok=True)
    learned_path().write_text(text)
    assert learned.learned() is None
    assert first_rate(LIMIT) == LIMIT


def test_the_doctor_tells_of_it(settings: Callable[..., None], data_dir: pathlib.Path) -> None:
    settings("market", source="yahoo")
    settings("yahoo", requests_per_second=LIMIT)
    assert list(installation.pace()) == []
    run(complaints=1)
    (finding,) = installation.pace()
    assert finding.level == NOTE
    assert "begins with 14 requests a second, of 20 that are set" in finding.text
    settings("market", source="simulated")
    assert list(installation.pace()) == []
