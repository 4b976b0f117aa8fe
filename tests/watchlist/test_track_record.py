"""What the hits of a list did within a week, against a plain calculation."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from pipeline.watchlist.track_record import HORIZON, TrackRecord, prepare, track_records
from tests.support.stored_market import LAST, SESSIONS, SYMBOLS, bars, fill

FOUND = SESSIONS[-1 - HORIZON]
EARLIER = SESSIONS[-2]
CLOSES = {(symbol, day): close for symbol, day, _, _, _, close, _ in bars()}


@pytest.fixture
def records(tables: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """K01 was found on a session whose week ends with LAST."""
    fill(tables, [FOUND, LAST])
    tables.execute(
        """
        INSERT INTO daily_watchlist (scan_date, symbol, scan_reason, priority, close_price, volume, rule_version)
        VALUES (?, 'K01', 'rule', 1, 1, 1, 'v1')
        """,
        [FOUND],
    )
    prepare(tables, [EARLIER, LAST])
    return tables


def test_a_hit_counts_on_the_evening_that_ends_its_week(records: duckdb.DuckDBPyConnection) -> None:
    assert track_records(records, EARLIER) == {}
    record = track_records(records, LAST)["v1"]
    assert isinstance(record, TrackRecord) and record.hits == 1


def test_the_excess_is_that_of_a_plain_calculation(records: duckdb.DuckDBPyConnection) -> None:
    """What the hit earned beyond the mean of the market, all returns cut at their first and last hundredth."""
    traded = [symbol for symbol in SYMBOLS if (symbol, FOUND) in CLOSES]
    earned = np.array([CLOSES.get((s, LAST), CLOSES[s, FOUND]) / CLOSES[s, FOUND] - 1 for s in traded])
    cut = np.clip(earned, *np.quantile(earned, [0.01, 0.99]))
    found = track_records(records, LAST)["v1"].excess
    assert found.mean == pytest.approx(cut[traded.index("K01")] - cut.mean())


def test_the_tables_may_be_made_twice_on_one_connection(records: duckdb.DuckDBPyConnection) -> None:
    before = track_records(records, LAST)
    prepare(records, [EARLIER, LAST])
    assert track_records(records, LAST) == before
