"""The page of an evaluation: a table and two plots for each rule."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from pipeline.report.drawings import intervals, running_sum
from pipeline.report.page import templates
from pipeline.version import code_version
from pipeline.watchlist.evaluation import HORIZONS, Evaluation, Outcome
from pipeline.watchlist.scans import CheckedScan


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
            scripts=(),
        )
    )


def plot(outcomes: Sequence[Outcome], by_session: Sequence[dict[str, Any]]) -> Markup:
    """The mean excess of each horizon with its interval, and the excess of one session, added up over time."""
    bars = [
        (f"{outcome.horizon} sessions", 100 * outcome.excess.mean, _half_width(outcome))
        for outcome in outcomes if outcome.excess
    ]  # fmt: skip
    days = [row for row in by_session if row["rule"] == outcomes[0].rule and row["horizon"] == HORIZONS[0]]
    sums = list(itertools.accumulate(100 * row["excess"] for row in days))
    if not sums:
        return Markup("")
    first, last = str(days[0]["date"]), str(days[-1]["date"])
    told = f"Excess of one session of {outcomes[0].rule}, added up from {first} to {last}: {sums[-1]:+.2f} %."
    return intervals(bars, _describe(outcomes)) + running_sum(sums, first, last, told)


def _half_width(outcome: Outcome) -> float | None:
    estimate = outcome.excess
    return (
        100 * (estimate.high - estimate.low) / 2
        if estimate and estimate.high is not None and estimate.low is not None
        else None
    )


def _describe(outcomes: Sequence[Outcome]) -> str:
    parts = [
        f"{outcome.horizon} sessions: {100 * outcome.excess.mean:+.2f} % "
        + (f"plus or minus {width:.2f} %" if (width := _half_width(outcome)) is not None
           else "of too few blocks for an interval")
        for outcome in outcomes if outcome.excess
    ]  # fmt: skip
    return f"Mean excess of the hits of {outcomes[0].rule}: {'; '.join(parts)}."
