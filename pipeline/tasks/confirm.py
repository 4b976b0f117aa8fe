"""The morning after: the bars of a session are asked for again, when they are final, and what rests on them follows."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import quality, redis, storage
from pipeline.database.connection import reading, writing
from pipeline.errors import NotFinalError, UnconfirmedError
from pipeline.market.finality import final_at, provisional
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.followers import resting_on
from pipeline.tasks.prices import collect, described, judged
from pipeline.tasks.redis_sync import FEED_STAGES
from pipeline.tasks.stages import STAGES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")

#: Symbols that an error names, the largest companies.
NAMED = 5


class ConfirmSession(SessionTask):
    """Make the bars of a finished session final, and amend what was found with provisional ones.

    Asked for are the symbols whose bar is provisional, and those that had none in the evening; one whose answer came
    late enough in the first place is not.
    When bars of the session have changed or become final, its scans, replica, message and page are made again, for
    changed ones its indicators, too, and the feed where Redis holds this session: each by its own stage, so that after
    a kill the same command, and `DailyPipeline` too, goes on where it stopped.

    Raises UnconfirmedError when too few bars were confirmed.
    """

    table = "stock_data"
    heading = "confirmed"
    belongs_to = "ConfirmSession"
    follows = (DailyPipeline,)
    priority = 11
    tries = 2
    batchable = False
    resources = {"duckdb": 1, "spark": 1}

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {session: self._confirm(session) for session in sessions}

    def is_done(self, session: dt.date) -> bool:
        """As of any stage. Raises NotFinalError, too, so that nothing is run, nor has failed, when it is too early."""
        if super().is_done(session):
            return True
        if final_at(session) > calendar.now():
            raise NotFinalError(_too_early(session))
        return False

    def _confirm(self, session: dt.date) -> Outcome:
        asked, changes = self._ask(session)
        self._run_again(session)
        with writing() as connection:
            left = provisional(connection, session)
            if len(left) > (1 - quality().min_coverage) * max(asked, len(left)):
                return UnconfirmedError(_unconfirmed(session, left, asked))
            self.finish(connection, session)
        logger.info("%s is final: %d symbols asked for, %s", session, asked, described(changes))
        return {"asked": asked, "provisional": len(left), **changes}

    def _ask(self, session: dt.date) -> tuple[int, dict[str, int]]:
        """Revise what is provisional of the session; the stages that rest on it open again in the same transaction."""
        from pipeline.market.load import store_answers
        from pipeline.market.plan import confirmations
        from pipeline.market.staleness import stale_sessions

        with reading() as connection:
            requests = confirmations(connection, session)
        if not requests:
            return 0, {}
        folder = storage().root / "raw" / "prices" / f"{session}.final"
        collect(requests, folder, self.say)
        with judged(requests, folder, self.say) as answers:
            before = provisional(answers.connection, session)
            changes = store_answers(answers)
            if session in stale_sessions(answers.connection):
                _open_again(answers.connection, session, "ComputeIndicators")
            elif provisional(answers.connection, session) != before:  # the same bars, and final: the list says so, too
                _open_again(answers.connection, session, "ScanWatchlist")
        return len(requests), changes

    def _run_again(self, session: dt.date) -> None:
        for stage in STAGES:
            task = stage(date=session)
            if not task.complete():
                task.run()
        if redis().url and _is_fed(session):
            for feed_stage in FEED_STAGES:
                task = feed_stage(date=session)
                if not task.complete():
                    task.run()


def _open_again(connection: DuckDBPyConnection, session: dt.date, first_stage: str) -> None:
    """Take the rows of what rests on the bars, from a stage on, off `table_updates`; the work itself stays."""
    for stage in resting_on(first_stage):
        connection.execute("DELETE FROM table_updates WHERE update_id = ?", [stage.row(session).update_id])


def _is_fed(session: dt.date) -> bool:
    """Whether Redis holds the feed of the session; a later one, or none, is nothing to amend."""
    from pipeline.feed.state import look

    state, _ = look("SyncRedis")
    return state is not None and state.session == session


def _too_early(session: dt.date) -> str:
    moment = final_at(session)
    there, here = moment.astimezone(calendar.NEW_YORK), moment.astimezone()
    return (
        f"session {session} is final from {there:%Y-%m-%d %H:%M %Z} on ({here:%Y-%m-%d %H:%M %Z} here), "
        f"{quality().final_hours:g} hours after its close; run it then: "
        f"luigi --module pipeline ConfirmSession --date {session}"
    )


def _unconfirmed(session: dt.date, left: Sequence[str], asked: int) -> str:
    more = ", ..." if len(left) > NAMED else ""
    return (
        f"session {session}: {len(left):,} bars are provisional still, of {asked:,} asked for "
        f"({', '.join(left[:NAMED])}{more}); what was confirmed is kept, and "
        f"luigi --module pipeline ConfirmSession --date {session} asks for the rest"
    )
