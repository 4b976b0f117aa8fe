"""The second stage: the bars of the universe."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.config import market, storage
from pipeline.database.connection import writing
from pipeline.errors import PipelineError, SourceOutageError
from pipeline.sources.protocol import BarRequest, StandingSource
from pipeline.sources.registry import configured_source
from pipeline.tasks.audit import audit_due
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.progress import Bar, Say
from pipeline.tasks.symbols import CollectSymbols, check_rules, renew_older

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipeline.market.evidence import Evidence

logger = logging.getLogger("pipeline")


class CollectPrices(SessionTask):
    """The daily bars of every company above `[market] min_market_cap`.

    Answers land in `raw/prices/D/` (D: the last session of a combined run) as they come; a run after a kill asks only
    for what is missing there. Then one transaction brings `stock_data`, `corporate_actions`, `rejected_bars` and
    `price_coverage` up to date. Before that, some whole histories are audited (audit.py).

    Raises CoverageError for a session with too few delivered symbols, SourceOutageError when the source is down.
    """

    table = "stock_data"
    heading = "prices"
    rows = (("price_coverage", "date"), ("gaps", "date"))
    follows = (CollectSymbols,)
    tries = 2
    priority = 80

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pipeline.market.load import store_answers
        from pipeline.sources.answers import set_aside_damaged

        check_rules()
        folder = storage().root / "raw" / "prices" / str(sessions[-1])
        set_aside_damaged(folder)
        renew_older(sessions)
        audits = audit_due(sessions[-1], folder, self.say)
        requests = self._requests(sessions)
        collect(requests, folder, self.say)
        with judged(requests, folder, self.say) as answers:
            changes = store_answers(answers) | audits
            outcomes = {session: self._settle(answers, session) for session in sessions}
        if any(isinstance(outcome, SourceOutageError) for outcome in outcomes.values()):
            supersede(folder)
        logger.info("%s: %s", describe(sessions), described(changes))
        return {s: o if isinstance(o, PipelineError) else {**o, **changes} for s, o in outcomes.items()}

    def _requests(self, sessions: Sequence[dt.date]) -> list[BarRequest]:
        """What to ask for, after the stored histories were brought in line with the listing."""
        from pipeline.market.closures import REASON, forget_closed
        from pipeline.market.deliveries import with_changes
        from pipeline.market.plan import left_provisional, plan
        from pipeline.market.succession import close_ended
        from pipeline.market.ticker_changes import carry_over
        from pipeline.watchlist.amendments import withdraw

        source = configured_source()
        with writing() as connection:
            withdraw(connection, forget_closed(connection), REASON)
            carried = carry_over(connection, sessions[-1])
            ended = close_ended(connection, sessions[-1])
            requests = plan(connection, sessions, isinstance(source, StandingSource))
            requests += left_provisional(connection, sessions[-1], requests)
            if isinstance(source, StandingSource) and not market().offline:
                requests = with_changes(connection, source, requests, sessions)
        for symbol, evidence in carried.items():
            logger.info("%s %s; its history goes on", symbol, evidence)
        for symbol, evidence in ended.items():
            logger.warning("%s %s; the old history is closed", symbol, evidence)
        return requests

    def _settle(self, answers: Evidence, session: dt.date) -> Outcome:
        """Give the session's symbols their states, and mark it as done when nothing speaks against it."""
        from pipeline.market.coverage import refusal, store_states

        connection = answers.connection
        coverage = store_states(answers, session)
        refused = refusal(answers, session)
        if refused:
            if refused.is_outage:
                ask_again(connection, session, "the source lacked the session")
            return refused.error
        connection.execute("DELETE FROM recollections WHERE date = ?", [session])
        self.finish(connection, session)
        logger.info("%s: coverage %.2f %% (%s)", session, 100 * coverage.coverage, coverage)
        return dataclasses.asdict(coverage)


def collect(requests: Sequence[BarRequest], folder: pathlib.Path, say: Say) -> None:
    """Ask the source, unless `[market] offline` forbids it; the answers land in the folder."""
    if not requests or market().offline:
        return
    with Bar("prices", say) as bar:
        configured_source().collect(requests, folder, bar.advance)


@contextlib.contextmanager
def judged(requests: list[BarRequest], folder: pathlib.Path, say: Say) -> Iterator[Evidence]:
    """The answers of the folder and the verdicts on them, in a transaction that the caller stores them in.

    Before that, with nothing held open, what the first answers make necessary is asked for: whole histories, and
    sessions that a few symbols lack. Then all of it is judged anew.
    """
    from pipeline.sources.answers import unanswered

    with _judgement(requests, folder) as answers:
        further = _further(answers, requests)
        if not further:
            yield answers
            return
    collect([*further.values()], folder, say)
    for request in unanswered(folder, [*further.values()]):  # what was answered before is judged again
        del further[request.symbol]
    with _judgement([further.get(request.symbol, request) for request in requests], folder) as answers:
        yield answers


@contextlib.contextmanager
def _judgement(requests: Sequence[BarRequest], folder: pathlib.Path) -> Iterator[Evidence]:
    from pipeline.market.evidence import Evidence
    from pipeline.market.verdicts import judge

    with writing() as connection, Evidence(connection, folder, requests) as answers:
        judge(answers)
        yield answers


def _further(answers: Evidence, requests: Sequence[BarRequest]) -> dict[str, BarRequest]:
    """What is to be asked for because of the answers, by symbol."""
    from pipeline.market.adjustment import whole_histories
    from pipeline.market.verdicts import ASK_WHOLE, found

    restated = found(answers, ASK_WHOLE)
    for symbol, evidence in restated.items():
        logger.info("%s: %s; its whole history is fetched anew", symbol, evidence)
    whole = whole_histories(answers.connection, [r for r in requests if r.symbol in restated])
    return {request.symbol: request for request in [*asked_too_early(answers, requests), *whole]}


def asked_too_early(answers: Evidence, requests: Sequence[BarRequest]) -> list[BarRequest]:
    """Requests to repeat at once: the listing has a volume for the newest session, and the answer has no bar of it.

    None when most lack it: then the source does not have the session, and asking again changes nothing.
    """
    rows = answers.execute("SELECT symbol, fetched_at FROM facts WHERE lacks IS NOT NULL AND NOT is_rejected")
    early = {symbol: moment + dt.timedelta(microseconds=1) for symbol, moment in rows}
    if len(early) > len(requests) / 2:
        return []
    return [dataclasses.replace(r, not_before=early[r.symbol]) for r in requests if r.symbol in early]


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
