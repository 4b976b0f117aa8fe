"""Which rows the scans look at, and what stands in them."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from pipeline.database.connection import writing
from pipeline.watchlist.day_view import create_day_view
from tests.support.stored_market import LAST, SESSIONS, fill

SYMBOL = "K20"


@pytest.fixture
def stored(data_dir: pathlib.Path) -> pathlib.Path:
    with writing() as connection:
        fill(connection, [SESSIONS[-2], LAST])
    return data_dir


@pytest.fixture
def seen(stored: pathlib.Path) -> Callable[..., dict[str, tuple[Any, ...]]]:
    """`seen("UPDATE ...", "close")`: by symbol, columns of the view after that statement."""

    def look(statement: str, columns: str = "close") -> dict[str, tuple[Any, ...]]:
        with writing() as connection:
            connection.execute(statement, [SYMBOL, LAST])
            create_day_view(connection, LAST)
            return {row[0]: row[1:] for row in connection.execute(f"SELECT symbol, {columns} FROM day_view").fetchall()}

    return look


@pytest.mark.parametrize("state", ["not_traded", "unknown", "failed"])
def test_a_bar_counts_for_a_session_when_it_was_delivered_for_it(
    seen: Callable[..., dict[str, tuple[Any, ...]]], state: str
) -> None:
    """A bar of a symbol that ended the session in another state is of an earlier answer, or of nobody knows what."""
    assert SYMBOL in seen("SELECT ?, ?::DATE")
    found = seen(f"UPDATE price_coverage SET state = '{state}' WHERE symbol = ? AND date = ?")
    assert SYMBOL not in found and len(found) > 30


def test_a_volume_has_no_ratio_to_a_mean_of_nothing(seen: Callable[..., dict[str, tuple[Any, ...]]]) -> None:
    """A symbol that was halted for thirty sessions: infinity would be its ratio, and the first of every scan."""
    columns = "volume_ratio, avg_volume_30, volume"
    found = seen("UPDATE technical_indicators SET avg_volume_30 = 0 WHERE symbol = ? AND date = ?", columns)
    assert found[SYMBOL][:2] == (None, 0.0)
    ratio, mean, volume = found["K21"]
    assert ratio == pytest.approx(volume / mean)


@pytest.mark.parametrize(("kept", "before"), [("K27", SESSIONS[-2]), ("K26", SESSIONS[-3])])
def test_a_session_that_the_source_lacked_is_not_the_one_before(
    tables: duckdb.DuckDBPyConnection, settings: Callable[..., None], kept: str, before: dt.date
) -> None:
    """One with less than `[quality] min_traded` of the bars of the later one: here 27 of 36."""
    settings("quality", min_traded=0.75)
    fill(tables, [LAST])
    tables.execute("DELETE FROM stock_data WHERE symbol > 'K36' OR (date = ? AND symbol > ?)", [SESSIONS[-2], kept])
    create_day_view(tables, LAST)
    assert tables.execute("SELECT previous FROM day_list WHERE wanted").fetchall() == [(before,)]


def test_the_view_of_a_session_is_the_same_alone_and_among_others(stored: pathlib.Path) -> None:
    with writing() as connection:
        create_day_view(connection, LAST)
        alone = connection.execute("FROM day_view ORDER BY symbol").fetchall()
        create_day_view(connection, SESSIONS[-2], LAST)
        assert connection.execute("FROM day_view WHERE date = ? ORDER BY symbol", [LAST]).fetchall() == alone
        assert len(alone) > 30
