"""Numbers of the configuration that cannot work, refused before a stage begins, with the nearest ones that can."""

from __future__ import annotations

import dataclasses
import math

from pipeline.config import SECTIONS
from pipeline.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Bound:
    """The smallest and the largest value that can work, and why it must not be another."""

    least: float
    most: float = math.inf
    why: str = ""


#: Only what fails, or gives wrong results without saying so, stands here: everything else is for the operator to choose.
BOUNDS: dict[tuple[str, str], Bound] = {
    ("market", "overlap_sessions"): Bound(
        2, why="the session itself and one before it, without which no split and no correction is noticed"
    ),
    ("market", "history_sessions"): Bound(1),
    ("market", "settle_minutes"): Bound(0, why="a session has no closing prices before its close"),
    ("indicators", "lookback"): Bound(
        250, why="of fewer bars RSI and MACD do not forget where they began, and differ from those of the whole history"
    ),
    ("indicators", "buckets"): Bound(1),
    ("quality", "min_coverage"): Bound(0, 1, "it is a share"),
    ("quality", "min_traded"): Bound(0, 1, "it is a share"),
    ("quality", "max_universe_shrink"): Bound(0, 1, "it is a share"),
    ("quality", "max_universe_jump"): Bound(0),
    ("quality", "min_market_caps"): Bound(0, 1, "it is a share"),
    ("quality", "max_move"): Bound(1.01, why="every bar would be refused"),
    ("quality", "max_listing_age"): Bound(0),
    ("retention", "raw_days"): Bound(1, why="answers would be gone before their session is done"),
    ("retention", "backups"): Bound(1),
    ("spark_runtime", "timeout_minutes"): Bound(1),
}


def check_settings() -> None:
    """Raises ConfigurationError, which names every setting that cannot work, and the nearest value that can."""
    sections = {section.__name__: section for section in SECTIONS}
    values = {name: sections[name]() for name, _ in BOUNDS}
    wrong = [
        _refused(section, name, value, bound)
        for (section, name), bound in BOUNDS.items()
        if not bound.least <= (value := getattr(values[section], name)) <= bound.most
    ]
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def _refused(section: str, name: str, value: float, bound: Bound) -> str:
    near = f"at least {bound.least:g}" if not value >= bound.least else f"at most {bound.most:g}"
    return f"[{section}] {name} = {value:g}: it must be {near}{bound.why and f' ({bound.why})'}"
