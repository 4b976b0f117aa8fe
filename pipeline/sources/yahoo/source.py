"""Daily bars from Yahoo Finance, asked through yfinance by a few processes at one common pace.

    collect() -- questions --> workers (yahoo_worker.py: yfinance, retries) -- answers --> journals --> batch files
                                  \\-- ChartSession (chart.py), Pace (pacing.py)

The answers are written by the calling process alone, each as soon as it came.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.config import quality, yahoo
from pipeline.errors import ConfigurationError, SourceOutageError
from pipeline.sources.answers import batch_names, has_answers, unanswered
from pipeline.sources.protocol import BarRequest, Listing, Progress
from pipeline.sources.yahoo.pool import WorkerPool
from pipeline.sources.yahoo.unfinished import Journal, salvage
from pipeline.sources.yahoo.worker import Settings

#: Seconds between two calls of `progress`.
TICK = 0.5
#: Seconds before the first retry; each further one waits twice as long.
BACKOFF = 0.5
#: Share of the probe that has to fail for an outage.
OUTAGE_SHARE = 0.9
PROBE_RETRIES = 1
#: A process costs a second of CPU to start, which fewer requests than this do not repay.
REQUESTS_PER_PROCESS = 100

Record = dict[str, Any]

logger = logging.getLogger("pipeline")


class YahooSource:
    """The `Source` of `[market] source = yahoo`: the listings are the NASDAQ screener's, the bars are Yahoo's."""

    name = "yahoo"
    keeps_listings = False

    def __init__(self, backoff: float = BACKOFF) -> None:
        self.backoff = backoff

    def listing(self, session: dt.date) -> Listing:
        from pipeline.sources.nasdaq.exchanges import ask_exchanges

        return ask_exchanges(session)

    def collect(self, requests: Sequence[BarRequest], folder: pathlib.Path, progress: Progress) -> None:
        """See `Source`. What an earlier run received into `folder` is not asked for again, failures excepted.

        The first `[quality] outage_probe` requests are a batch of their own. Raises SourceOutageError after them when
        more than nine in ten fail or lack the newest session, keeping none of their answers; and later after
        `[yahoo] batch_size` failures in a row.
        """
        check_settings()
        salvage(folder)
        wanted = unanswered(folder, requests)
        tally = Tally(progress, len(requests), len(requests) - len(wanted))
        if wanted:
            with WorkerPool(self._settings(len(wanted)), process_count(len(wanted))) as pool:
                collection = Collection(pool, folder, tally)
                collection.batches(collection.probe(wanted))
        tally.show()

    def _settings(self, requests: int) -> Settings:
        section = yahoo()
        return Settings(
            base_url=section.base_url,
            requests_per_second=section.requests_per_second,
            timeout=section.timeout,
            max_bytes=int(section.max_mb * 1e6),
            retry_budget=section.retry_budget,
            backoff=self.backoff,
            threads=-(-section.threads // process_count(requests)),
        )


class Tally:
    """How far a collection is, told to `progress` twice a second at most."""

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self.progress = progress
        self.total = total
        self.done = self.before = done
        self.failed = 0
        self.started = self.shown = time.monotonic()

    def count(self, record: Record) -> None:
        self.done += 1
        self.failed += record["status"] == "failed"
        if time.monotonic() - self.shown >= TICK:
            self.show()

    def show(self) -> None:
        self.shown = time.monotonic()
        pace = (self.done - self.before) / max(self.shown - self.started, 0.001)
        text = f"{self.done:,} of {self.total:,} symbols, {pace:.0f}/s, {self.failed:,} failed"
        self.progress(self.done, self.total, text)


class Collection:
    """One run of `collect` over the requests that are still unanswered."""

    def __init__(self, pool: WorkerPool, folder: pathlib.Path, tally: Tally) -> None:
        self.pool = pool
        self.folder = folder
        self.tally = tally
        self.names = batch_names(folder)
        self.batch_size = yahoo().batch_size

    def probe(self, wanted: list[BarRequest]) -> list[BarRequest]:
        """Ask for the first few; return the requests that are still to be asked for.

        Nothing is kept before the verdict: an answer without the newest session, kept as good, would not be asked for
        again when the outage is over.
        """
        size = quality().outage_probe
        if not 0 < size <= len(wanted) or has_answers(self.folder):  # those that are left may be the few that fail
            return wanted
        asked = wanted[:size]
        records = {index: record for index, record, _ in self._ask(asked, PROBE_RETRIES)}
        check_probe([(request, records[index]) for index, request in enumerate(asked)])
        usable = {index: record for index, record in records.items() if record["status"] != "failed"}
        journal = Journal(self.folder, next(self.names))
        for record in usable.values():
            journal.append(record)
            self.tally.count(record)
        journal.land()
        return [request for index, request in enumerate(wanted) if index not in usable]

    def batches(self, wanted: list[BarRequest]) -> None:
        """Ask for all; a batch lands when its last answer is there, while others are under way."""
        journals: dict[int, Journal] = {}
        names = [next(self.names) for _ in range(0, len(wanted), self.batch_size)]
        in_a_row = 0
        try:
            for index, record, line in self._ask(wanted, yahoo().retries):
                batch = index // self.batch_size
                if batch not in journals:
                    journals[batch] = Journal(self.folder, names[batch])
                journals[batch].append(record, line)
                self.tally.count(record)
                if len(journals[batch].records) == min(self.batch_size, len(wanted) - batch * self.batch_size):
                    journals.pop(batch).land()
                in_a_row = in_a_row + 1 if record["status"] == "failed" else 0
                if in_a_row >= self.batch_size:
                    raise SourceOutageError(outage("the last", in_a_row, in_a_row, [record]))
        finally:
            for journal in journals.values():
                journal.close()

    def _ask(self, requests: Sequence[BarRequest], retries: int) -> Iterator[tuple[int, Record, bytes | None]]:
        questions = [
            {"symbol": r.symbol, "first": r.first.isoformat(), "last": r.last.isoformat(), "retries": retries}
            for r in requests
        ]
        for index, answer in self.pool.ask(questions):
            error = answer.record.get("error")
            yield (index, failure(requests[index], error), None) if error else (index, *answer)


def failure(request: BarRequest, reason: str) -> Record:
    """The record of a request that no worker could answer."""
    asked = {"asked_from": request.first.isoformat(), "asked_to": request.last.isoformat()}
    moment = dt.datetime.now(dt.UTC).isoformat()
    return {"symbol": request.symbol, **asked, "status": "failed", "reason": reason, "fetched_at": moment, "bars": {}}


def check_probe(answers: list[tuple[BarRequest, Record]]) -> None:
    """Raise SourceOutageError when more than OUTAGE_SHARE failed, or lack the newest session although it was wanted."""
    newest = max(request.last for request, _ in answers)
    troubled = [
        record
        for request, record in answers
        if record["status"] == "failed"
        or (
            # that the source does not know a symbol says nothing of its health: a rerun may have only such ones left
            record["status"] == "ok" and request.last == newest and not has_close(record, newest)
        )
    ]
    if len(troubled) > OUTAGE_SHARE * len(answers):
        raise SourceOutageError(outage("the first", len(answers), len(troubled), troubled, newest))


def has_close(record: Record, session: dt.date) -> bool:
    """Whether the answer holds a price for the session."""
    bars = record["bars"]
    return bool(bars) and dict(zip(bars["date"], bars["close"], strict=True)).get(session.isoformat()) is not None


def outage(which: str, asked: int, troubled: int, records: list[Record], newest: dt.date | None = None) -> str:
    """The message of SourceOutageError."""
    names = ", ".join(record["symbol"] for record in records[:5])
    lacking = f" or had no prices for {newest}" if newest else ""
    reason = next((record["reason"] for record in reversed(records) if record["reason"]), "the session is empty")
    return (
        f"Yahoo is out of order: of {which} {asked} symbols asked, {troubled} failed{lacking} ({names}; last reason: "
        f"{reason}). Stopped so as not to ask for all the others in vain. Run the same command again later, what was "
        f"answered is kept; if it stays so, look at {yahoo().base_url} and [yahoo] base_url."
        f"{was_closed(newest, records)}"
    )


def was_closed(session: dt.date | None, records: list[Record]) -> str:
    """What else a session may mean of which all that answered have nothing."""
    if session is None or any(record["status"] != "ok" for record in records):
        return ""
    return f" Was the exchange closed on {session}? Then set [market] closed = {session}."


def process_count(requests: int) -> int:
    """As many processes as there are cores for us, unless the threads or the requests are fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, yahoo().threads, -(-requests // REQUESTS_PER_PROCESS)))


def check_settings() -> None:
    """Raise ConfigurationError for a number of `[yahoo]` that cannot work."""
    section = yahoo()
    for name in ("batch_size", "threads", "requests_per_second", "timeout", "retry_budget"):
        if getattr(section, name) <= 0:
            raise ConfigurationError(f"[yahoo] {name} = {getattr(section, name)}: it must be more than 0")
    if section.retries < 0:
        raise ConfigurationError(f"[yahoo] retries = {section.retries}: it must be 0 or more")
    if not section.base_url.startswith(("http://", "https://")):
        raise ConfigurationError(f"[yahoo] base_url = {section.base_url}: it must start with http:// or https://")
