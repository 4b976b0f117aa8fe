"""One answer of the NASDAQ screener: the object under `data`, and its rows, its count of rows and its date."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

from pipeline.errors import ListingRefusedError, ListingUnreadableError
from pipeline.sources.nasdaq.text import OddRow, whole
from pipeline.text import clean

if TYPE_CHECKING:
    from curl_cffi import requests

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(rf"\b({'|'.join(_MONTHS)})[a-z]*\.? +(\d{{1,2}}), +(\d{{4}})")


@dataclasses.dataclass(frozen=True)
class Envelope:
    """One answer: its bytes as received, and the object under `data`."""

    raw: bytes
    data: dict[str, Any]


def read_envelope(response: requests.Response) -> Envelope:
    """Raises ListingUnreadableError for what is no envelope, ListingRefusedError for one that says no."""
    try:
        answer = json.loads(response.content, parse_int=short_int)
    except (ValueError, RecursionError) as error:  # JSONDecodeError, bytes that are no text, nested too deep
        kind = response.headers.get("Content-Type", "without a type")
        raise ListingUnreadableError(
            f"the NASDAQ screener's answer is no JSON: {len(response.content):,} bytes of {kind[:60]} that begin with "
            f"{response.content[:60]!r}. An error page, or a body cut off: run the task again later"
        ) from error
    if not isinstance(answer, dict) or "data" not in answer:
        raise ListingUnreadableError("the NASDAQ screener's answer lacks the key 'data': its format has changed")
    status = answer["status"] if isinstance(answer.get("status"), dict) else {}
    code = status.get("rCode", 200)
    if code != 200 or answer["data"] is None:
        raise ListingRefusedError(
            f"the NASDAQ screener refused with status.rCode {str(code)[:20]}: {clean(_server_message(status), 200)}; "
            f"run the task again later"
        )
    if not isinstance(answer["data"], dict):
        raise ListingUnreadableError(f"the NASDAQ screener's 'data' is no object but {type(answer['data']).__name__}")
    return Envelope(response.content, answer["data"])


def short_int(digits: str) -> int | str:
    """A number of JSON; one too long to be any stays the text that it is, for the reader of its row to refuse."""
    return int(digits) if len(digits) < 400 else digits


def _server_message(status: dict[str, Any]) -> str:
    codes = status.get("bCodeMessage")
    said = (
        [str(code.get("errorMessage")) for code in codes if isinstance(code, dict)] if isinstance(codes, list) else []
    )
    return "; ".join(said) or str(status.get("developerMessage") or "it gave no message")


def table_rows(data: dict[str, Any]) -> list[Any] | None:
    table = data.get("table")
    rows = table.get("rows") if isinstance(table, dict) else None
    return rows if isinstance(rows, list) else None


def total_records(data: dict[str, Any]) -> int | None:
    """The server's own count of all rows; None when it does not say one that can be read."""
    try:
        return whole(data.get("totalrecords"))
    except (ValueError, OddRow):
        return None


def price_date(data: dict[str, Any]) -> dt.date | None:
    """The day of "Last price as of Feb 16, 2024", None when it is not readable."""
    match = _DATE.search(str(data.get("asof") or ""))
    if match is None:
        return None
    try:
        return dt.date(int(match[3]), _MONTHS.index(match[1]) + 1, int(match[2]))
    except ValueError:
        return None
