"""Tables fit the terminal: keys, dates and numbers whole, names cut, the rest left out and named."""

from __future__ import annotations

import datetime as dt
import io
import math

import pytest
from rich.console import Console, RenderableType

from pipeline.cli.commands import alerts, config
from pipeline.cli.settings import Setting
from pipeline.cli.tables import Column, as_records, fits, fitted, readable
from pipeline.runs.alerts import Alert

COLUMNS = [Column("symbol"), Column("close", is_number=True), Column("name", least=6), Column("date")]
ROWS = [["NVDA", "694.52", "NVIDIA Corporation", "2024-02-20"], ["A", "1.5", "Agilent", "2024-02-20"]]
#: What all four columns take: 6 + 6 + 18 + 10, three gaps of 3, a frame of 4.
WHOLE = 53


def drawn(table: RenderableType, width: int) -> str:
    screen = Console(file=io.StringIO(), width=width, highlight=False, emoji=False)
    screen.print(table)
    return screen.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", range(20, 60))
def test_no_line_is_wider_than_the_terminal_and_nothing_but_a_name_is_cut(width: int) -> None:
    text = drawn(fitted(COLUMNS, ROWS, width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "NVDA" in text
    for whole in ("694.52", "2024-02-20"):
        assert whole in text or "left out" in text.replace("\n", " ")
    assert "694…" not in text
    assert "2024…" not in text


@pytest.mark.parametrize(("width", "is_whole"), [(WHOLE, True), (WHOLE - 1, False)])
def test_a_name_is_cut_where_one_character_is_missing(width: int, is_whole: bool) -> None:
    assert fits(COLUMNS, ROWS, width) is is_whole
    text = drawn(fitted(COLUMNS, ROWS, width), width)
    assert ("NVIDIA Corporation" in text) is is_whole
    assert "2024-02-20" in text
    assert "left out" not in text


def test_what_has_no_room_is_named() -> None:
    text = " ".join(drawn(fitted(COLUMNS, ROWS, 34, more="; ask for less"), 34).split())
    assert "left out at 34 characters: date; ask for less" in text
    assert "NVID" in text


def test_a_wide_character_counts_for_two_cells() -> None:
    assert fits([Column("a")], [["株式"]], 8)
    assert not fits([Column("a")], [["株式"]], 7)


def test_records_name_each_value_and_obey_no_escape() -> None:
    (text,) = as_records(COLUMNS[:2], [["A\x1b[2J", "[bold]"]])
    assert text.plain == "symbol  A\\x1b[2J\nclose   [bold]\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (182.52000427246094, "182.52"), (0.1 + 0.2, "0.3"), (5.0, "5"), (-0.00004567, "-4.567e-05"),
        (0.0012345, "0.0012"), (1234567.891, "1234567.891"), (math.nan, "nan"), (math.inf, "inf"), (None, ""),
        (3, "3"), (True, "true"), ([1.25, None, "a"], "1.25, , a"), ([], ""),
        (dt.date(2024, 2, 20), "2024-02-20"), (2e15, "2e+15"), (0.0, "0"),
        (dt.datetime(2024, 2, 20, 21, 5, 3, 123456, tzinfo=dt.UTC), "2024-02-20 21:05:03+00:00"),
    ],
)  # fmt: skip
def test_a_number_is_rounded_to_what_a_person_reads(value: object, written: str) -> None:
    assert readable(value) == written


@pytest.mark.parametrize("width", [80, 240])
def test_alerts_are_told_whole_in_every_terminal(width: int) -> None:
    moment = dt.datetime(2024, 2, 21, 1, 9, tzinfo=dt.UTC)
    alert = Alert(
        7, "pipeline_never_started", "daily", "ComputeIndicators", dt.date(2024, 2, 20), "why", moment, moment, None
    )
    text = drawn(alerts.as_text([alert], width), width)
    for whole in ("pipeline_never_started", "ComputeIndicators", "2024-02-20 20:09 New York (2024-02-21 01:09 UTC)"):
        assert whole in text
    assert len(text.splitlines()) == (2 if width == 240 else 8)


def test_a_setting_is_told_whole_at_80_characters() -> None:
    address = "https://query2.finance.yahoo.com/" + "a" * 40
    text = drawn(config.as_table([Setting("yahoo", "base_url", address, "/etc/" + "b" * 60)]), 80)
    assert address in "".join(row[len("  base_url") :].split()[0] for row in text.splitlines()[2:])
