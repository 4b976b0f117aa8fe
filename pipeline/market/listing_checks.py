"""Whether a listing is believed: against the snapshot before it, exchange by exchange.

The largest exchange would hide what the smallest has lost. What is refused leaves the stored universe as it was.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.config import market, quality
from pipeline.errors import ListingCapsError, ListingJumpedError, ListingShrunkError
from pipeline.sources.exchanges import NAMES, configured_exchanges
from pipeline.sources.protocol import Listing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: So many companies above the limit may come or go whatever their share: small universes move in large steps.
FEW = 5


@dataclasses.dataclass(frozen=True)
class Size:
    """The companies that an exchange lists, and those of them that are above `[market] min_market_cap`."""

    date: dt.date
    listed: int
    large: int


def check_listing(connection: DuckDBPyConnection, listing: Listing) -> None:
    """Raises ListingCapsError, ListingShrunkError or ListingJumpedError, each for its situation."""
    present = _sizes(listing)
    before = _sizes_before(connection, listing.session)
    wanted = {*present, *configured_exchanges()}
    _check_caps(listing)
    for exchange in sorted(before.keys() & wanted):
        size = present.get(exchange, Size(listing.session, 0, 0))
        _check_shrink(NAMES.get(exchange, exchange), size, before[exchange])
        _check_jump(NAMES.get(exchange, exchange), size, before[exchange])


def _sizes(listing: Listing) -> dict[str, Size]:
    listed = collections.Counter(company.exchange for company in listing.companies)
    limit = market().min_market_cap  # read once: a setting costs as much as a thousand comparisons
    large = collections.Counter(c.exchange for c in listing.companies if (c.market_cap or 0.0) > limit)
    return {exchange: Size(listing.session, listed[exchange], large[exchange]) for exchange in listed}


def _sizes_before(connection: DuckDBPyConnection, session: dt.date) -> dict[str, Size]:
    """Each exchange's newest snapshot before the session."""
    rows: Iterable[tuple[str, dt.date, int, int]] = connection.execute(
        """
        SELECT exchange, date, count(*), count(*) FILTER (market_cap > $limit)
        FROM symbol_snapshots WHERE date < $session GROUP BY exchange, date
        QUALIFY row_number() OVER (PARTITION BY exchange ORDER BY date DESC) = 1
        """,
        {"session": session, "limit": market().min_market_cap},
    ).fetchall()
    return {exchange: Size(date, listed, large) for exchange, date, listed, large in rows}


def _check_caps(listing: Listing) -> None:
    known = sum(company.market_cap is not None for company in listing.companies)
    if known < quality().min_market_caps * len(listing.companies):
        raise ListingCapsError(
            f"the listing of {listing.session} has a market capitalisation for {known:,} of its "
            f"{len(listing.companies):,} symbols, and [quality] min_market_caps wants "
            f"{quality().min_market_caps:.0%}: the source has lost them, and nearly nobody would be collected. "
            f"Run the task again later"
        )


def _check_shrink(exchange: str, size: Size, before: Size) -> None:
    lost = 1 - size.listed / before.listed
    if lost > quality().max_universe_shrink:
        raise ListingShrunkError(
            f"the listing of {exchange} of {size.date} has {size.listed:,} symbols, {lost:.0%} fewer than the "
            f"{before.listed:,} of {before.date}; the stored universe stays as it was. When the fall is real, raise "
            f"[quality] max_universe_shrink (now {quality().max_universe_shrink:g}) for one run"
        )


def _check_jump(exchange: str, size: Size, before: Size) -> None:
    if abs(size.large - before.large) > max(FEW, quality().max_universe_jump * before.large):
        raise ListingJumpedError(
            f"the listing of {exchange} of {size.date} has {size.large:,} companies above [market] min_market_cap, "
            f"after {before.large:,} on {before.date}; so many do not cross it in a day. The stored universe stays as "
            f"it was. When the change is real, raise [quality] max_universe_jump "
            f"(now {quality().max_universe_jump:g}) for one run"
        )
