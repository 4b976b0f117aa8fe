"""The listing of an exchange, from the API behind the stock screener of nasdaq.com.

The download form (`download=true`) has all rows and fields, and no date; the table form has pages of six fields, the
number of rows, and the date of its prices ("Last price as of Feb 16, 2024"). So a small page of the table is asked for
first, then the download; where a server knows no download form, the pages of the table are read instead.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import tenacity

from pipeline import calendar
from pipeline.config import nasdaq
from pipeline.errors import (
    ListingTooShortError,
    ListingUnavailableError,
    ListingUnreadableError,
)
from pipeline.retry_after import seconds_of
from pipeline.sources.exchanges import NAMES
from pipeline.sources.nasdaq.envelope import Envelope, price_date, read_envelope, table_rows, total_records
from pipeline.sources.nasdaq.text import companies
from pipeline.sources.protocol import Listing
from pipeline.sources.web import Bound, BoundedSession, Excess, NoAnswer, WebError
from pipeline.text import clean

if TYPE_CHECKING:
    from curl_cffi import requests

PATH = "/api/screener/stocks"
HEADERS = {"Accept": "application/json, text/plain, */*"}
PAGE = 1000
OBJECTS_A_ROW, OBJECTS_AROUND = 2, 1000
#: A server that asks for a longer pause is not waited for: the run fails, and says when to come back.
LONGEST_PAUSE = 60.0
#: Rows may differ from the server's own count by this share (the list changes between two requests).
COUNT_TOLERANCE = 0.02

logger = logging.getLogger("pipeline")


class Refused(Exception):
    """The server answered with a status that is no success."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        #: Seconds that it asks to wait; None when it does not say.
        self.pause = seconds_of(retry_after)


class Until(tenacity.stop.stop_base):
    """No attempt begins after a moment of the monotonic clock."""

    def __init__(self, moment: float) -> None:
        self.moment = moment

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        return time.monotonic() + state.upcoming_sleep > self.moment


