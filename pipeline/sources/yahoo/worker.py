"""A process that asks Yahoo through yfinance: `python -m pipeline.sources.yahoo.worker SETTINGS` (see workers.py).

Turning one answer into a pandas frame takes yfinance longer than the network does, and holds the GIL: threads wait
for answers, processes share the work. Each line on standard input is a question, each line on standard output its
answer, both JSON; the end of the input is the end of the process.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import gc
import json
import logging
import os
import signal
import sys
import threading
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import tenacity

from pipeline.host.processes import die_with_parent
from pipeline.sources.web import Bound
from pipeline.sources.yahoo.chart import ChartFailure, ChartSession, NoBars, PassingFailure, UnknownSymbol
from pipeline.sources.yahoo.content import MISSING
from pipeline.sources.yahoo.pacing import Pace
from pipeline.sources.yahoo.spelling import yahoo_name
from pipeline.text import clean

PRICES = {"open": "Open", "high": "High", "low": "Low", "close": "Close"}
ACTIONS = {"dividend": "Dividends", "split_ratio": "Stock Splits"}
#: Every listing of the three exchanges trades there; yfinance would spend a request of its own a symbol to find out.
TIME_ZONE = "America/New_York"
LONGEST_WAIT = 30.0

logger = logging.getLogger("pipeline")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a worker needs to know. Times in seconds; `backoff` is the wait before the first retry."""

    base_url: str
    requests_per_second: float
    timeout: float
    max_bytes: int
    retry_budget: float
    backoff: float
    threads: int


class Asker:
    """Answers questions through yfinance, with retries; usable by several threads."""

    def __init__(self, settings: Settings, pace: Pace) -> None:
        import yfinance
        from yfinance.data import YfData

        logging.getLogger("yfinance").setLevel(logging.CRITICAL)
        yfinance.set_tz_cache_location(os.path.join(os.devnull, "none"))  # yfinance then keeps no cache on disk
        yfinance.config.debug.hide_exceptions = False
        self.settings = settings
        self.session = ChartSession(
            settings.base_url, pace, Bound(settings.timeout, settings.max_bytes), settings.retry_budget
        )
        self.data = YfData(session=self.session)  # one a process, whoever makes it
        self.data.cache_get.cache_clear()
        gc.freeze()  # what pandas and yfinance brought stays; the collector need not look at it again and again

    def answer(self, symbol: str, first: dt.date, last: dt.date, retries: int) -> dict[str, Any]:
        """The columns of answers.py as a dictionary; `bars` holds the columns from `date` on, as lists."""
        bars: dict[str, list[Any]] = {}
        status, reason = "ok", None
        retrying = self._retrying(retries)
        try:
            bars = retrying(self._history, symbol, first, last)
        except NoBars as error:
            reason = str(error)
        except UnknownSymbol as error:
            status, reason = "unknown", str(error)
        except ChartFailure as error:
            attempts = retrying.statistics["attempt_number"]
            status, reason = "failed", f"{error} after {attempts} attempt{'s' if attempts > 1 else ''}"
        asked = {"asked_from": first.isoformat(), "asked_to": last.isoformat(), "fetched_at": utc_now().isoformat()}
        return {"symbol": symbol, **asked, "status": status, "reason": reason, "bars": bars}

    def _retrying(self, retries: int) -> tenacity.Retrying:
        backoff = self.settings.backoff
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(PassingFailure),
            wait=tenacity.wait_exponential_jitter(multiplier=backoff, max=LONGEST_WAIT, jitter=backoff),
            stop=tenacity.stop_after_attempt(retries + 1) | tenacity.stop_before_delay(self.settings.retry_budget),
            reraise=True,
        )

    def _history(self, symbol: str, first: dt.date, last: dt.date) -> dict[str, list[Any]]:
        from yfinance.exceptions import YFException
        from yfinance.scrapers.history import PriceHistory

        # Ticker(symbol).history() is this call behind a look-up of the time zone and a TLS session a symbol
        history = PriceHistory(self.data, yahoo_name(symbol), TIME_ZONE, session=self.session)
        after = last + dt.timedelta(days=1)
        options = {"interval": "1d", "auto_adjust": False, "actions": True, "keepna": True, "repair": False}
        try:
            frame = history.history(start=first, end=after, timeout=self.settings.timeout, **options)
        except (YFException, LookupError, TypeError, ValueError) as error:
            # a chart of an unexpected shape, or an outage page in words
            raise PassingFailure(f"unreadable chart ({type(error).__name__})") from error
        finally:
            self.data.cache_get.cache_clear()  # yfinance keeps the last 64 answers, and nothing is asked for twice
        return columns(frame, first, last)


def columns(frame: Any, first: dt.date, last: dt.date) -> dict[str, list[Any]]:
    """yfinance's frame as lists of JSON values, without the sessions outside the range (Yahoo may add a live row)."""
    dates = frame.index.date
    inside = (dates >= first) & (dates <= last)
    # one array of floats: pandas takes ten times as long for a column at a time; a volume below 2^53 stays exact
    names = [*PRICES.values(), "Volume", *ACTIONS.values()]
    *prices, volume, dividend, split_ratio = frame[names].to_numpy(dtype=float)[inside].T
    result: dict[str, list[Any]] = {"date": [date.isoformat() for date in dates[inside]]}
    for name, values in zip(PRICES, prices, strict=True):
        result[name] = nullable(values, values == values)
    # yfinance fills a missing volume with 0, which is a fact only where the session has prices
    traded = sum(values == values for values in prices) > 0
    result["volume"] = nullable(volume.astype("int64"), traded & (volume != MISSING))
    for name, values in zip(ACTIONS, (dividend, split_ratio), strict=True):
        result[name] = nullable(values, (values == values) & (values != 0))
    return result


def nullable(values: Any, known: Any) -> list[Any]:
    """The values of an array as a list, None where `known` is false."""
    if known.all():
        return values.tolist()
    return [value if is_known else None for value, is_known in zip(values.tolist(), known.tolist(), strict=True)]


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Worker:
    """Reads questions, answers them in a pool of threads, writes each answer in one piece."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        self.lock = threading.Lock()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print of a library is no answer

    def run(self) -> None:
        with ThreadPoolExecutor(self.asker.settings.threads) as pool:
            for line in sys.stdin.buffer:
                question = json.loads(line)
                first, last = (dt.date.fromisoformat(question[name]) for name in ("first", "last"))
                future = pool.submit(self.asker.answer, question["symbol"], first, last, question["retries"])
                future.add_done_callback(functools.partial(self.send, question["number"]))
            os._exit(0)  # nobody reads the answers that are still under way

    def send(self, number: int, done: Future[dict[str, Any]]) -> None:
        """Write the answer, or the unforeseen error in its place."""
        error = done.exception()
        answer = done.result() if error is None else {"error": clean(f"{type(error).__name__}: {error}", 200)}
        line = json.dumps({"number": number, **answer}).encode() + b"\n"
        try:
            with self.lock:
                self.output.write(line)
                self.output.flush()
        except BrokenPipeError:
            os._exit(1)


def main() -> None:
    # pandas warns of yfinance's calls at each symbol, and filters do not hold: libraries change them in several threads
    warnings.showwarning = lambda *_, **__: None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    parent, descriptor, given = json.loads(sys.argv[1])
    die_with_parent(signal.SIGKILL, parent)
    settings = Settings(**given)
    Worker(Asker(settings, Pace(descriptor, settings.requests_per_second))).run()


if __name__ == "__main__":
    main()
