"""The HTTP session that yfinance asks Yahoo's chart API through.

It sends each request to `[yahoo] base_url`, keeps the shared pace, and turns every answer that is no chart into an
exception of this file. yfinance itself would ask a second time for each status of 400 and above, and keep error
bodies in its cache. The statuses and texts are those that Yahoo sends.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from curl_cffi import requests as curl

from pipeline.retry_after import seconds_of
from pipeline.sources.yahoo.pacing import Pace

CHART_PATH = "/v8/finance/chart/"


class ChartFailure(Exception):
    """No usable answer, and the same question would get the same answer; the message is the reason for people."""


class PassingFailure(ChartFailure):
    """No usable answer, but asking again may help."""


class RateLimited(PassingFailure):
    """HTTP 429."""


class UnknownSymbol(ChartFailure):
    """Yahoo has no such symbol."""


class NoBars(ChartFailure):
    """Yahoo knows the symbol, and has no session of it in the range asked for."""


class CookieNotNeeded(ConnectionError):
    """What yfinance gets for its cookie and crumb requests.

    The chart API answers without either, as yfinance notes itself; it goes on without them after a ConnectionError.
    """


class ChartSession(curl.Session):
    """A curl_cffi session, usable by several threads, that knows nothing but charts.

    `timeout` seconds for one answer; `longest_pause` seconds are obeyed at most of a Retry-After.
    """

    def __init__(self, base_url: str, pace: Pace, timeout: float, longest_pause: float) -> None:
        super().__init__(impersonate="chrome")
        self.base = base_url.rstrip("/")
        self.pace = pace
        self.answer_timeout = timeout
        self.longest_pause = longest_pause

    def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> curl.Response:
        path = urlsplit(url).path
        if not path.startswith(CHART_PATH):
            raise CookieNotNeeded(path)
        kwargs["timeout"] = self.answer_timeout
        taken = self.pace.take()
        try:
            response = super().request(method, self.base + path, *args, **kwargs)
        except curl.exceptions.Timeout as error:
            raise PassingFailure(f"no answer within {self.answer_timeout:g} s") from error
        except curl.exceptions.RequestException as error:
            raise PassingFailure(f"no connection ({type(error).__name__})") from error
        if response.status_code == 429:
            self._limited(response, taken)
        self.pace.succeeded(taken)
        answer = parsed(response.content)
        check(response.status_code, answer)
        response.json = lambda **options: answer  # yfinance need not parse it again
        return response

    def _limited(self, response: curl.Response, taken: float) -> None:
        pause = seconds_of(response.headers.get("Retry-After"))
        self.pace.slow_down(taken, pause, self.longest_pause)
        if pause is not None and pause > self.longest_pause:
            raise ChartFailure(f"HTTP 429, Retry-After {pause:.0f} s")
        raise RateLimited("HTTP 429")


def check(status: int, answer: Any) -> None:
    """Return when the answer is a chart with sessions; raise what it is otherwise."""
    chart = answer.get("chart") if isinstance(answer, dict) else None
    chart = chart if isinstance(chart, dict) else None
    reason = description(chart)
    if status == 200:
        check_result(chart, reason)
    elif status == 404 and reason:
        raise UnknownSymbol(reason)
    elif status == 400 and reason.startswith("Data doesn't exist for startDate"):
        raise NoBars(reason)
    elif status >= 500 or status == 408:
        raise PassingFailure(f"HTTP {status}")
    else:
        raise ChartFailure(f"HTTP {status} {reason}".rstrip())


def check_result(chart: dict[str, Any] | None, reason: str) -> None:
    """An answer with HTTP 200: cut off, an error page, an error in words, a chart without sessions, or a chart."""
    if chart is None:
        raise PassingFailure("HTTP 200 without a chart (an error page, or a broken answer)")
    if reason.startswith("No data found"):
        raise UnknownSymbol(reason)
    results = chart.get("result")
    if not isinstance(results, list) or not results or not isinstance(results[0], dict) or not results[0].get("meta"):
        raise PassingFailure(f"HTTP 200 without a result {reason}".rstrip())
    if not results[0].get("timestamp"):
        raise NoBars("no session in the range")


def parsed(body: bytes) -> Any:
    """The JSON value of a body; None when it is something else."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def description(chart: dict[str, Any] | None) -> str:
    """Yahoo's own words for an error, cut to a line; empty when there are none."""
    error = chart.get("error") if chart else None
    return str(error.get("description") or "")[:120] if isinstance(error, dict) else ""