class NasdaqScreener:
    """Client of `[nasdaq] base_url` for one exchange. `sleep` waits between attempts."""

    def __init__(self, exchange: str = "nasdaq", sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = nasdaq()
        self.exchange = exchange
        self._sleep = sleep
        self._bytes_left = int(self.settings.max_mb * 1e6)

    def listing(self, session: dt.date) -> Listing:
        """The present listing, whatever `session` is asked for: the screener knows no other.

        `Listing.session` is the settled session that its prices are of. Raises ListingUnavailableError,
        ListingRefusedError, ListingUnreadableError or ListingTooShortError, each for its situation.
        """
        self._until = time.monotonic() + self.settings.max_seconds
        with BoundedSession(Bound(self.settings.timeout, self._bytes_left)) as http:
            first = self._ask(http, {"tableonly": "true", "limit": 25, "offset": 0})
            raw, rows = self._rows(http, first)
        listed = companies(rows, self.exchange)
        self._check_count(len(listed), len(rows), total_records(first.data))
        return Listing(listing_session(price_date(first.data), calendar.latest_session(), latest_until), listed, raw)

    def _rows(self, http: BoundedSession, first: Envelope) -> tuple[bytes, list[Any]]:
        """All rows, and the bytes they came in: the download, or the table's pages as one JSON document a line."""
        answer = self._ask(http, {"tableonly": "true", "limit": 25, "offset": 0, "download": "true"})
        if isinstance(answer.data.get("rows"), list):
            self._check_rows(len(answer.data["rows"]))
            return answer.raw, answer.data["rows"]
        if table_rows(answer.data) is None and table_rows(first.data) is None:
            raise ListingUnreadableError(
                f"the screener's answer has neither data.rows nor data.table.rows, but data with "
                f"{clean(', '.join(answer.data), 200) or 'nothing'}"
            )
        logger.warning("the screener gives no download form: reading its table, which has no sector, country or volume")
        pages = list(self._pages(http))
        return b"\n".join(page.raw for page in pages), [row for page in pages for row in table_rows(page.data) or []]

    def _pages(self, http: BoundedSession) -> Iterator[Envelope]:
        """The pages of the table up to an empty one, or up to the server's own count of rows."""
        offset = 0
        while True:
            page = self._ask(http, {"tableonly": "true", "limit": PAGE, "offset": offset})
            rows = table_rows(page.data)
            if rows is None:
                raise ListingUnreadableError(
                    f"the screener's table has no rows at offset {offset}, not even an empty list"
                )
            yield page
            offset += len(rows)
            self._check_rows(offset)
            if not rows or offset >= (total_records(page.data) or offset + 1):
                return

    def _check_objects(self, body: bytes) -> None:
        """Objects and lists take twenty times their bytes once they are read; a row is one, few stand around them."""
        found = body.count(b"{") + body.count(b"[")
        if found > OBJECTS_A_ROW * self.settings.max_rows + OBJECTS_AROUND:
            raise ListingUnreadableError(
                f"the NASDAQ screener's answer has {found:,} objects and lists, more than the "
                f"{self.settings.max_rows:,} rows of [nasdaq] max_rows can be"
            )

    def _check_rows(self, rows: int) -> None:
        if rows > self.settings.max_rows:
            raise ListingUnreadableError(
                f"the NASDAQ screener, asked for {NAMES[self.exchange]}, sent {rows:,} rows and more may come; "
                f"[nasdaq] max_rows takes {self.settings.max_rows:,}"
            )

    def _ask(self, http: BoundedSession, query: dict[str, Any]) -> Envelope:
        attempts = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.settings.retries + 1) | Until(self._until),
            retry=tenacity.retry_if_exception(may_pass),
            wait=pause,
            sleep=self._sleep,
            before_sleep=_say_retry,
            reraise=True,
        )
        try:
            response = attempts(self._get, http, query)
        except (WebError, Refused) as error:
            raise ListingUnavailableError(self._unavailable(error)) from error
        self._bytes_left -= len(response.content)
        self._check_objects(response.content)
        return read_envelope(response)

    def _get(self, http: BoundedSession, query: dict[str, Any]) -> requests.Response:
        url = self.settings.base_url.rstrip("/") + PATH
        left = self._until - time.monotonic()
        if left <= 0:
            raise NoAnswer(f"no whole listing within {self.settings.max_seconds:g} s")
        bound = Bound(min(self.settings.timeout, left), self._bytes_left)
        response = http.request("GET", url, params={**query, "exchange": self.exchange}, headers=HEADERS, bound=bound)
        if not response.ok:
            raise Refused(response.status_code, response.headers.get("Retry-After"))
        return response

    def _unavailable(self, error: WebError | Refused) -> str:
        found = f"gave {error}"
        if isinstance(error, Excess):  # of all its answers together
            found = f"gave more than {self.settings.max_mb:g} MB"
        if isinstance(error, Refused):
            found = f"answered {error}"
            found += f" and asks to wait {error.pause:.0f} s" if error.pause else ""
        return (
            f"the NASDAQ screener at {self.settings.base_url}, asked for {NAMES[self.exchange]}, {found}; tried up to "
            f"{self.settings.retries + 1} times. Run the task again later; [nasdaq] base_url, timeout, retries, "
            f"max_seconds and max_mb say where, how long and for how much it is asked"
        )

    def _check_count(self, listed: int, rows: int, total: int | None) -> None:
        if listed < self.settings.min_symbols:
            raise ListingTooShortError(
                f"the NASDAQ screener lists {listed:,} symbols of {NAMES[self.exchange]} "
                f"(by its own count {'unknown' if total is None else total}); "
                f"[nasdaq] min_symbols wants {self.settings.min_symbols:,}"
            )
        if total is None:
            logger.warning("the screener does not say how many symbols it lists: %d rows are taken as they are", rows)
        elif abs(rows - total) > max(5, COUNT_TOLERANCE * total):
            raise ListingUnreadableError(
                f"the NASDAQ screener, asked for {NAMES[self.exchange]}, sent {rows:,} rows and counts {total:,}: "
                f"the list is truncated; run the task again later"
            )


def listing_session(as_of: dt.date | None, latest: dt.date, latest_until: Callable[[dt.date], dt.date]) -> dt.date:
    """The session that a listing with prices as of a day belongs to.

    That day, or the session before it where it is none; never later than `latest`, the latest settled session, which
    also stands in for an unknown day. `latest_until(day)` is the last session up to and with a day.
    """
    return latest if as_of is None else latest_until(min(as_of, latest))


def latest_until(day: dt.date) -> dt.date:
    return calendar.session_before(day + dt.timedelta(days=1))


def may_pass(error: BaseException) -> bool:
    """True for a failure that another attempt may not meet: a broken connection, a timeout, 429, 5xx.

    False when the server wants a longer pause than LONGEST_PAUSE.
    """
    if isinstance(error, Refused):
        return (error.status == 429 or error.status >= 500) and (error.pause or 0.0) <= LONGEST_PAUSE
    return isinstance(error, NoAnswer)


def pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: what Retry-After says, else 1, 2, 4, ... up to 30 with some jitter."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Refused) and error.pause is not None:
        return error.pause
    return tenacity.wait_exponential_jitter(initial=1.0, max=30.0)(state)


def _say_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0.0
    logger.warning("NASDAQ screener: attempt %d failed (%s), next in %.1f s", state.attempt_number, error, wait)
