"""Laws of the whole pipeline on a small market: order does not matter, reruns change nothing, outside oracles agree."""

import shutil

import duckdb
import numpy as np
import pytest
import talib

from pipeline import DailyPipeline
from pipeline.database.connection import duplicated_rows, reading, writing
from tests.conftest import forget
from tests.support.frozen import assert_frozen_tables
from tests.support.runs import assert_same, results, run_here, stray_files
from tests.support.small_market import FROZEN_WEEK, GONE, NEW, SPLIT, SPLIT_DAY, SYMBOLS, THIN, UNKNOWN

WEEK = FROZEN_WEEK


def run_all(order):
    return all(run_here(DailyPipeline(date=day)) for day in order)


@pytest.mark.long
@pytest.mark.slow
def test_another_order_of_the_sessions_gives_the_same_tables(here, data_dir):
    assert run_all([WEEK[place] for place in (2, 4, 0, 3, 1)])
    assert_frozen_tables("week.json", results(data_dir))
    with reading() as connection:
        assert duplicated_rows(connection) == {}
    assert stray_files(data_dir) == []


@pytest.mark.slow
def test_the_sessions_all_at_once_give_the_same_tables(here, data_dir):
    assert run_here(*(DailyPipeline(date=day) for day in WEEK))
    assert_frozen_tables("week.json", results(data_dir))


@pytest.mark.long
@pytest.mark.slow
def test_a_week_that_was_lived_through_agrees_with_the_source_at_its_end(here, data_dir):
    """Day by day with the source moving on: a split, a new listing, a company that leaves, a bar put right later."""
    for day in WEEK:
        here.as_of = day
        if day == WEEK[2]:
            here.corrections["S20", WEEK[1]] = 1.01
        assert run_all([day])
    with reading() as connection:
        stored = dict(
            connection.execute(
                "SELECT symbol, list((date, close, volume) ORDER BY date) FROM stock_data GROUP BY symbol"
            ).fetchall()
        )
        states = connection.execute(
            "SELECT symbol, list(state ORDER BY date) FROM price_coverage GROUP BY symbol"
        ).fetchall()
        splits = connection.execute("SELECT symbol, date, value FROM corporate_actions WHERE kind = 'split'").fetchall()
    for symbol, bars in stored.items():
        if symbol == GONE:
            continue
        wanted = {day: here.bar(symbol.replace("/", "-"), day) for day in here.days(symbol.replace("/", "-"))}
        assert [day for day, _, _ in bars] == [day for day in wanted if day >= bars[0][0]], symbol
        assert all((close, volume) == wanted[day][3:] for day, close, volume in bars), symbol
    states = dict(states)
    assert splits == [(SPLIT, SPLIT_DAY, 4.0)]
    assert states[NEW] == ["stored"] * 4  # from its second day in the market on
    assert states[GONE] == ["stored"] * 2
    assert states[UNKNOWN] == ["unknown"] * 5
    assert set(states[THIN]) == {"stored", "not_traded"}
    assert stored.keys() == set(SYMBOLS) - {UNKNOWN, "S23"}
    assert_indicators_are_talibs(WEEK)


def assert_indicators_are_talibs(days):
    """TA-Lib itself over the whole stored history of each symbol."""
    with reading() as connection:
        bars = connection.execute(
            "SELECT symbol, list(date ORDER BY date), list(close ORDER BY date), list(volume::DOUBLE ORDER BY date) "
            "FROM stock_data GROUP BY symbol"
        ).fetchall()
        names = (
            "rsi_14",
            "macd",
            "macd_signal",
            "macd_hist",
            "bb_upper",
            "bb_middle",
            "bb_lower",
            "bb_position",
            "sma_20",
            "sma_50",
            "avg_volume_30",
        )
        rows = connection.execute(f"SELECT symbol, date, {', '.join(names)} FROM technical_indicators").fetchall()
    found = {(symbol, date): values for symbol, date, *values in rows}
    checked = 0
    for symbol, dates, closes, volumes in bars:
        close, volume = np.array(closes), np.array(volumes)
        upper, middle, lower = talib.BBANDS(close, 20, 2, 2, 0)
        wanted = np.column_stack([
            talib.RSI(close, 14), *talib.MACD(close, 12, 26, 9),
            upper, middle, lower, (close - lower) / (upper - lower),
            talib.SMA(close, 20), talib.SMA(close, 50), np.r_[np.nan, talib.SMA(volume, 30)[:-1]],
        ])  # fmt: skip
        for place, date in enumerate(dates):
            if (symbol, date) in found and date in days:
                values = np.array([np.nan if value is None else value for value in found[symbol, date]], dtype=float)
                np.testing.assert_allclose(values, wanted[place], rtol=1e-9, atol=1e-9, err_msg=f"{symbol} {date}")
                checked += 1
    assert checked > 50 * len(days)


#: The three scans as one plain query each, over the tables alone.
SCANS = """
    WITH day AS (
        SELECT b.*, i.rsi_14, i.bb_lower, i.avg_volume_30, s.market_cap
        FROM stock_data b JOIN technical_indicators i USING (symbol, date)
        JOIN symbol_snapshots s ON s.symbol = b.symbol AND s.date = $day
        WHERE b.date = $day AND s.market_cap > 100e6 AND s.security_type NOT IN ('warrant', 'unit', 'right', 'note')
    ), found AS (
        (SELECT symbol, 1 AS priority FROM day WHERE rsi_14 < 30 AND market_cap > 500e6 AND volume > 1.5 * avg_volume_30
         ORDER BY market_cap DESC LIMIT 20)
        UNION ALL
        (SELECT symbol, 2 FROM day WHERE close <= 1.02 * bb_lower AND market_cap > 1e9
         ORDER BY bb_lower - close DESC LIMIT 15)
        UNION ALL
        (SELECT symbol, 3 FROM day WHERE volume > 3 * avg_volume_30 AND close > 1.02 * open
         ORDER BY volume / avg_volume_30 DESC LIMIT 10)
    )
    SELECT symbol, min(priority) FROM found GROUP BY symbol ORDER BY ALL
"""


def test_the_watchlist_is_that_of_plain_queries(here, data_dir):
    here.as_of = WEEK[2]
    assert run_all([WEEK[2]])
    with duckdb.connect(str(data_dir / "stock_data.duckdb"), read_only=True) as connection:
        wanted = connection.execute(SCANS, {"day": WEEK[2]}).fetchall()
        found = connection.execute("SELECT symbol, priority FROM daily_watchlist ORDER BY ALL").fetchall()
    assert len(wanted) > 5
    assert found == wanted
    assert_indicators_are_talibs([WEEK[2]])


def test_everything_done_again_gives_the_same_tables_without_a_request(here, data_dir):
    here.as_of = WEEK[2]
    assert run_all([WEEK[2]])
    tables, asked = results(data_dir), here.total
    shutil.rmtree(data_dir / "markers")
    with writing() as connection:
        connection.execute("DELETE FROM table_updates")
    forget()
    assert run_all([WEEK[2]])
    assert_same(results(data_dir), tables)
    assert here.total == asked
    assert here.listings == 1


def test_a_lost_database_comes_back_from_what_was_received(here, data_dir):
    here.as_of = WEEK[2]
    assert run_all([WEEK[2]])
    tables, asked = results(data_dir), here.total
    (data_dir / "stock_data.duckdb").unlink()
    forget()
    assert run_all([WEEK[2]])
    assert_same(results(data_dir), tables)
    assert here.total == asked
