"""The first stage: which companies are listed."""

from __future__ import annotations

import datetime as dt
import gzip
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import quality, storage
from pipeline.database import writing
from pipeline.errors import ListingOutdatedError, ListingShrunkError, PipelineError
from pipeline.files import atomic_path
from pipeline.sources import Listing, configured_source
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.universe import snapshot_for

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")


class CollectSymbols(SessionTask):
    """The listing that serves each session, asked for when the database has none.

    The screener answers for the present alone. A past session therefore takes its own snapshot, else the nearest later
    one; the source is asked only when neither is stored. Input: the source's listing. Output: `symbol_snapshots`,
    `nasdaq_symbols`, `session_universe`, and the raw answer in `raw/symbols/`.

    Raises the subclasses of ListingError; the stored universe then is as it was.
    """

    table = "symbol_snapshots"
    retry_count = 2
    priority = 90

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        return {session: self._attempt(session) for session in sessions}

    def _attempt(self, session: dt.date) -> Outcome:
        try:
            if self._choose(session) is None:
                self._collect(session)
            return {"snapshot": self._settle(session)}
        except PipelineError as error:
            return error

    def _choose(self, session: dt.date) -> dt.date | None:
        """The stored snapshot that serves the session; an older one does not keep us from asking for a newer."""
        with writing() as connection:
            chosen = snapshot_for(connection, session)
        return chosen if chosen is not None and chosen >= session else None

    def _collect(self, session: dt.date) -> None:
        listing = configured_source().listing(session)
        keep_raw(listing)
        with writing() as connection:
            check_size(connection, listing)
            store(connection, listing)
        self.say(f"{len(listing.companies):,} companies listed on {listing.session}")

    def _settle(self, session: dt.date) -> dt.date:
        with writing() as connection:
            chosen = snapshot_for(connection, session)
            if chosen is None:
                raise ListingOutdatedError(_outdated(connection, session))
            connection.execute(
                "INSERT OR REPLACE INTO session_universe (date, snapshot_date) VALUES (?, ?)", [session, chosen]
            )
            self.finish(connection, session)
        if chosen != session:
            logger.info("%s uses the listing of %s, the nearest one that is stored", session, chosen)
        return chosen


def _outdated(connection: DuckDBPyConnection, session: dt.date) -> str:
    (newest,) = connection.execute("SELECT max(date) FROM symbol_snapshots").fetchone() or (None,)
    return (
        f"session {session} needs a listing at most {quality().max_listing_age} session(s) old, and the newest that the "
        f"source gives is of {newest}; wait until the source has moved on, or raise [quality] max_listing_age"
    )


def keep_raw(listing: Listing) -> None:
    """Keep the answer as it was received, in `raw/symbols/SESSION/`, one file an answer."""
    folder = storage().root / "raw" / "symbols" / str(listing.session)
    with atomic_path(folder / f"{calendar.now():%Y%m%dT%H%M%S.%fZ}.json.gz") as temporary:
        temporary.write_bytes(gzip.compress(listing.raw, mtime=0))


def check_size(connection: DuckDBPyConnection, listing: Listing) -> None:
    """Raises ListingShrunkError when the list lost too many symbols against the snapshot before it."""
    row = connection.execute(
        "SELECT date, count(*) FROM symbol_snapshots WHERE date < ? GROUP BY date ORDER BY date DESC LIMIT 1",
        [listing.session],
    ).fetchone()
    if row is None:
        return
    date, before = row
    lost = 1 - len(listing.companies) / before
    if lost > quality().max_universe_shrink:
        raise ListingShrunkError(
            f"the listing of {listing.session} has {len(listing.companies):,} symbols, {lost:.0%} fewer than the "
            f"{before:,} of {date}; the stored universe stays as it was. When the fall is real, raise "
            f"[quality] max_universe_shrink (now {quality().max_universe_shrink:g}) for one run"
        )


def store(connection: DuckDBPyConnection, listing: Listing) -> None:
    """Replace the snapshot of the listing's session, and bring `nasdaq_symbols` up to date."""
    import pyarrow as pa

    listed = pa.Table.from_pylist([company.__dict__ for company in listing.companies], schema=_listed_schema())  # noqa: F841
    connection.execute("DELETE FROM symbol_snapshots WHERE date = ?", [listing.session])
    connection.execute("INSERT INTO symbol_snapshots BY NAME SELECT ?::DATE AS date, * FROM listed", [listing.session])
    refresh_symbols(connection, listing.session)


def refresh_symbols(connection: DuckDBPyConnection, session: dt.date) -> None:
    """Recompute `nasdaq_symbols` of the symbols listed on `session`; those that left become inactive, and stay.

    The facts of a symbol are those of its newest snapshot, whatever the order in which snapshots arrive.
    """
    connection.execute(
        """
        CREATE TEMP TABLE seen AS
        SELECT s.symbol,
               least(min(s.date), any_value(k.first_seen)) AS first_seen,
               greatest(max(s.date), any_value(k.last_seen)) AS last_seen,
               any_value(k.avg_volume_30) AS avg_volume_30
        FROM symbol_snapshots s LEFT JOIN nasdaq_symbols k USING (symbol) WHERE s.date = ? GROUP BY s.symbol
        """,
        [session],
    )
    connection.execute("DELETE FROM nasdaq_symbols WHERE symbol IN (SELECT symbol FROM seen)")
    connection.execute(
        """
        INSERT INTO nasdaq_symbols BY NAME
        SELECT s.symbol, s.name, s.sector, s.industry, s.country, s.market_cap, s.ipo_year, true AS is_active,
               seen.first_seen, seen.last_seen, seen.avg_volume_30, now() AS updated_at
        FROM seen JOIN symbol_snapshots s ON s.symbol = seen.symbol AND s.date = seen.last_seen
        """
    )
    connection.execute(
        """
        UPDATE nasdaq_symbols SET is_active = (last_seen = newest.date)
        FROM (SELECT max(date) AS date FROM symbol_snapshots) newest WHERE is_active <> (last_seen = newest.date)
        """
    )
    connection.execute("DROP TABLE seen")


def _listed_schema():  # type: ignore[no-untyped-def]  # pyarrow is imported where it is used
    import pyarrow as pa

    text = dict.fromkeys(("symbol", "name", "sector", "industry", "country"), pa.string())
    return pa.schema(
        {**text, "market_cap": pa.float64(), "ipo_year": pa.int32(), "last_sale": pa.float64(),
         "net_change": pa.float64(), "volume": pa.int64()}
    )
