"""The kernel against tables worked out by hand, TA-Lib called directly, and laws that need neither."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import ROOT
from pipeline.indicators import kernel

FIRST = dt.date(2024, 1, 1)


def bars(symbol: str, closes, volumes=None, wanted=None) -> pa.Table:
    """Bars of one symbol on consecutive days; all rows wanted unless said otherwise."""
    count = len(closes)
    closes = [float(close) for close in closes]
    columns = {
        "symbol": [symbol] * count,
        "date": [FIRST + dt.timedelta(days=day) for day in range(count)],
        "open": closes,
        "high": [close * 1.01 for close in closes],
        "low": [close * 0.99 for close in closes],
        "close": closes,
        "volume": [int(volume) for volume in volumes] if volumes is not None else [1000 + day for day in range(count)],
        "wanted": wanted if wanted is not None else [True] * count,
    }
    return pa.table(columns, schema=kernel.INPUT_SCHEMA)


def random_walk(count: int, seed: int) -> np.ndarray:
    return 50 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, count)))


def values(table: pa.Table, column: str) -> list[float | None]:
    return table[column].to_pylist()


# --- by hand -----------------------------------------------------------------------------------------------------


def test_averages_of_a_straight_line_are_its_middle():
    """The mean of the last n of 1, 2, 3, ... is the newest minus (n - 1) / 2."""
    result = kernel.compute(bars("LINE", range(1, 61)))
    assert values(result, "sma_20") == [None] * 19 + [pytest.approx(day - 9.5) for day in range(20, 61)]
    assert values(result, "sma_50") == [None] * 49 + [pytest.approx(day - 24.5) for day in range(50, 61)]


def test_average_volume_leaves_out_the_day_itself():
    volumes = [100] * 30 + [1_000_000, 100]
    result = values(kernel.compute(bars("VOL", range(1, 33), volumes)), "avg_volume_30")
    assert result[:30] == [None] * 30
    assert result[30] == 100.0
    assert result[31] == pytest.approx((29 * 100 + 1_000_000) / 30)


def test_volumes_beyond_32_bits():
    result = values(kernel.compute(bars("BIG", range(1, 32), [2**40] * 31)), "avg_volume_30")
    assert result[-1] == float(2**40)


def test_rsi_by_wilder():
    """Alternating +2 and -1 from 14 changes on: gains average 1, losses 0.5, so 100 - 100 / (1 + 2); then smoothed."""
    closes = [100.0]
    for step in range(15):
        closes.append(closes[-1] + (2 if step % 2 == 0 else -1))
    result = values(kernel.compute(bars("RSI", closes)), "rsi_14")
    assert result[:14] == [None] * 14
    assert result[14] == pytest.approx(100 - 100 / 3)
    gain, loss = (1 * 13 + 2) / 14, 0.5 * 13 / 14
    assert result[15] == pytest.approx(100 - 100 / (1 + gain / loss))


def test_rsi_of_a_rise_without_a_fall_is_100():
    assert values(kernel.compute(bars("UP", range(1, 40))), "rsi_14")[14:] == [100.0] * 25


def test_bands_of_two_alternating_closes():
    """9 and 11 in turn: mean 10, population deviation 1, so bands at 8 and 12."""
    result = kernel.compute(bars("BAND", [9, 11] * 12)).slice(19)
    assert values(result, "bb_middle") == [pytest.approx(10)] * 5
    assert values(result, "bb_upper") == [pytest.approx(12)] * 5
    assert values(result, "bb_lower") == [pytest.approx(8)] * 5
    assert values(result, "bb_position") == [pytest.approx(p) for p in (0.75, 0.25, 0.75, 0.25, 0.75)]


@pytest.mark.parametrize("price", [10.1, 0.0003, 123456.789])
def test_a_band_without_width_has_no_position(price):
    """After a lively history, so that rounding errors are there to be mistaken for a width."""
    result = kernel.compute(bars("FLAT", [*random_walk(60, seed=3), *[price] * 25]))
    assert values(result, "bb_position")[-6:] == [None] * 6
    assert None not in values(result, "bb_upper")[-6:]


def test_macd_begins_when_its_signal_does():
    """26 bars for the slow average and 9 of its line: the 34th bar is the first with a value."""
    result = kernel.compute(bars("MACD", random_walk(40, seed=1)))
    for column in ("macd", "macd_signal", "macd_hist"):
        assert [value is None for value in values(result, column)] == [True] * 33 + [False] * 7


@pytest.mark.parametrize("count", [1, 2, 13, 14, 15, 19, 20, 25, 33, 34, 49, 50])
def test_a_short_history_gives_nulls(count):
    result = kernel.compute(bars("NEW", random_walk(count, seed=count)))
    full = {"rsi_14": 15, "macd": 34, "bb_middle": 20, "sma_20": 20, "sma_50": 50, "avg_volume_30": 31}
    for column, window in full.items():
        assert result[column].null_count == min(count, window - 1), column


# --- TA-Lib, called directly -------------------------------------------------------------------------------------


def test_equals_talib_symbol_by_symbol():
    walks = {"A": random_walk(120, 7), "NA": random_walk(70, 8), "TRUE": random_walk(400, 9)}
    result = kernel.compute(pa.concat_tables([bars(symbol, walk) for symbol, walk in walks.items()]))
    for symbol, walk in walks.items():
        mine = result.filter(pa.compute.equal(result["symbol"], symbol))
        upper, middle, lower = talib.BBANDS(walk, 20, 2, 2)
        line, signal, histogram = talib.MACD(walk, 12, 26, 9)
        expected = {
            "rsi_14": talib.RSI(walk, 14),
            "macd": line,
            "macd_signal": signal,
            "macd_hist": histogram,
            "bb_upper": upper,
            "bb_middle": middle,
            "bb_lower": lower,
            "sma_20": talib.SMA(walk, 20),
            "sma_50": talib.SMA(walk, 50),
        }
        for column, oracle in expected.items():
            got = mine[column].to_numpy()
            np.testing.assert_allclose(got, oracle, rtol=1e-12, err_msg=f"{symbol} {column}")


# --- the shape of the answer -------------------------------------------------------------------------------------


def test_only_wanted_rows_come_back_with_the_values_of_the_whole():
    walk = random_walk(80, 5)
    wanted = [day in (40, 79) for day in range(80)]
    table = pa.concat_tables([bars("A", walk, wanted=wanted), bars("B", walk, wanted=[False] * 80)])
    assert kernel.compute(table).equals(kernel.compute(bars("A", walk)).take([40, 79]))


def test_indicators_that_are_off_are_null_columns():
    result = kernel.compute(bars("A", random_walk(60, 5)), ["sma_20"])
    assert result.schema == kernel.OUTPUT_SCHEMA
    for column in kernel.COLUMNS:
        assert result[column].null_count == (19 if column == "sma_20" else 60)


def test_no_bars_no_rows():
    empty = kernel.compute(kernel.INPUT_SCHEMA.empty_table())
    assert empty.num_rows == 0
    assert empty.schema == kernel.OUTPUT_SCHEMA


def test_every_indicator_gives_its_columns_once():
    assert len(set(kernel.COLUMNS)) == len(kernel.COLUMNS)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_hole_in_the_prices_is_named(value):
    table = bars("HOLE", range(1, 31))
    closes = table["close"].to_pylist()
    closes[7] = value
    table = table.set_column(table.column_names.index("close"), "close", pa.array(closes, pa.float64()))
    with pytest.raises(kernel.BarsError, match="close for HOLE on 2024-01-08"):
        kernel.compute(table)


def test_rows_out_of_order_are_named():
    table = bars("A", range(1, 11))
    with pytest.raises(kernel.BarsError, match="not sorted .* A on 2024-01-02"):
        kernel.compute(table.take([0, 2, 1, 3]))
    with pytest.raises(kernel.BarsError, match="not sorted"):
        kernel.compute(table.take([0, 1, 1]))
    with pytest.raises(kernel.BarsError, match="not sorted .* A "):
        kernel.compute(pa.concat_tables([table, bars("B", range(1, 11)), table]))


def test_a_missing_column_and_an_unknown_name_are_named():
    with pytest.raises(kernel.BarsError, match="no column wanted"):
        kernel.compute(bars("A", [1]).drop_columns(["wanted"]))
    with pytest.raises(kernel.BarsError, match="unknown indicator 'rsi_15'; there are: rsi_14"):
        kernel.compute(bars("A", [1]), ["rsi_15"])


# --- laws --------------------------------------------------------------------------------------------------------

prices = st.floats(min_value=0.01, max_value=5000, allow_nan=False).map(lambda price: round(price, 4))


@settings(max_examples=60, deadline=None)
@given(closes=st.lists(prices, min_size=2, max_size=120), data=st.data())
def test_over_a_prefix_equals_the_prefix(closes, data):
    """No value depends on what comes later."""
    cut = data.draw(st.integers(min_value=1, max_value=len(closes)))
    whole, part = kernel.compute(bars("P", closes)), kernel.compute(bars("P", closes[:cut]))
    assert part.equals(whole.slice(0, cut))


@settings(max_examples=40, deadline=None)
@given(closes=st.lists(prices, min_size=20, max_size=80))
def test_bounds(closes):
    result = kernel.compute(bars("P", closes))
    assert all(-1e-9 <= value <= 100 + 1e-9 for value in values(result, "rsi_14") if value is not None)
    for upper, middle, lower in zip(*(values(result, f"bb_{b}") for b in ("upper", "middle", "lower")), strict=True):
        assert middle is None or lower - 1e-9 <= middle <= upper + 1e-9


# --- the module by itself ----------------------------------------------------------------------------------------


def test_stands_alone_and_does_not_load_pandas(tmp_path):
    """A worker has this one file, and half a second to lose in pandas."""
    (tmp_path / "kernel.py").write_bytes((ROOT / "pipeline" / "indicators" / "kernel.py").read_bytes())
    script = (
        "import sys; sys.modules['pandas'] = None\n"
        "import kernel; del sys.modules['pandas']\n"
        "import pyarrow.parquet as pq\n"
        "table = pq.ParquetFile('bars.parquet').read()\n"
        "assert kernel.compute(table).num_rows == 60\n"
        "assert 'pandas' not in sys.modules and 'pipeline' not in sys.modules\n"
    )
    pq.write_table(bars("A", random_walk(60, 1)), tmp_path / "bars.parquet")
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
