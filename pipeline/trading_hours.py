"""When an exchange trades: its sessions, each with its open and its close, as exchange_calendars knows them.

That library brings pandas, which takes half a second in every process. So what it answered is kept in `data_dir`, for
its release, until it reaches less than 51 weeks ahead, which is after a week or so.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import pathlib
from typing import NamedTuple

from pipeline.config import storage
from pipeline.errors import ConfigurationError

FIRST_DAY = dt.date(1990, 1, 2)
#: The library's own answer reaches a year ahead; one that was kept reaches at least so far.
AHEAD = dt.timedelta(weeks=51)


class Hours(NamedTuple):
    """The moments of a session, in seconds since 1970 UTC."""

    opens: int
    closes: int


def trading_hours(code: str, today: dt.date) -> dict[dt.date, Hours]:
    """Every session of the exchange from 1990 to about a year from now, oldest first.

    Raises ConfigurationError for a code that exchange_calendars does not have.
    """
    path = _path(code)
    kept = _kept(path)
    if kept and max(kept) >= today + AHEAD:
        return kept
    known = _of_library(code)
    if storage().root.is_dir():  # a question makes no folder
        _keep(path, known)
    return known


def _of_library(code: str) -> dict[dt.date, Hours]:
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        calendar = exchange_calendars.get_calendar(code, start=FIRST_DAY.isoformat())
    except InvalidCalendarName as error:
        raise ConfigurationError(
            f"[market] calendar = {code}: exchange_calendars has no such exchange; NASDAQ's is XNAS"
        ) from error
    moments = (calendar.opens.astype("datetime64[s, UTC]"), calendar.closes.astype("datetime64[s, UTC]"))
    opens, closes = (series.astype("int64").tolist() for series in moments)
    return {day.date(): Hours(*hours) for day, *hours in zip(calendar.sessions, opens, closes, strict=True)}


def _path(code: str) -> pathlib.Path:
    release = importlib.metadata.version("exchange_calendars")
    return storage().root / "cache" / "trading_hours" / f"{code}-{release}.json"


def _kept(path: pathlib.Path) -> dict[dt.date, Hours]:
    """What an earlier process has kept; nothing where that cannot be read, as after a power cut."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        rows = json.loads(path.read_bytes())
        return {dt.date.fromordinal(day): Hours(*hours) for day, *hours in rows}
    return {}


def _keep(path: pathlib.Path, known: dict[dt.date, Hours]) -> None:
    """Keep them for others, where this user may write; whole or not at all, and not synced, since nothing is lost."""
    temporary = path.with_name(f".{path.name}!{os.getpid()}.partial")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps([[day.toordinal(), *hours] for day, hours in known.items()]))
        os.replace(temporary, path)
        for other in path.parent.glob(f"{path.name.partition('-')[0]}-*.json"):  # of a release that was there before
            if other != path:
                other.unlink()
