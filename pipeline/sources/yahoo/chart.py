"""The HTTP session that yfinance asks Yahoo's chart API through.

It sends each request to `[yahoo] base_url`, keeps the shared pace, and turns every answer that is no chart into an
exception of this file. yfinance itself would ask a second time for each status of 400 and above, and keep error
bodies in its cache. The statuses and texts are those that Yahoo sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from curl_cffi import requests as curl

from pipeline.retry_after import seconds_of
from pipeline.sources.web import Bound, BoundedSession, NoAnswer, WebError
from pipeline.sources.yahoo.content import contradiction, mend, number
from pipeline.sources.yahoo.pacing import Pace
from pipeline.text import clean

CHART_PATH = "/v8/finance/chart/"
#: A session takes some 120 bytes of a chart, and what stands around the sessions some 1,500.
BYTES_AROUND, BYTES_A_DAY = 1 << 16, 500
SECONDS_A_DAY = 86_400


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


class ChartSession(BoundedSession):
    """A session that knows nothing but charts; `longest_pause` seconds are obeyed at most of a Retry-After."""

    def __init__(self, base_url: str, pace: Pace, bound: Bound, longest_pause: float) -> None:
        super().__init__(bound)
        self.base = base_url.rstrip("/")
        self.pace = pace
        self.longest_pause = longest_pause

    def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> curl.Response:
        path = urlsplit(url).path
        if not path.startswith(CHART_PATH):
            raise CookieNotNeeded(path)
        days = days_asked(kwargs["params"])
        kwargs["bound"] = Bound(self.bound.seconds, BYTES_AROUND + BYTES_A_DAY * days)
        taken = self.pace.take()
        try:
            response = super().request(method, self.base + path, *args, **kwargs)
        except NoAnswer as error:
            raise PassingFailure(str(error)) from error
        except WebError as error:
            raise ChartFailure(str(error)) from error
        if response.status_code == 429:
            self._limited(response, taken)
        self.pace.succeeded(taken)
        answer = parsed(response.content)
        check(response.status_code, answer, unquote(path.removeprefix(CHART_PATH)), days)
        response.json = lambda **options: answer  # type: ignore[method-assign] # yfinance need not parse it again
        return response

    def _limited(self, response: curl.Response, taken: float) -> None:
        pause = seconds_of(response.headers.get("Retry-After"))
        self.pace.slow_down(taken, pause, self.longest_pause)
        if pause is not None and pause > self.longest_pause:
            raise ChartFailure(f"HTTP 429, Retry-After {pause:.0f} s")
        raise RateLimited("HTTP 429")


def days_asked(question: Mapping[str, Any]) -> int:
    """The days from `period1` to `period2` of a question to the chart API, which are seconds since 1970."""
    return max(0, (int(question["period2"]) - int(question["period1"])) // SECONDS_A_DAY)


def check(status: int, answer: Any, asked: str, days: int) -> None:
    """Return when the answer is a chart of the symbol asked for, with `days` sessions and a live one at most.

    Raise what it is otherwise.
    """
    chart = answer.get("chart") if isinstance(answer, dict) else None
    chart = chart if isinstance(chart, dict) else None
    reason = description(chart)
    if status == 200:
        check_result(chart, reason, asked, days)
    elif status == 404 and reason:
        raise UnknownSymbol(reason)
    elif status == 400 and reason.startswith("Data doesn't exist for startDate"):
        raise NoBars(reason)
    elif status >= 500 or status == 408:
        raise PassingFailure(f"HTTP {status}")
    else:
        raise ChartFailure(f"HTTP {status} {reason}".rstrip())


def check_result(chart: dict[str, Any] | None, reason: str, asked: str, days: int) -> None:
    """HTTP 200: cut off, an error page, an error in words, another chart, one without sessions, or the chart."""
    if chart is None:
        raise PassingFailure("HTTP 200 without a chart (an error page, or a broken answer)")
    if reason.startswith("No data found"):
        raise UnknownSymbol(reason)
    results = chart.get("result")
    if not isinstance(results, list) or not results or not isinstance(results[0], dict) or not results[0].get("meta"):
        raise PassingFailure(f"HTTP 200 without a result {reason}".rstrip())
    other = contradiction(results[0]["meta"], asked)
    if other:
        raise PassingFailure(other)
    stamps = results[0].get("timestamp")
    if not stamps:
        raise NoBars("no session in the range")
    if not isinstance(stamps, list) or len(stamps) > days + 1:
        raise ChartFailure(f"more sessions than the {days} days asked for")
    try:
        mend(results[0])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise PassingFailure(f"unreadable chart ({type(error).__name__})") from error


def parsed(body: bytes) -> Any:
    """The JSON value of a body; None when it is something else, or nested deeper than any answer."""
    try:
        return json.loads(body, parse_int=number)
    except (ValueError, RecursionError):  # nested a thousand deep
        return None


def description(chart: dict[str, Any] | None) -> str:
    """Yahoo's own words for an error, cut to a line; empty when there are none."""
    error = chart.get("error") if chart else None
    return clean(str(error.get("description") or ""), 120) if isinstance(error, dict) else ""
