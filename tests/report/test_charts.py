"""A chart is drawn from its series, in few bytes, in the page's colours, and says what it shows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from pipeline.report.charts import COLOURS, CandleChart, Series

COUNT = 120


@pytest.fixture(scope="module")
def chart() -> CandleChart:
    return CandleChart()


def make_series(count: int = COUNT, seed: int = 1) -> Series:
    draw = random.Random(seed)
    close = np.cumprod([1 + draw.gauss(0, 0.02) for _ in range(count)]) * 50
    opened = np.concatenate([[50.0], close[:-1]])
    other = [close * factor for factor in (1.1, 1.0, 0.9)]
    return Series(
        [dt.date(2024, 1, 1) + dt.timedelta(days=number) for number in range(count)],
        opened, np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99, close, np.linspace(1e6, 3e6, count),
        *other, np.full(count, 2e6), np.linspace(20, 80, count), close / 50, close / 60, close / 50 - close / 60,
    )  # fmt: skip


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def paths(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    """The points of each path of a colour."""
    found = [path for path in parse(svg).iter("path") if f"var(--{colour})" in path.get("style", "")]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path.get("d", ""))] for path in found
    ]


def test_each_session_is_a_candle_at_its_prices(chart: CandleChart) -> None:
    series = make_series()
    svg = chart.draw(series, "AAA")
    (wicks,) = paths(svg, "wick")
    lows, highs = np.array(wicks[0::2]), np.array(wicks[1::2])
    assert len(wicks) == 2 * COUNT
    scale, offset = np.polyfit(series.low, lows[:, 1], 1)  # one straight scale, upside down as SVG has it
    assert scale < 0
    assert np.allclose(series.low * scale + offset, lows[:, 1], atol=0.2)
    assert np.allclose(series.high * scale + offset, highs[:, 1], atol=0.2)
    assert np.allclose(np.diff(lows[:, 0]), lows[1, 0] - lows[0, 0], atol=0.11)


def test_rising_and_falling_sessions_have_their_colours(chart: CandleChart) -> None:
    series = make_series()
    rising = int((series.close >= series.open).sum())
    svg = chart.draw(series, "AAA")
    assert [len(path) // 2 for path in paths(svg, "up")] == [rising, rising]  # price, volume
    assert [len(path) // 2 for path in paths(svg, "down")] == [COUNT - rising, COUNT - rising]


def test_chart_stands_on_its_own(chart: CandleChart) -> None:
    svg = chart.draw(make_series(), "AAA")
    assert not re.search(r"\bid=|url\(|href|<style|<script|http(?!://www\.w3\.org/2000/svg)", svg)
    assert not re.search("|".join(COLOURS.values()), svg)
    assert parse(svg).get("viewBox") == "0 0 480 430" and parse(svg).get("width") is None
    assert len(svg) < 30_000


def test_text_tells_the_last_values(chart: CandleChart) -> None:
    series = make_series()
    label = str(parse(chart.draw(series, "A&B <i>")).get("aria-label"))
    assert label.startswith("Chart of A&B <i>, 120 sessions to 2024-04-29")
    assert f"close {series.close[-1]:,.2f}" in label and "RSI 80.00" in label


@pytest.mark.parametrize("count", [1, 2, 30])
def test_young_symbol_has_a_chart(chart: CandleChart, count: int) -> None:
    nothing = np.full(count, np.nan)
    series = dataclasses.replace(
        make_series(count), bb_upper=nothing, bb_middle=nothing, bb_lower=nothing, avg_volume_30=nothing, rsi_14=nothing,
        macd=nothing, macd_signal=nothing, macd_hist=nothing,
    )  # fmt: skip
    svg = chart.draw(series, "NEW")
    assert len(paths(svg, "wick")[0]) == 2 * count
    assert "RSI not known yet" in svg and "nan" not in svg


def test_price_that_never_moves_has_a_chart(chart: CandleChart) -> None:
    flat = np.full(COUNT, 5.0)
    series = dataclasses.replace(
        make_series(), open=flat, high=flat, low=flat, close=flat, bb_upper=flat, bb_middle=flat, bb_lower=flat
    )
    assert "nan" not in chart.draw(series, "FLAT")


def test_one_figure_serves_all(chart: CandleChart) -> None:
    first = chart.draw(make_series(seed=1), "AAA")
    chart.draw(make_series(30, seed=2), "BBB")
    assert chart.draw(make_series(seed=1), "AAA") == first == CandleChart().draw(make_series(seed=1), "AAA")
