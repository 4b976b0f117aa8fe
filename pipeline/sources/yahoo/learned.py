"""The pace that the source took, kept from run to run: the next run begins with it instead of being refused anew."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import pathlib

from pipeline import calendar
from pipeline.config import storage
from pipeline.host.files import write_text
from pipeline.sources.yahoo.pacing import Pace


@dataclasses.dataclass(frozen=True)
class Learned:
    """Requests a second that a run may begin with, below the configured limit, and when that was learned."""

    rate: float
    at: dt.datetime


def learned_path() -> pathlib.Path:
    return storage().root / "raw" / "pace.json"


def learned() -> Learned | None:
    """What the last run has left; None when the source took the configured pace, or the file cannot be read."""
    try:
        said = json.loads(learned_path().read_text(encoding="utf-8"))
        found = Learned(float(said["rate"]), dt.datetime.fromisoformat(said["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.rate > 0 else None


def first_rate(limit: float) -> float:
    """Requests a second that a run begins with."""
    found = learned()
    return min(limit, found.rate) if found else limit


def keep(pace: Pace) -> None:
    """Keep the pace after the run's last complaint, or without one that which it has come back to."""
    rate = pace.complained_at or pace.rate
    if rate >= pace.limit:
        learned_path().unlink(missing_ok=True)
    else:
        learned_path().parent.mkdir(parents=True, exist_ok=True)
        write_text(learned_path(), json.dumps({"rate": rate, "at": calendar.now().isoformat()}) + "\n")
