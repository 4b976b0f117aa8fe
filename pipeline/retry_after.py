"""The Retry-After header of HTTP: how long a server asks its clients to wait."""

from __future__ import annotations

import datetime as dt
import email.utils

from pipeline import calendar


def seconds_of(header: str | None) -> float | None:
    """The seconds that the header asks for, given as a number or as a date (RFC 9110, 10.2.3); None when unreadable.

    Fractions count, since some servers send them; a date without a zone is one of UTC.
    """
    text = (header or "").strip()
    if text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - calendar.now()).total_seconds())
