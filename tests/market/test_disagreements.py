"""Closes that the listing of their session contradicts."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import pytest

from pipeline.market.load import store_answers
from tests.support.judging import answer, judged, list_symbol, store_bars

DAYS = [dt.date(2024, 2, day) for day in (14, 15, 16)]

Note = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def noted(tables: duckdb.DuckDBPyConnection, tmp_path: pathlib.Path) -> Note:
    """What is noted of AAA after an answer with these closes was stored: date, close, last sale, volumes."""

    def note(closes: Mapping[dt.date, float], **more: Any) -> list[tuple[Any, ...]]:
        evidence = judged(tables, tmp_path, [answer("AAA", closes, **more)])
        store_answers(evidence)
        return tables.execute(
            "SELECT date, close, last_sale, volume, listed_volume FROM price_disagreements ORDER BY date"
        ).fetchall()

    return note


def test_a_close_that_the_listing_contradicts_is_stored_and_noted(
    tables: duckdb.DuckDBPyConnection, noted: Note
) -> None:
    list_symbol(tables, "AAA", DAYS[1], 100.0)
    list_symbol(tables, "AAA", DAYS[2], 103.0, 3.0, volume=900)
    assert noted({DAYS[1]: 100.0, DAYS[2]: 102.0}) == [(DAYS[2], 102.0, 103.0, 1000, 900)]
    assert tables.execute("SELECT close FROM stock_data WHERE date = ?", [DAYS[2]]).fetchone() == (102.0,)


@pytest.mark.parametrize(("last_sale", "is_noted"), [(100.09, False), (100.11, True), (99.91, False), (99.89, True)])
def test_a_thousandth_is_none(tables: duckdb.DuckDBPyConnection, noted: Note, last_sale: float, is_noted: bool) -> None:
    list_symbol(tables, "AAA", DAYS[2], last_sale)
    assert bool(noted({DAYS[2]: 100.0})) is is_noted


def test_it_goes_when_the_source_comes_to_agree(tables: duckdb.DuckDBPyConnection, noted: Note) -> None:
    list_symbol(tables, "AAA", DAYS[2], 103.0)
    later = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
    assert noted({DAYS[1]: 100.0, DAYS[2]: 102.0}) != []
    assert noted({DAYS[1]: 100.0, DAYS[2]: 103.0}, at=later) == []


def test_a_listing_from_before_a_split_is_read_on_the_basis_of_the_bars(
    tables: duckdb.DuckDBPyConnection, noted: Note
) -> None:
    list_symbol(tables, "AAA", DAYS[0], 400.0)
    list_symbol(tables, "AAA", DAYS[1], 404.0, 4.0)
    list_symbol(tables, "AAA", DAYS[2], 102.0, 1.0)
    assert noted({DAYS[0]: 100.0, DAYS[1]: 101.0, DAYS[2]: 102.0}, splits={DAYS[2]: 4.0}) == []


def test_a_day_without_a_listing_tells_nothing(tables: duckdb.DuckDBPyConnection, noted: Note) -> None:
    store_bars(tables, "AAA", {DAYS[0]: 99.0})
    assert noted({DAYS[1]: 100.0, DAYS[2]: 102.0}) == []
