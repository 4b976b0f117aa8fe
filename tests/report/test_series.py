"""Charts' numbers: computed once, and the same again when a page's block of them is read back."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import pathlib
import zlib
from typing import Any

import numpy as np
import pytest

from pipeline.database.connection import reading, writing
from pipeline.report.drawings import intervals, running_sum, sparkline
from pipeline.report.series import Series, load_bars, packed, series
from tests.support.stored_market import GONE, LAST, SESSIONS, fill

#: Sessions for which the block tells a mean or a band, since their window begins before the chart does.
FIRST = {"bb_upper": 19, "bb_middle": 19, "sma_50": 49, "avg_volume_30": 30}


@pytest.fixture
def charted(data_dir: pathlib.Path) -> dict[str, Series]:
    with writing() as connection:
        fill(connection, [LAST])
    with reading() as connection:
        return series(load_bars(connection, ["K01", GONE], [LAST]).until(LAST, ["K01", GONE]))


def unpacked(text: str) -> dict[str, Any]:
    """Read back without our code: sums of steps, over the scales that the block names."""
    found = json.loads(zlib.decompress(base64.b64decode(text)))
    dates = np.cumsum(found["dates"])
    symbols = {}
    for symbol, one in found["symbols"].items():
        columns = {
            name: sums(steps)
            for name, steps in one.items()
            if isinstance(steps, list) and name not in ("gap", "above", "below")
        }
        close = columns["close"]
        opened = np.concatenate([close[:1], close[:-1]]) + one["gap"]
        columns |= {
            "open": opened,
            "high": np.maximum(opened, close) + one["above"],
            "low": np.minimum(opened, close) - one["below"],
        }
        columns["dates"] = dates[columns["at"].astype(int)]
        symbols[symbol] = columns | {"tick": one["tick"], "unit": one["unit"]}
    return symbols


def sums(steps: list[int | None]) -> np.ndarray:
    whole = np.cumsum([step or 0 for step in steps]).astype(float)
    whole[[step is None for step in steps]] = np.nan
    return whole


def test_the_block_of_a_page_says_the_same_as_the_series(charted: dict[str, Series]) -> None:
    found = unpacked(packed(charted))
    assert found.keys() == charted.keys()
    for symbol, each in charted.items():
        one = found[symbol]
        epoch = dt.date(1970, 1, 1)
        assert [epoch + dt.timedelta(days=int(day)) for day in one["dates"]] == each.dates.tolist()
        for name in ("open", "high", "low", "close", "bb_upper", "bb_middle", "sma_50", "macd", "macd_signal"):
            values = getattr(each, name)[: FIRST.get(name)]
            assert np.allclose(one[name] / one["tick"], values, atol=0.6 / one["tick"], equal_nan=True), name
        for name in ("volume", "avg_volume_30"):
            values = getattr(each, name)[: FIRST.get(name)]
            assert np.allclose(one[name] * one["unit"], values, atol=0.6 * one["unit"], equal_nan=True), name
        assert np.allclose(one["rsi_14"] / 10, each.rsi_14, atol=0.06, equal_nan=True)


def test_bars_of_several_sessions_tell_of_each_what_its_own_do(charted: dict[str, Series], settings) -> None:
    """As many as are shown and as indicators look back over, up to the session, also where others are later."""
    settings("indicators", lookback=30)
    earlier, wanted = SESSIONS[-41], ["K01", GONE, "nobody"]
    with reading() as connection:
        together = load_bars(connection, ["K02", *wanted], [LAST, earlier], shown=7)
        alone = load_bars(connection, wanted, [earlier], shown=7)
    bars = together.until(earlier, wanted, shown=7)
    assert bars == alone.until(earlier, wanted, shown=7)
    assert bars["symbol"].to_pylist() == ["K01"] * 37 + [GONE] * 37
    assert bars["date"].to_pylist()[:37] == list(SESSIONS[-77:-40])
    assert bars["wanted"].to_pylist() == ([False] * 30 + [True] * 7) * 2


def test_series_end_with_the_session_or_the_last_bar(charted: dict[str, Series]) -> None:
    assert charted["K01"].dates[-1] == LAST
    assert charted[GONE].dates[-1] == SESSIONS[-12]
    assert np.isnan(charted["K01"].sma_50[48])
    assert np.isfinite(charted["K01"].sma_50[49])


@pytest.mark.parametrize("price", [0.0004, 0.8, 12.0, 640.0, 700_000.0])
def test_a_price_keeps_four_digits(charted: dict[str, Series], price: float) -> None:
    flat = np.full(3, price)
    each = dataclasses.replace(
        charted["K01"], dates=charted["K01"].dates[:3],
        **{field.name: flat for field in dataclasses.fields(Series) if field.name != "dates"},
    )  # fmt: skip
    one = unpacked(packed({"X": each}))["X"]
    assert np.allclose(one["close"] / one["tick"], price, rtol=1e-3)


def test_a_spark_is_short_and_ends_with_a_dot() -> None:
    assert sparkline([]) == ""
    drawn = sparkline([1.0, 3.0, 2.0])
    assert 'd="M0 48l4-48l4 24"' in drawn
    assert 'cx="8" cy="24"' in drawn
    assert "rise" in drawn
    assert "fall" in sparkline([2.0, 1.0])
    assert 'd="M0 24h4"' in sparkline([5.0, 5.0])


def test_drawings_of_an_evaluation_tell_what_they_show() -> None:
    assert 'aria-label="a &lt;b&gt;"' in intervals([("1 session", 0.5, 0.2), ("5 sessions", -1.0, None)], "a <b>")
    assert intervals([("1 session", 0.5, 0.2), ("5 sessions", -1.0, None)], "").count('class="range"') == 1
    assert "nan" not in running_sum([0.0], "a", "b", "") + intervals([], "")
