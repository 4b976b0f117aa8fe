"""Listings as they were received, and as they are stored.

source -> raw/symbols/SESSION/ (the answer, and what was understood of it) -> symbol_snapshots -> nasdaq_symbols
"""

from __future__ import annotations

import datetime as dt
import gzip
import pathlib
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import market, quality, storage
from pipeline.database.temporary import Temporary
from pipeline.errors import NotReceivedError
from pipeline.host.files import atomic_path, set_aside
from pipeline.market.securities import security_type
from pipeline.sources.protocol import Company, Listing
from pipeline.sources.registry import configured_source

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


def obtain(session: dt.date) -> Listing:
    """The listing for `session`: from the source, or, with `[market] offline`, the one that was received for it."""
    if market().offline:
        return received(session)
    listing = configured_source().listing(session)
    keep(listing)
    return listing


def keeps(session: dt.date) -> bool:
    """Whether `obtain` may have the session's own listing although the session is past."""
    if market().offline:
        return any(folder_of(session).glob("*.parquet"))
    return configured_source().keeps_listings


def keep(listing: Listing) -> None:
    """Keep the answer as it was received, and beside it, as Parquet, what was understood of it."""
    import pyarrow.parquet as pq

    stem = f"{calendar.now():%Y%m%dT%H%M%S.%fZ}"
    with atomic_path(folder_of(listing.session) / f"{stem}.json.gz") as temporary:
        temporary.write_bytes(gzip.compress(listing.raw, mtime=0))
    with atomic_path(folder_of(listing.session) / f"{stem}.parquet") as temporary:
        pq.write_table(as_table(listing), temporary, compression="zstd", write_page_checksum=True)


def received(session: dt.date) -> Listing:
    """The newest kept listing of `session`, else of the nearest later session, else of one just before it.

    One that cannot be read is set aside. Raises NotReceivedError when none is left.
    """
    for path in _kept_listings(session):
        companies = _read(path)
        if companies is not None:
            return Listing(dt.date.fromisoformat(path.parent.name), companies, b"")
        set_aside(path)
    raise NotReceivedError(
        f"session {session}: no listing that serves it lies in {folder_of(session).parent}, and [market] offline "
        f"forbids to ask the source; run the session once without it"
    )


def _kept_listings(session: dt.date) -> list[pathlib.Path]:
    """The files of listings that serve the session, the best one first."""
    oldest = calendar.session_before(session, quality().max_listing_age)
    kept = sorted(folder_of(session).parent.glob("*/*.parquet"), reverse=True)
    days = {path: dt.date.fromisoformat(path.parent.name) for path in kept}
    usable = [path for path in kept if days[path] >= oldest]
    return sorted(usable, key=lambda path: (days[path] < session, abs(days[path] - session)))


def _read(path: pathlib.Path) -> tuple[Company, ...] | None:
    """The companies of a kept listing, None when the file is damaged."""
    import pyarrow.parquet as pq

    from pipeline.sources.answers import DAMAGE

    try:
        rows = pq.read_table(path, page_checksum_verification=True).drop_columns("security_type").to_pylist()
        return tuple(Company(**row) for row in rows)
    except (*DAMAGE, TypeError):
        return None


def folder_of(session: dt.date) -> pathlib.Path:
    return storage().root / "raw" / "symbols" / str(session)


def as_table(listing: Listing) -> pa.Table:
    """One row a company, with its security type."""
    import pyarrow as pa

    text = dict.fromkeys(("symbol", "exchange", "name", "sector", "industry", "country"), pa.string())
    numbers = {
        "market_cap": pa.float64(),
        "ipo_year": pa.int32(),
        "last_sale": pa.float64(),
        "net_change": pa.float64(),
    }
    schema = pa.schema({**text, **numbers, "volume": pa.int64(), "security_type": pa.string()})
    columns = {
        field: [getattr(company, field) for company in listing.companies] for field in (*text, *numbers, "volume")
    }
    kinds = [security_type(company.name) for company in listing.companies]
    return pa.table({**columns, "security_type": kinds}, schema=schema)


def store(connection: DuckDBPyConnection, listing: Listing) -> None:
    """Replace the snapshot of the listing's session, and bring `nasdaq_symbols` up to date."""
    listed = as_table(listing)  # noqa: F841  # DuckDB finds it by its name
    connection.execute("DELETE FROM symbol_snapshots WHERE date = ?", [listing.session])
    connection.execute("INSERT INTO symbol_snapshots BY NAME SELECT ?::DATE AS date, * FROM listed", [listing.session])
    refresh_symbols(connection, listing.session)


def refresh_symbols(connection: DuckDBPyConnection, session: dt.date) -> None:
    """Recompute `nasdaq_symbols` of the symbols listed on `session`; those that left become inactive, and stay.

    The facts of a symbol are those of its newest snapshot, whatever the order in which snapshots arrive. What begins or
    ends with this session may have done so by a snapshot that is replaced: only for it all snapshots are looked at.
    """
    values = {"session": session}
    with Temporary(connection) as tables:
        tables.make("doubtful", _DOUBTFUL, values)
        tables.make("seen", _SEEN, values)
        for changed in ("seen", "doubtful"):
            tables.execute(f"DELETE FROM nasdaq_symbols WHERE symbol IN (SELECT symbol FROM {changed})")
        tables.execute(_NEWEST_FACTS)
    connection.execute(_ACTIVITY)


_DOUBTFUL = "SELECT symbol, avg_volume_30 FROM nasdaq_symbols WHERE $session IN (first_seen, last_seen)"
_SEEN = """
    SELECT s.symbol, least(s.date, k.first_seen) AS first_seen, greatest(s.date, k.last_seen) AS last_seen,
           k.avg_volume_30
    FROM symbol_snapshots s LEFT JOIN nasdaq_symbols k USING (symbol)
    WHERE s.date = $session AND s.symbol NOT IN (SELECT symbol FROM doubtful)
    UNION ALL
    SELECT symbol, min(date), max(date), any_value(avg_volume_30)
    FROM symbol_snapshots JOIN doubtful USING (symbol) GROUP BY symbol
"""
_NEWEST_FACTS = """
    INSERT INTO nasdaq_symbols BY NAME
    SELECT s.symbol, s.name, s.sector, s.industry, s.country, s.market_cap, s.ipo_year, s.security_type,
           s.exchange, true AS is_active, seen.first_seen, seen.last_seen, seen.avg_volume_30,
           now() AS updated_at
    FROM seen JOIN symbol_snapshots s ON s.symbol = seen.symbol AND s.date = seen.last_seen
"""
_ACTIVITY = """
    UPDATE nasdaq_symbols SET is_active = (last_seen = newest.date)
    FROM (SELECT max(date) AS date FROM symbol_snapshots) newest WHERE is_active <> (last_seen = newest.date)
"""
