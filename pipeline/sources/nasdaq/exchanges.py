"""The listings of several exchanges as one: each asked for and checked on its own, and all of one session."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence

from pipeline.errors import ListingDatesError
from pipeline.sources.exchanges import NAMES, configured_exchanges
from pipeline.sources.nasdaq.screener import NasdaqScreener
from pipeline.sources.protocol import Company, Listing

logger = logging.getLogger("pipeline")


def ask_exchanges(session: dt.date) -> Listing:
    """The present listings of `[market] exchanges`. One that fails, fails them all: a part is no universe.

    Raises the screener's errors, and ListingDatesError when the listings are of different sessions.
    """
    return joined({name: NasdaqScreener(name).listing(session) for name in configured_exchanges()})


def joined(listings: dict[str, Listing]) -> Listing:
    """One listing of several, by the names of their exchanges. Of a symbol listed twice the first exchange counts."""
    sessions = {listing.session for listing in listings.values()}
    if len(sessions) > 1:
        each = ", ".join(f"{NAMES[name]} {listing.session}" for name, listing in listings.items())
        raise ListingDatesError(
            f"the listings are of different sessions ({each}): the screener has not brought all exchanges up to date; "
            f"run the task again later"
        )
    companies = [company for listing in listings.values() for company in listing.companies]
    raw = b"\n".join(listing.raw for listing in listings.values())
    return Listing(sessions.pop(), _once(companies), raw)


def _once(companies: Sequence[Company]) -> tuple[Company, ...]:
    listed: dict[str, Company] = {}
    for company in companies:
        first = listed.setdefault(company.symbol, company)
        if first is not company:
            logger.warning(
                "%s is listed by %s and by %s; the first counts",
                company.symbol, NAMES[first.exchange], NAMES[company.exchange],
            )  # fmt: skip
    return tuple(listed.values())
