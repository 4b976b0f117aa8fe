"""Charts of a report page: SVG by matplotlib, made small, and coloured by the page's own style sheet.

Making a figure costs matplotlib 70 ms, drawing other data into it 14: a figure serves all symbols of a page.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

Values = npt.NDArray[np.float64]

#: Colours that matplotlib draws with, and the variables of the page's style sheet that they stand for.
COLOURS = {
    "text": "#100001", "grid": "#100002", "wick": "#100003", "up": "#100004", "down": "#100005", "band": "#100006",
    "first": "#100007", "second": "#100008", "bar": "#100009",
}  # fmt: skip
WIDTH, HEIGHT, POINTS_PER_INCH = 480, 430, 72
#: Bottom, height and label of each panel; the first two as shares of the figure.
PANELS = (
    (0.50, 0.48, "Price, Bollinger bands 20, 2"),
    (0.35, 0.13, "Volume, mean of 30 before"),
    (0.20, 0.13, "RSI 14"),
    (0.05, 0.13, "MACD 12, 26, 9"),
)


@dataclasses.dataclass(frozen=True)
class Series:
    """A symbol's sessions, oldest first: dollars, shares, and indicators with NaN where they have no value."""

    dates: Sequence[dt.date]
    open: Values
    high: Values
    low: Values
    close: Values
    volume: Values
    bb_upper: Values
    bb_middle: Values
    bb_lower: Values
    avg_volume_30: Values
    rsi_14: Values
    macd: Values
    macd_signal: Values
    macd_hist: Values

    def describe(self, symbol: str) -> str:
        """What a reader who does not see the chart is told."""
        change = self.close[-1] / self.close[0] - 1
        return (
            f"Chart of {symbol}, {len(self.dates)} sessions to {self.dates[-1]}: close {self.close[-1]:,.2f}, {change:+.1%} since "
            f"{self.dates[0]}, between {np.min(self.low):,.2f} and {np.max(self.high):,.2f}; Bollinger bands "
            f"{_spoken(self.bb_lower[-1])} to {_spoken(self.bb_upper[-1])}; volume {self.volume[-1]:,.0f}, mean of the 30 sessions "
            f"before {_spoken(self.avg_volume_30[-1], ',.0f')}; RSI {_spoken(self.rsi_14[-1])}; MACD histogram "
            f"{_spoken(self.macd_hist[-1])}."
        )


def _spoken(value: float, form: str = ",.2f") -> str:
    return "not known yet" if np.isnan(value) else format(value, form)


class CandleChart:
    """Candlesticks with bands, volume, RSI and MACD, in four panels one above the other."""

    def __init__(self) -> None:
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter

        self.figure = Figure(
            figsize=(WIDTH / POINTS_PER_INCH, HEIGHT / POINTS_PER_INCH), dpi=POINTS_PER_INCH, frameon=False
        )
        self.price, self.volume, self.rsi, self.macd = (self._panel(*panel) for panel in PANELS)
        self.candles = [_line(self.price, "wick", 1), _line(self.price, "up", 2.6), _line(self.price, "down", 2.6)]
        self.bands = [_line(self.price, "band", 1.2) for _ in range(3)]
        self.volumes = [
            _line(self.volume, "up", 2.6),
            _line(self.volume, "down", 2.6),
            _line(self.volume, "second", 1.4),
        ]
        self.rsi_line = _line(self.rsi, "first", 1.4)
        self.macd_lines = [
            _line(self.macd, "bar", 2.6),
            _line(self.macd, "first", 1.4),
            _line(self.macd, "second", 1.4),
        ]
        self.volume.yaxis.set_major_formatter(EngFormatter(sep=""))
        self.rsi.set_ylim(0, 100)
        self.rsi.set_yticks([30, 70])

    def _panel(self, bottom: float, height: float, label: str) -> Axes:
        from matplotlib.ticker import MaxNLocator

        panel = self.figure.add_axes((0.01, bottom, 0.88, height))
        for spine in panel.spines.values():
            spine.set_visible(False)
        panel.patch.set_visible(False)
        panel.set_title("", y=1)  # a place for each text that is not there: looking for one takes a sixth of the time
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_label_coords(0, 0)
        panel.tick_params(length=0, labelsize=11, labelcolor=COLOURS["text"])
        panel.yaxis.tick_right()
        panel.yaxis.set_major_locator(MaxNLocator(4 if height > 0.2 else 2))
        panel.ticklabel_format(axis="y", useOffset=False, style="plain")
        panel.xaxis.set_visible(label == PANELS[-1][2])
        panel.grid(axis="y", color=COLOURS["grid"], linewidth=0.7, clip_on=False)
        panel.text(
            0.01, 0.97, label, fontsize=11, color=COLOURS["text"], transform=panel.transAxes, verticalalignment="top"
        )
        return panel

    def draw(self, series: Series, symbol: str) -> Markup:
        """The chart as an SVG element with a text for those who do not see it."""
        at = np.arange(len(series.dates), dtype=float)
        self._draw_price(series, at)
        self._draw_volume(series, at)
        self.rsi_line.set_data(at, series.rsi_14)
        self._draw_macd(series, at)
        self._mark_months(series.dates)
        return as_element(as_svg(self.figure), series.describe(symbol))

    def _draw_price(self, series: Series, at: Values) -> None:
        rises = series.close >= series.open
        _fill(self.candles[0], at, series.low, series.high)
        _fill(self.candles[1], at[rises], series.open[rises], series.close[rises])
        _fill(self.candles[2], at[~rises], series.open[~rises], series.close[~rises])
        for line, values in zip(self.bands, (series.bb_upper, series.bb_middle, series.bb_lower), strict=True):
            line.set_data(at, values)
        low, high = _span(series.low, series.high, series.bb_lower, series.bb_upper)
        self.price.set_ylim(low, high + (high - low) * 0.12)  # room for the label

    def _draw_volume(self, series: Series, at: Values) -> None:
        rises = series.close >= series.open
        nothing = np.zeros_like(at)
        _fill(self.volumes[0], at[rises], nothing[rises], series.volume[rises])
        _fill(self.volumes[1], at[~rises], nothing[~rises], series.volume[~rises])
        self.volumes[2].set_data(at, series.avg_volume_30)
        self.volume.set_ylim(0, _span(series.volume, series.avg_volume_30)[1] * 1.35)

    def _draw_macd(self, series: Series, at: Values) -> None:
        _fill(self.macd_lines[0], at, np.zeros_like(at), series.macd_hist)
        self.macd_lines[1].set_data(at, series.macd)
        self.macd_lines[2].set_data(at, series.macd_signal)
        low, high = _span(series.macd, series.macd_signal, series.macd_hist, np.zeros(1))
        self.macd.set_ylim(low, high + (high - low) * 0.5)

    def _mark_months(self, dates: Sequence[dt.date]) -> None:
        firsts = [i for i in range(1, len(dates)) if dates[i].month != dates[i - 1].month]
        labels = [f"{dates[i]:%b}" if dates[i].month > 1 else f"{dates[i]:%Y}" for i in firsts]
        for panel in (self.price, self.volume, self.rsi, self.macd):
            panel.set_xlim(-1, len(dates))
        self.macd.set_xticks(firsts, labels)


