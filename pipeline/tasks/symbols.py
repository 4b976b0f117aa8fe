"""The first stage: which companies are listed."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.calendar import latest_session, now
from pipeline.config import quality
from pipeline.database.connection import writing
from pipeline.errors import ListingOutdatedError, PipelineError
from pipeline.market.listings import keeps, obtain, store
from pipeline.market.universe import snapshot_dates, snapshot_for
from pipeline.parameters import merge
from pipeline.tasks.base import Outcome, SessionTask

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")


def check_rules() -> None:
    """Raise for a mistake in the scans or the indicators, which should not wait until everything is collected."""
    from pipeline.indicators.definitions import job_argument
    from pipeline.watchlist.scans import configured_scans

    configured_scans()
    job_argument()


class CollectSymbols(SessionTask):
    """The listing that serves each session, asked for when the database has none.

    The screener answers for the present alone: a past session takes its own snapshot, else the nearest later one, and
    the source is asked only when neither is stored. A source that keeps old listings is asked for each session.
    Input: the source's listing. Output: `symbol_snapshots`, `nasdaq_symbols`, `session_universe`, `raw/symbols/`.

    Raises the subclasses of ListingError; the stored universe then is as it was.
    """

    table = "symbol_snapshots"
    heading = "symbols"
    rows = (("session_universe", "date"),)
    tries = 2
    priority = 90

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        check_rules()
        errors: dict[dt.date, PipelineError] = {}
        with writing() as connection:
            stored = snapshot_dates(connection) - _asked_again(connection)
        for session in reversed(sessions):  # the present listing, asked for once, serves all earlier sessions
            if not _serves(stored, session):
                try:
                    stored.add(self._collect(session))
                except PipelineError as error:
                    errors[session] = error
        with writing() as connection:
            return {session: errors.get(session) or self._settle(connection, session) for session in sessions}

    def _collect(self, session: dt.date) -> dt.date:
        from pipeline.market.listing_checks import check_listing

        listing = obtain(session)
        with writing() as connection:
            check_listing(connection, listing)
            store(connection, listing)
        self.say(f"{len(listing.companies):,} companies listed on {listing.session}")
        return listing.session

    def _settle(self, connection: DuckDBPyConnection, session: dt.date) -> Outcome:
        chosen = snapshot_for(connection, session)
        if chosen is None:
            return ListingOutdatedError(_outdated(connection, session))
        connection.execute(
            "INSERT OR REPLACE INTO session_universe (date, snapshot_date) VALUES (?, ?)", [session, chosen]
        )
        self.finish(connection, session)
        if chosen != session:
            logger.info("%s uses the listing of %s, the nearest one that is stored", session, chosen)
        return {"snapshot": chosen}


def _asked_again(connection: DuckDBPyConnection) -> set[dt.date]:
    """The sessions whose listing an operator wants anew, as far as the source still gives it."""
    rows = connection.execute("SELECT DISTINCT date FROM recollections WHERE with_listing").fetchall()
    return {date for (date,) in rows if keeps(date) or date == latest_session()}


def _serves(stored: set[dt.date], session: dt.date) -> bool:
    """Whether a stored snapshot makes it needless to ask the source for the session's listing."""
    return session in stored or (any(date > session for date in stored) and not keeps(session))


def renew_older(sessions: Sequence[dt.date]) -> None:
    """Look again for listings of the sessions that an older one serves: the source may have moved on since.

    What goes wrong leaves the older one in its place.
    """
    with writing() as connection:
        rows = connection.execute(
            """
            SELECT date
            FROM session_universe
            WHERE snapshot_date < date AND date IN (SELECT unnest(?::DATE[]))
            ORDER BY date
            """,
            [list(sessions)],
        ).fetchall()
    older = [session for (session,) in rows]
    if not older:
        return
    task = CollectSymbols(date=merge(older))
    for session, outcome in task.process(older).items():
        if isinstance(outcome, PipelineError):
            logger.warning("%s keeps the listing before it: %s", session, outcome)
        else:
            task.marker(session).write({"session": session, "finished_at": now(), **outcome})


def _outdated(connection: DuckDBPyConnection, session: dt.date) -> str:
    (newest,) = connection.execute("SELECT max(date) FROM symbol_snapshots").fetchone() or (None,)
    return (
        f"session {session} needs a listing at most {quality().max_listing_age} session(s) old, and the newest that "
        f"the source gives is of {newest}; wait until the source has moved on, or raise [quality] max_listing_age"
    )
