"""The second stage: the bars of the universe."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.config import market, quality, storage
from pipeline.database.connection import writing
from pipeline.errors import CoverageError, PipelineError, SourceOutageError
from pipeline.market.adjustment import restated_symbols, whole_histories
from pipeline.market.closures import forget_closed
from pipeline.market.deliveries import with_changes
from pipeline.market.load import read_answers, store_answers, store_coverage
from pipeline.market.plan import plan
from pipeline.market.succession import close_ended
from pipeline.market.ticker_changes import carry_over
from pipeline.sources.protocol import BarRequest, StandingSource
from pipeline.sources.registry import configured_source
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.progress import Bar
from pipeline.tasks.symbols import CollectSymbols, renew_older
from pipeline.watchlist.scans import configured_scans

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")


class CollectPrices(SessionTask):
    """The daily bars of every company above `[market] min_market_cap`.

    Answers land in `raw/prices/D/` (D: the last session of a combined run) as they come; a run after a kill asks only
    for what is missing there. Then one transaction brings `stock_data`, `corporate_actions`, `rejected_bars` and
    `price_coverage` up to date.

    Raises CoverageError for a session with too few delivered symbols, SourceOutageError when the source is down.
    """

    table = "stock_data"
    heading = "prices"
    rows = (("price_coverage", "date"), ("gaps", "date"))
    follows = (CollectSymbols,)
    tries = 2
    priority = 80

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.sources.answers import set_aside_damaged

        configured_scans()  # a mistake in them should not wait until everything is collected
        folder = storage().root / "raw" / "prices" / str(sessions[-1])
        set_aside_damaged(folder)
        renew_older(sessions)
        requests = self._requests(sessions)
        self._collect(requests, folder)
        requests, restated = self._renew_restated(requests, folder)
        with writing() as connection:
            read_answers(connection, folder, requests)
            changes = store_answers(connection, restated)
            outcomes = {session: self._judge(connection, session) for session in sessions}
        if any(isinstance(outcome, SourceOutageError) for outcome in outcomes.values()):
            supersede(folder)
        logger.info("%s: %s", describe(sessions), described(changes))
        return {s: o if isinstance(o, PipelineError) else {**o, **changes} for s, o in outcomes.items()}

    def _requests(self, sessions: Sequence[dt.date]) -> list[BarRequest]:
        """What to ask for, after the stored histories were brought in line with the listing."""
        source = configured_source()
        with writing() as connection:
            forget_closed(connection)
            carried = carry_over(connection, sessions[-1])
            ended = close_ended(connection, sessions[-1])
            requests = plan(connection, sessions)
            if isinstance(source, StandingSource) and not market().offline:
                requests = with_changes(connection, source, requests, sessions)
        for symbol, evidence in carried.items():
            logger.info("%s %s; its history goes on", symbol, evidence)
        for symbol, evidence in ended.items():
            logger.warning("%s %s; the old history is closed", symbol, evidence)
        return requests

    def _collect(self, requests: Sequence[BarRequest], folder: pathlib.Path) -> None:
        if not requests or market().offline:
            return
        with Bar("prices", self.say) as bar:
            configured_source().collect(requests, folder, bar.advance)

    def _renew_restated(
        self, requests: list[BarRequest], folder: pathlib.Path
    ) -> tuple[list[BarRequest], dict[str, str]]:
        """Ask for the whole history of symbols whose basis of adjustment has changed."""
        with writing() as connection:
            read_answers(connection, folder, requests)
            restated = restated_symbols(connection)
            renewals = whole_histories(connection, [r for r in requests if r.symbol in restated])
        for symbol, evidence in restated.items():
            logger.info("%s: %s; its whole history is fetched anew", symbol, evidence)
        self._collect([renewal for renewal in renewals if renewal not in requests], folder)
        from pipeline.sources.answers import unanswered

        if market().offline:  # answers older than the stored history are on a former basis: they add nothing
            missing = {request.symbol for request in unanswered(folder, renewals)}
            renewals = [renewal for renewal in renewals if renewal.symbol not in missing]
        kept = [request for request in requests if request.symbol not in restated]
        return kept + renewals, restated

    def _judge(self, connection: DuckDBPyConnection, session: dt.date) -> Outcome:
        counts = store_coverage(connection, session)
        # a symbol that the source has never known is not wanted of it; one that it knew yesterday is
        lost = symbols_lost(connection, session)
        known = sum(counts.values()) - counts["unknown"] + lost
        coverage = (counts["stored"] + counts["not_traded"]) / known if known else 0.0
        if coverage < quality().min_coverage:
            if lost > counts["failed"]:
                return SourceOutageError(_forgotten(session, lost, counts))
            return CoverageError(_too_few(connection, session, coverage, counts))
        if counts["stored"] < known * quality().min_traded:
            ask_again(connection, session, "the source lacked the session")
            return SourceOutageError(_session_absent(session, counts))
        connection.execute("DELETE FROM recollections WHERE date = ?", [session])
        self.finish(connection, session)
        logger.info("%s: coverage %.2f %% (%s)", session, 100 * coverage, _counted(counts))
        return {"coverage": coverage, **counts}


def symbols_lost(connection: DuckDBPyConnection, session: dt.date) -> int:
    """The number of symbols that the source does not know on the session, and knew on the last complete one before."""
    row = connection.execute(
        """
        SELECT count(*) FROM price_coverage c JOIN price_ranges r USING (symbol)
        WHERE c.date = $session AND c.state = 'unknown' AND r.last_asked >= (
            SELECT max(session) FROM finished_stages WHERE stage = 'CollectPrices' AND session < $session
        )
        """,
        {"session": session},
    ).fetchone()
    return row[0] if row else 0


def ask_again(connection: DuckDBPyConnection, session: dt.date, reason: str, with_listing: bool = False) -> None:
    """Have the next run of the session ask the source anew, although it has answered before; for the listing, too."""
    connection.execute("DELETE FROM recollections WHERE date = ?", [session])
    connection.execute(
        "INSERT INTO recollections (date, reason, with_listing) VALUES (?, ?, ?)", [session, reason, with_listing]
    )


def supersede(folder: pathlib.Path) -> None:
    """Set answers aside that are not to be used again: they stay, under a name with a number."""
    if folder.exists():
        number = next(n for n in itertools.count(1) if not folder.with_name(f"{folder.name}.{n}").exists())
        folder.rename(folder.with_name(f"{folder.name}.{number}"))


def describe(sessions: Sequence[dt.date]) -> str:
    """One session, or the span of several, in a few words."""
    return str(sessions[0]) if len(sessions) == 1 else f"{sessions[0]} to {sessions[-1]} ({len(sessions)} sessions)"


def described(changes: dict[str, int]) -> str:
    """What happened to the stored bars, in words."""
    return (
        ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in changes.items() if n) or "no bar is new or differs"
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in counts.items())


def _too_few(connection: DuckDBPyConnection, session: dt.date, coverage: float, counts: dict[str, int]) -> str:
    rows = connection.execute(
        "SELECT symbol, reason FROM price_coverage WHERE date = ? AND state = 'failed' ORDER BY symbol LIMIT 5",
        [session],
    ).fetchall()
    names = "; ".join(f"{symbol}: {reason}" for symbol, reason in rows)
    return (
        f"session {session}: {coverage:.1%} of the expected symbols were delivered, {quality().min_coverage:.1%} are needed "
        f"({_counted(counts)}). First failures: {names}. What was delivered is kept; "
        f"luigi --module pipeline DailyPipeline --date {session} asks for the rest"
    )


def _forgotten(session: dt.date, lost: int, counts: dict[str, int]) -> str:
    return (
        f"session {session}: the source says of {lost:,} symbols that there are none such, and knew them the session before "
        f"({_counted(counts)}); it is not to be believed. Try again later: luigi --module pipeline DailyPipeline --date {session}"
    )


def _session_absent(session: dt.date, counts: dict[str, int]) -> str:
    return (
        f"session {session}: the source answers, but has no bar of it for most symbols ({_counted(counts)}); it lacks the "
        f"session as a whole. Try again later: luigi --module pipeline DailyPipeline --date {session}. If the exchange was "
        f"closed on that day, put it into the configuration: [market] closed = {session}"
    )