def _line(panel: Axes, colour: str, width: float) -> Line2D:
    # Not clipped: each clip path would be a definition with an id, and a page may have an id only once.
    return panel.plot([], [], color=COLOURS[colour], linewidth=width, solid_capstyle="butt", clip_on=False)[0]


def _fill(line: Line2D, at: Values, start: Values, end: Values) -> None:
    """Make the line a row of vertical strokes: one path for all of them is a tenth of the size of a path each."""
    x, y = np.repeat(at, 3), np.full(3 * len(at), np.nan)
    y[0::3], y[1::3] = start, end
    line.set_data(x, y)


def _span(*values: Values) -> tuple[float, float]:
    """Smallest and largest of the values, apart in any case, so that an axis can be made of them."""
    every = np.concatenate([each[np.isfinite(each)] for each in values])
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    return (low, high) if high > low else (low - 1, high + 1)


def as_svg(figure: Any) -> str:
    """matplotlib's SVG file of a figure, its texts as texts."""
    import matplotlib

    page = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "path.simplify": False}):
        figure.savefig(page, format="svg", metadata={"Date": None})
    return page.getvalue()


_UNNEEDED = re.compile(
    r"(?<=<svg) [^>]*?(?= viewBox)|<metadata>.*?</metadata>|<defs>.*?</defs>|<!--.*?-->|"
    r' (?:id|transform|version|xmlns)="[^"]*"|font-(?:size|family): [^;]*; |stroke-linecap: square',
    re.DOTALL,
)
_EMPTY = re.compile(r"<g/>|\s*\n\s*|(?<=>)\s+(?=<)")
_STEP = re.compile(r" ?([ML]) (?=[\d.-])")
_HUNDREDTHS = re.compile(
    r"(?<=\d\.\d)\d+(?=[ \"]|[LM][\d-])"
)  # of coordinates, and not of a label such as 0.25 or 1.25M
_COLOUR = re.compile("|".join(COLOURS.values()))
_VARIABLES = {colour: f"var(--{name})" for name, colour in COLOURS.items()}


def as_element(svg: str, text: str) -> Markup:
    """matplotlib's file as an element of a page: no ids, no size, exact to a tenth, in the page's colours."""
    body = _UNNEEDED.sub("", svg[svg.index("<svg") :])
    body = _STEP.sub(r"\1", _EMPTY.sub("", body))
    body = _HUNDREDTHS.sub("", body)
    body = _COLOUR.sub(lambda colour: _VARIABLES[colour[0]], body)
    return Markup(body.replace("<svg", f'<svg role="img" aria-label="{escape(text)}" ', 1).strip())
