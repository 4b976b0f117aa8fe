"""Settings that cannot work, refused before a stage begins, with the nearest ones that can."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

import luigi

from pipeline.config import SECTIONS, storage
from pipeline.errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Bound:
    """The smallest and the largest value that can work, and why it must not be another."""

    least: float
    most: float = math.inf
    why: str = ""


#: Every other number is at least 0. Only what fails, deletes what is needed, or gives wrong results without saying so,
#: stands here: everything else is for the operator to choose.
BOUNDS: dict[tuple[str, str], Bound] = {
    ("market", "overlap_sessions"): Bound(
        2, why="the session itself and one before it, without which no split and no correction is noticed"
    ),
    ("market", "history_sessions"): Bound(1),
    ("market", "settle_minutes"): Bound(0, why="a session has no closing prices before its close"),
    ("storage", "memory_gb"): Bound(0.3, why="a day of 2,300 symbols does not fit into less"),
    ("indicators", "lookback"): Bound(
        250, why="of fewer bars RSI and MACD do not forget where they began, and differ from those of the whole history"
    ),
    ("indicators", "buckets"): Bound(1),
    ("quality", "final_hours"): Bound(
        1, 17, "a bar must be final before the next session closes, and not with its close"
    ),
    ("quality", "min_coverage"): Bound(0, 1, "it is a share"),
    ("quality", "min_traded"): Bound(0, 1, "it is a share"),
    ("quality", "max_universe_shrink"): Bound(0, 1, "it is a share"),
    ("quality", "max_universe_jump"): Bound(0),
    ("quality", "min_market_caps"): Bound(0, 1, "it is a share"),
    ("quality", "max_move"): Bound(1.01, why="every bar would be refused"),
    ("quality", "max_listing_age"): Bound(0),
    ("retention", "raw_days"): Bound(1, why="answers would be gone before their session is done"),
    ("retention", "report_days"): Bound(1, why="the page of the day would be gone with it"),
    ("retention", "log_days"): Bound(1, why="the logs of the run itself would be gone"),
    ("retention", "work_days"): Bound(1, why="what the run is at work on would be gone"),
    ("retention", "backups"): Bound(1, why="a damaged database could not be restored"),
    ("nasdaq", "min_symbols"): Bound(1),
    ("nasdaq", "timeout"): Bound(0.1),
    ("nasdaq", "max_seconds"): Bound(1),
    ("nasdaq", "max_mb"): Bound(0.001),
    ("nasdaq", "max_rows"): Bound(1),
    ("yahoo", "batch_size"): Bound(1),
    ("yahoo", "threads"): Bound(1),
    ("yahoo", "requests_per_second"): Bound(0.01),
    ("yahoo", "timeout"): Bound(0.1),
    ("yahoo", "max_mb"): Bound(0.001),
    ("quality", "gap_attempts"): Bound(1),
    ("quality", "outage_probe"): Bound(1),
    ("simulated", "companies"): Bound(1),
    ("redis", "timeout"): Bound(0.01),
    ("redis", "ttl_days"): Bound(1),
    ("redis", "bars"): Bound(1),
    ("redis", "watch_days"): Bound(1),
    ("redis", "list_length"): Bound(1),
    ("redis", "stream_length"): Bound(1),
    ("alerts", "timeout"): Bound(0.1),
    ("spark_runtime", "timeout_minutes"): Bound(1),
    ("publish", "timeout_minutes"): Bound(1),
}

#: In the path of a folder: ends a string for Spark's launcher, parts Java's class path, is a pattern for DuckDB, or the
#: value of a column for those who read the Parquet files below it.
MEANS_SOMETHING = re.compile(r"""['"\\:*?\[\]=\x00-\x1f\x7f]""")


def check_settings() -> None:
    """Raises ConfigurationError, which names every setting that cannot work, and the nearest value that can."""
    wrong = [sentence for section in SECTIONS for sentence in _wrong_in(section)]
    wrong += _wrong_folder()
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def _wrong_in(section: type[luigi.Config]) -> Iterator[str]:
    values = section()
    for name, parameter in section.get_params():
        if isinstance(parameter, luigi.IntParameter | luigi.FloatParameter):
            bound, value = BOUNDS.get((section.__name__, name), Bound(0)), getattr(values, name)
            if not bound.least <= value <= bound.most:
                yield _refused(section.__name__, name, value, bound)


def _wrong_folder() -> Iterator[str]:
    folder = str(storage().root)
    found = sorted(set(MEANS_SOMETHING.findall(folder)))
    if found:
        yield (
            f"[storage] data_dir = {folder!a}: Java, Spark or DuckDB take {' '.join(map(ascii, found))} in a path for "
            f"something else; {MEANS_SOMETHING.sub('_', folder)} can be used"
        )


def _refused(section: str, name: str, value: float, bound: Bound) -> str:
    near = f"at least {bound.least:g}" if not value >= bound.least else f"at most {bound.most:g}"
    return f"[{section}] {name} = {value:g}: it must be {near}{bound.why and f' ({bound.why})'}"
