"""Back-fills: a task for each session of a range that is not done yet."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any

import luigi

from pipeline import calendar
from pipeline.database.connection import reading
from pipeline.errors import EmptyRangeError, SessionNotSettledError
from pipeline.market.staleness import stale_sessions

logger = logging.getLogger("pipeline")

ONE_DAY = dt.timedelta(days=1)


class RangeTradingDays(luigi.WrapperTask):
    """The task `of` for every session from `start` up to, and not with, `stop`, as Luigi's RangeDaily has it.

    Sessions are those of the calendar, as many as there are: neither their number nor their age is limited. The ones
    that are done are found by one query of `of.bulk_complete`.

    Raises EmptyRangeError for a range without a session, SessionNotSettledError for one that reaches beyond the latest
    settled session, and SessionOutOfRangeError for one that begins before the calendar does.
    """

    of: Any = luigi.TaskParameter(description="task that is wanted for each session; its first parameter is the date")
    of_params: Any = luigi.DictParameter(default={}, description="further parameters of that task, as JSON")
    start = luigi.DateParameter(description="first day of the range, YYYY-MM-DD")
    stop = luigi.DateParameter(description="first day after the range, YYYY-MM-DD")
    only_stale = luigi.BoolParameter(description="only sessions whose watchlist rests on bars that have changed since")

    def requires(self) -> list[luigi.Task]:
        if not hasattr(self, "_missing"):  # the range is what it was when the run began, and one query tells
            self._missing = [self._task(session) for session in self.missing()]
        return self._missing

    _found_done: Sequence[dt.date] = ()

    def found_done(self) -> list[luigi.Task]:
        """The tasks of the range that were done when the run began, of which it has nothing to say."""
        return [self._task(session) for session in self._found_done]

    def missing(self) -> list[dt.date]:
        """The sessions that are not done, oldest first."""
        wanted = sessions_of_range(self.start, self.stop - ONE_DAY)
        if self.only_stale:
            with reading() as connection:
                marked = set(stale_sessions(connection))
            wanted = [session for session in wanted if session in marked]
        done = set(self.of.bulk_complete(wanted))
        missing = [session for session in wanted if session not in done]
        self._found_done = [session for session in wanted if session in done]
        logger.info(
            "%s from %s up to %s: %d sessions, %d of them done, %d to do",
            self.of.task_family, self.start, self.stop, len(wanted), len(wanted) - len(missing), len(missing),
        )  # fmt: skip
        return missing

    def _task(self, session: dt.date) -> luigi.Task:
        date: dict[str, Any] = {self.of.get_params()[0][0]: session}
        return self.of(**date, **self.of_params)


def sessions_of_range(first: dt.date, last: dt.date) -> list[dt.date]:
    """The sessions from `first` to `last`, both included: at least one, all of them settled.

    Raises EmptyRangeError, SessionNotSettledError and SessionOutOfRangeError.
    """
    if last < first:
        raise EmptyRangeError(
            f"the range from {first} to {last} ends before it begins; for one day: pipeline backfill {first} {first} "
            f"(of RangeTradingDays: --start {first} and, as the first day after it, {first + ONE_DAY})"
        )
    calendar.check_session(first)
    found = calendar.sessions_between(first, last)
    latest = calendar.latest_session()
    if last > latest and (
        not found or found[-1] > latest or last > calendar.now().astimezone(calendar.NEW_YORK).date()
    ):
        raise SessionNotSettledError(
            f"the range from {first} to {last} reaches beyond {latest}, the latest session that has settled; "
            f"end it there: pipeline backfill {first} {latest} (RangeTradingDays ends before {latest + ONE_DAY})"
        )
    if not found:
        raise EmptyRangeError(
            f"no session lies between {first} and {last}; the nearest ones are {calendar.around(first, last)}"
        )
    return found
