"""Listings and bars as the files have them: of several rows of a symbol and day, the last file's counts."""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import calendar
from pipeline.config import absolute, files
from pipeline.errors import FilesSourceError, ListingUnavailableError
from pipeline.sources.answers import ANSWER_SCHEMA
from pipeline.sources.batches import collect_in_batches, repeated
from pipeline.sources.digests import DIGESTS, digest_query
from pipeline.sources.exchanges import NAMES, configured_exchanges
from pipeline.sources.files.tables import data_files, opened
from pipeline.sources.protocol import BarRequest, Company, Listing, Progress, is_symbol

logger = logging.getLogger("pipeline")


class FilesSource:
    """The `Source` of `[market] source = files`.

    Every method raises FilesSourceError for a folder, file, column or value that is missing or unusable.
    """

    name = "files"

    def __init__(self) -> None:
        self.folder = absolute(files().path)

    @property
    def keeps_listings(self) -> bool:
        """Whether any row has a date. Rows without one are the present's: for a past session, a later listing."""
        with opened(self.folder, "listings") as connection:
            return bool(connection.execute("SELECT count(date) > 0 FROM listings").fetchall()[0][0])

    def listing(self, session: dt.date) -> Listing:
        """The rows of the newest date up to `session`, and the rows without a date; of a symbol's rows the last counts.

        `Listing.session` is that date. When no row of any file has a date, it is the latest session that has settled:
        which companies were listed before, such files do not say. Raises ListingUnavailableError when all rows are of
        later dates.
        """
        with opened(self.folder, "listings") as connection:
            rows: pa.Table = connection.sql(_LISTING_OF, params={"session": session}).to_arrow_table()
            if not len(rows):
                raise ListingUnavailableError(self._none_yet(connection, session))
            present = session if self.keeps_listings else calendar.latest_session()
        newest = max((date for date in rows["date"].to_pylist() if date), default=present)
        facts = rows.drop(["date", "file"]).to_pylist()
        self._refuse_odd(facts)
        companies = self._listed(facts)
        raw = json.dumps([company.__dict__ for company in companies.values()]).encode()
        of_session = calendar.session_before(newest + dt.timedelta(days=1))  # a weekend's listing is Friday's
        return Listing(of_session, tuple(companies.values()), raw)

    def _refuse_odd(self, facts: Sequence[dict[str, Any]]) -> None:
        for odd in (row["symbol"] for row in facts if not is_symbol(row["symbol"])):
            raise FilesSourceError(
                f"{self.folder / 'listings'} has a symbol that none can be, {odd[:40]!r}: letters, digits and the "
                f"signs of share classes, 20 at most"
            )
        for boundless in (row["symbol"] for row in facts if math.isinf(row["market_cap"] or 0)):
            raise FilesSourceError(f"{self.folder / 'listings'} has an infinite market_cap, of {boundless}")

    def _listed(self, facts: Sequence[dict[str, Any]]) -> dict[str, Company]:
        """The companies of the configured exchanges, by symbol: as the last row of each has it."""
        wanted = configured_exchanges()
        every = {row["symbol"]: Company(**row | {"exchange": self._exchange(row) or wanted[0]}) for row in facts}
        found = {symbol: company for symbol, company in every.items() if company.exchange in wanted}
        if len(found) < len(every):
            others = ", ".join(sorted({company.exchange for company in every.values()}.difference(wanted)))
            logger.info(
                "%d companies of %s are left out: [market] exchanges = %s",
                len(every) - len(found), others, ", ".join(wanted),
            )  # fmt: skip
        return found

    def _exchange(self, row: dict[str, Any]) -> str:
        name = (row["exchange"] or "").lower()
        if name and name not in NAMES:
            raise FilesSourceError(
                f"{self.folder / 'listings'} has the exchange {row['exchange'][:40]!r}, of {row['symbol']}; there are "
                f"{', '.join(NAMES)}"
            )
        return name

    def _none_yet(self, connection: duckdb.DuckDBPyConnection, session: dt.date) -> str:
        (first,) = connection.execute("SELECT min(date) FROM listings").fetchone() or (None,)
        found = f"the first one there is of {first}" if first else "its files have no rows"
        return f"{self.folder / 'listings'} has no listing for {session} or earlier: {found}"

    def collect(self, requests: Sequence[BarRequest], folder: pathlib.Path, progress: Progress) -> None:
        """See `Source`; a symbol without any bar in the files is unknown."""
        with opened(self.folder, "bars") as connection:
            connection.execute("CREATE TEMP TABLE known AS SELECT DISTINCT symbol FROM bars")
            connection.execute(  # once, because a CSV file has no index: each look into it reads it whole
                "CREATE TEMP TABLE bars_in_range AS SELECT * FROM bars WHERE date BETWEEN ? AND ?",
                [min((r.first for r in requests), default=None), max((r.last for r in requests), default=None)],
            )
            collect_in_batches(requests, folder, progress, lambda batch: self._answer(connection, batch))

    def changed_at(self) -> dt.datetime:
        """See `StandingSource`. A file's change is the moment at which it was written, or got its name."""
        stamps = [path.stat() for path in data_files(self.folder / "bars")]
        return dt.datetime.fromtimestamp(max(max(stamp.st_mtime, stamp.st_ctime) for stamp in stamps), dt.UTC)

    def digests(self, spans: pa.Table) -> pa.Table:
        """See `StandingSource`."""
        with opened(self.folder, "bars") as connection:
            connection.register("spans", spans)
            return connection.sql(digest_query(f"({_STANDING_BARS})")).to_arrow_table().cast(DIGESTS)

    def _answer(self, connection: duckdb.DuckDBPyConnection, requests: Sequence[BarRequest]) -> pa.Table:
        wanted = pa.table(
            {
                "number": pa.array(range(len(requests))),
                "symbol": pa.array([request.symbol for request in requests], pa.string()),
                "first": pa.array([request.first for request in requests], pa.date32()),
                "last": pa.array([request.last for request in requests], pa.date32()),
            }
        )
        connection.register("wanted", wanted)
        found: pa.Table = connection.sql(_BARS_WANTED).to_arrow_table()
        self._refuse_repeated(found)
        moment = repeated(calendar.now(), "fetched_at", len(found))
        return found.append_column("fetched_at", moment).select(ANSWER_SCHEMA.names).cast(ANSWER_SCHEMA)

    def _refuse_repeated(self, found: pa.Table) -> None:
        for row in found.filter(pc.greater(found["copies"], 1)).slice(0, 1).to_pylist():
            file = data_files(self.folder / "bars")[row["file"]]
            raise FilesSourceError(
                f"{file} has {row['copies']} bars of {row['symbol']} on {row['date']}; leave one of them "
                f"(a correction belongs in a file whose name sorts later: it replaces the bar)"
            )


