"""The date parameter that all tasks share: one session, or several when the scheduler merged tasks into one run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from pipeline.errors import InvalidDateError
from pipeline.luigi_private import LateDefaultDateParameter

Sessions = dt.date | tuple[dt.date, ...]


def as_tuple(value: Sessions) -> tuple[dt.date, ...]:
    """One date or several, as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def merge(values: Iterable[Sessions]) -> Sessions:
    """One value for all the sessions named: Luigi's `batch_method`."""
    days = tuple(sorted({day for value in values for day in as_tuple(value)}))
    return days[0] if len(days) == 1 else days


class SessionParameter(LateDefaultDateParameter):
    """A date written YYYY-MM-DD; left out, the latest session that has closed and settled.

    Only inside a batch its value is a tuple of dates, written with commas between them.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("description", "session whose data is wanted, YYYY-MM-DD; default: the latest one settled")
        super().__init__(batch_method=merge, **options)

    def late_default(self) -> dt.date:
        # asked for last and lazily: the calendar is slow to load, and a date on the command line does not need it
        from pipeline.calendar import latest_session

        return latest_session()

    def parse(self, text: str) -> Sessions:
        return merge(self._parse_day(part) for part in text.split(","))

    def _parse_day(self, text: str) -> dt.date:
        try:
            return dt.date.fromisoformat(text)
        except ValueError as error:
            raise InvalidDateError(
                f"--date {text} is no date ({error}); write it as YYYY-MM-DD, for example --date 2024-02-20"
            ) from error

    def normalize(self, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return merge(super(SessionParameter, self).normalize(day) for day in value)
        return super().normalize(value)

    def serialize(self, value: Sessions) -> str:
        return ",".join(day.isoformat() for day in as_tuple(value))

    def next_in_enumeration(self, value: Sessions) -> dt.date | None:
        return None if isinstance(value, tuple) else value + dt.timedelta(days=1)
