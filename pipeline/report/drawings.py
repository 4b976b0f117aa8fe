"""Small drawings in the page itself, as SVG: for rows, for print, and for readers without a script."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from markupsafe import Markup, escape

#: Sessions of the small chart in a row, and its measures.
SPARK, SPARK_STEP, SPARK_HEIGHT = 60, 4, 48
WIDTH, HEIGHT = 480, 200


def sparkline(closes: Sequence[float]) -> Markup:
    """A line of closes with a dot at the last one; what it says stands in the row beside it."""
    if not closes:
        return Markup("")
    heights = [round(y) for y in _scaled(closes, min(closes), max(closes), SPARK_HEIGHT)]
    steps = "".join(f"h{SPARK_STEP}" if b == a else f"l{SPARK_STEP} {b - a}" for a, b in itertools.pairwise(heights))
    direction = "rise" if closes[-1] >= closes[0] else "fall"
    width = SPARK_STEP * (len(closes) - 1)
    return Markup(
        f'<svg class="spark {direction}" viewBox="-4 -6 {width + 12} {SPARK_HEIGHT + 12}" preserveAspectRatio="none" '
        f'aria-hidden="true"><path d="M0 {heights[0]}{steps.replace(" -", "-")}"/>'
        f'<circle cx="{width}" cy="{heights[-1]}" r="5"/></svg>'
    )


def intervals(bars: Sequence[tuple[str, float, float | None]], text: str) -> Markup:
    """Means with the half width of their intervals, side by side over their labels, in per cent; and a line at zero."""
    reach = max([abs(mean) + (width or 0) for _, mean, width in bars] + [1e-9])
    middle, step = HEIGHT / 2, WIDTH / (2 * max(1, len(bars)))
    drawn = [f'<path class="axis" d="M0 {middle:g}H{WIDTH / 2:g}"/>']
    for number, (label, mean, width) in enumerate(bars):
        x, y = step * (number + 0.5), middle - mean / reach * (middle - 26)
        if width is not None:
            half = width / reach * (middle - 26)
            drawn.append(f'<path class="range" d="M{x:.1f} {y - half:.1f}V{y + half:.1f}"/>')
        drawn.append(f'<path class="mean" d="M{x - 9:.1f} {y:.1f}h18"/>')
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(label)}</text>')
    drawn.append(f'<text x="0" y="12">±{reach:.2g} %</text>')
    return _figure(WIDTH // 2, "".join(drawn), text)


def running_sum(values: Sequence[float], first: str, last: str, text: str) -> Markup:
    """A line through the values, over its first and last label; and a line at zero."""
    low, high = min([0.0, *values]), max([0.0, *values])
    step = WIDTH / max(1, len(values) - 1)
    points = [(round(number * step, 1), y + 16) for number, y in enumerate(_scaled(values, low, high, HEIGHT - 40))]
    (zero,) = _scaled([0.0], low, high, HEIGHT - 40)
    return _figure(
        WIDTH,
        f'<path class="axis" d="M0 {zero + 16:g}H{WIDTH}"/><path class="line" d="{_path(points)}"/>'
        f'<text x="0" y="{HEIGHT - 4}">{escape(first)}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{escape(last)}</text>'
        f'<text x="0" y="12">{high:+.2g} %</text>'
        f'<text x="{WIDTH}" y="12" text-anchor="end">{low:+.2g} %, lowest</text>',
        text,
    )


def _scaled(values: Sequence[float], low: float, high: float, height: int) -> list[float]:
    """Heights from the top, the highest value at 0."""
    span = high - low if high > low else 1.0
    return [round((high - value) / span * height, 1) if high > low else height / 2 for value in values]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def _figure(width: int, drawn: str, text: str) -> Markup:
    return Markup(f'<svg role="img" aria-label="{escape(text)}" viewBox="0 -2 {width} {HEIGHT + 4}">{drawn}</svg>')