_LISTING_OF = """
    SELECT * REPLACE (coalesce(name, symbol) AS name) FROM listings
    WHERE date IS NULL OR date = (SELECT max(date) FROM listings WHERE date <= $session)
    ORDER BY date NULLS FIRST, file
"""
_STANDING_BARS = """
    SELECT b.* FROM bars b JOIN spans s ON s.symbol = b.symbol AND b.date BETWEEN s.first AND s.last
    WHERE coalesce(b.open, b.high, b.low, b.close) IS NOT NULL
    QUALIFY b.file = max(b.file) OVER (PARTITION BY b.symbol, b.date)
"""
_BARS_WANTED = """
    WITH latest AS (
        SELECT w.number, b.*, count(*) OVER (PARTITION BY w.number, b.date, b.file) AS copies
        FROM bars_in_range b JOIN wanted w ON b.symbol = w.symbol AND b.date BETWEEN w.first AND w.last
        QUALIFY b.file = max(b.file) OVER (PARTITION BY w.number, b.date)
    )
    SELECT w.symbol, w.first AS asked_from, w.last AS asked_to,
           CASE WHEN w.symbol IN (FROM known) THEN 'ok' ELSE 'unknown' END AS status,
           CASE WHEN w.symbol IN (FROM known) THEN NULL ELSE 'the files have no bar of this symbol' END AS reason,
           l.date, l.open, l.high, l.low, l.close, l.volume, l.dividend, l.split_ratio, l.file, l.copies
    FROM wanted w LEFT JOIN latest l USING (number) ORDER BY w.number, l.date
"""
