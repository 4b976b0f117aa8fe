"""The page of an evaluation: a table and a plot for each rule."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.config import storage
from pipeline.report.charts import COLOURS, POINTS_PER_INCH, as_element, as_svg
from pipeline.report.page import templates
from pipeline.version import code_version
from pipeline.watchlist.evaluation import HORIZONS, Evaluation, Outcome
from pipeline.watchlist.scans import CheckedScan

WIDTH, HEIGHT = 480, 220


def page_path() -> pathlib.Path:
    return storage().root / "reports" / "evaluation.html"


def render_evaluation(evaluation: Evaluation, declared: Sequence[CheckedScan], simulated: bool) -> str:
    """A page that needs nothing else."""
    outcomes = {rule: list(each) for rule, each in itertools.groupby(evaluation.outcomes, lambda outcome: outcome.rule)}
    plots = {rule: plot(each, evaluation.by_session) for rule, each in outcomes.items()}
    return (
        templates()
        .get_template("evaluation.html")
        .render(
            evaluation=evaluation,
            rules=declared,
            outcomes=outcomes,
            plots=plots,
            horizons=HORIZONS,
            simulated=simulated,
            version=code_version(),
        )
    )


def plot(outcomes: Sequence[Outcome], by_session: Sequence[dict[str, Any]]) -> Markup:
    """Left the mean excess of each horizon with its interval, right the excess of one session, added up over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / POINTS_PER_INCH, HEIGHT / POINTS_PER_INCH), dpi=POINTS_PER_INCH, frameon=False)
    _plot_intervals(figure.add_axes((0.09, 0.14, 0.3, 0.72)), outcomes)
    _plot_sum(figure.add_axes((0.5, 0.14, 0.46, 0.72)), outcomes[0].rule, by_session)
    return as_element(as_svg(figure), _describe(outcomes))


def _plot_intervals(panel: Any, outcomes: Sequence[Outcome]) -> None:
    _style(panel, "Excess by horizon, %")
    for place, outcome in enumerate(outcomes):
        if outcome.excess:
            mean, width = 100 * outcome.excess.mean, 100 * (outcome.excess.half_width or 0)
            panel.plot([place, place], [mean - width, mean + width], color=COLOURS["first"], linewidth=2, clip_on=False)
            panel.plot([place - 0.14, place + 0.14], [mean, mean], color=COLOURS["second"], linewidth=4, clip_on=False)
    panel.plot([-0.5, len(outcomes) - 0.5], [0, 0], color=COLOURS["wick"], linewidth=1, clip_on=False)
    panel.set_xticks(range(len(outcomes)), [str(outcome.horizon) for outcome in outcomes])
    panel.set_xlim(-0.5, len(outcomes) - 0.5)


def _plot_sum(panel: Any, rule: str, by_session: Sequence[dict[str, Any]]) -> None:
    _style(panel, "One session, added up, %")
    days = [row for row in by_session if row["rule"] == rule and row["horizon"] == HORIZONS[0]]
    panel.plot(
        range(len(days)),
        100 * np.cumsum([row["excess"] for row in days]),
        color=COLOURS["first"],
        linewidth=1.4,
        clip_on=False,
    )
    panel.plot([0, max(1, len(days) - 1)], [0, 0], color=COLOURS["wick"], linewidth=1, clip_on=False)
    firsts = [i for i in range(1, len(days)) if days[i]["date"].month != days[i - 1]["date"].month]
    shown = firsts[:: 1 + len(firsts) // 6]
    panel.set_xticks(shown, [f"{days[i]['date']:%b %y}" for i in shown])


def _style(panel: Any, title: str) -> None:
    for spine in panel.spines.values():
        spine.set_visible(False)
    panel.patch.set_visible(False)
    panel.tick_params(length=0, labelsize=10, labelcolor=COLOURS["text"])
    panel.grid(axis="y", color=COLOURS["grid"], linewidth=0.7, clip_on=False)
    panel.set_title(title, fontsize=11, color=COLOURS["text"], loc="left")


def _describe(outcomes: Sequence[Outcome]) -> str:
    parts = [
        f"{outcome.horizon} sessions: {100 * outcome.excess.mean:+.2f} % "
        + (f"plus or minus {100 * outcome.excess.half_width:.2f} %" if outcome.excess.half_width is not None else "of one block only")
        for outcome in outcomes if outcome.excess
    ]  # fmt: skip
    return f"Mean excess of the hits of {outcomes[0].rule}: {'; '.join(parts) or 'no hit whose horizon has passed'}."
