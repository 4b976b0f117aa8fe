"""Why a symbol is, or is not, on the watchlist of a session: its listing, its bar and the bar's origin, every rule."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime as dt
import difflib
import json
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline import calendar
from pipeline.config import market, storage
from pipeline.database.connection import records
from pipeline.errors import NothingKnownError
from pipeline.sources.answers import DAMAGE, batch_files
from pipeline.watchlist.expressions import condition_columns
from pipeline.watchlist.hits import day_view
from pipeline.watchlist.sandbox import sandbox
from pipeline.watchlist.scans import CheckedScan, configured_scans, holds, ranked

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_WHERE = "SELECT 1 FROM day_view WHERE {}"


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the conditions that a rule joins with AND. `holds` is None where a value is missing."""

    text: str
    holds: bool | None
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a rule says of the symbol. `rank` is its place among those that the rule fires for, the limit apart."""

    scan: CheckedScan
    parts: tuple[Part, ...]
    rank: int | None
    found: int

    @property
    def fired(self) -> bool:
        return self.rank is not None and self.rank <= self.scan.limit


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Everything that is stored of one symbol on one session; None or empty where there is nothing."""

    session: dt.date
    symbol: str
    listing: dict[str, Any] | None
    coverage: dict[str, Any] | None
    bar: dict[str, Any] | None
    rejected: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    indicators: dict[str, Any] | None
    watchlist: dict[str, Any] | None
    in_view: bool
    verdicts: tuple[Verdict, ...]

    @property
    def why_no_candidate(self) -> str:
        """Why no rule looks at the symbol, which is not in the day's view."""
        if self.coverage is None:
            return self.why_not_expected
        if self.coverage["state"] != "stored":
            return f"its bar is {self.coverage['state']}"
        return f"a {(self.listing or {}).get('security_type') or 'symbol'} is no candidate ([scans] skip_types)"

    @property
    def is_by_other_rules(self) -> bool:
        """Whether the list says otherwise than the rules, as they are now, would of the bars as they are now."""
        if self.watchlist is None:
            return any(verdict.fired for verdict in self.verdicts)
        made_by = (self.watchlist["scan_reason"], self.watchlist["rule_version"])
        return made_by not in [(each.scan.name, each.scan.version) for each in self.verdicts if each.fired]

    @property
    def why_not_expected(self) -> str:
        """Why the session did not want a bar of the symbol."""
        if self.listing is None:
            return "not expected: not on the session's listing"
        cap, limit = self.listing["market_cap"], market().min_market_cap
        if cap is None or cap <= limit:
            shown = "missing" if cap is None else f"{cap:,.10g}"
            return f"not expected: market_cap {shown} is not above [market] min_market_cap = {limit:,.10g}"
        return "not expected when the session was run"


def explain(connection: DuckDBPyConnection, session: dt.date, symbol: str) -> Explanation:
    """Raises NothingKnownError for a symbol that the session neither lists nor has bars of, or a day without a session.

    Besides ScanError, and the errors of `calendar.check_session`.
    """

    def row(query: str, *values: object) -> dict[str, Any] | None:
        return next(iter(records(connection, query, *values)), None)

    listing = row(
        "SELECT *, listed_on AS date FROM session_listings WHERE session = ? AND symbol = ?",
        session, symbol,
    )  # fmt: skip
    bar = row("FROM stock_data WHERE date = ? AND symbol = ?", session, symbol)
    rejected = records(connection, "FROM rejected_bars WHERE date = ? AND symbol = ?", session, symbol)
    if listing is None and bar is None and not rejected:
        raise NothingKnownError(_nothing(connection, session, symbol))
    view = day_view(connection, session)
    return Explanation(
        session, symbol, listing,
        coverage=row("FROM price_coverage WHERE date = ? AND symbol = ?", session, symbol),
        bar=bar,
        rejected=rejected,
        actions=records(
            connection, "FROM corporate_actions WHERE symbol = ? AND date <= ? ORDER BY date DESC LIMIT 5",
            symbol, session,
        ),
        indicators=row("FROM technical_indicators WHERE date = ? AND symbol = ?", session, symbol),
        watchlist=row("FROM daily_watchlist WHERE scan_date = ? AND symbol = ?", session, symbol),
        in_view=symbol in view["symbol"].to_pylist(),
        verdicts=tuple(verdicts(view, symbol)),
    )  # fmt: skip


def _nothing(connection: DuckDBPyConnection, session: dt.date, symbol: str) -> str:
    if not calendar.check_session(session):
        around = calendar.around(session)
        return f"{session} is no session of {market().calendar}; the ones around it are {around}"
    listed = [name for (name,) in connection.execute(
        "SELECT symbol FROM session_listings WHERE session = ?", [session]
    ).fetchall()]  # fmt: skip
    if not listed:
        return (
            f"nothing is stored of session {session}; run it first: "
            f"luigi --module pipeline DailyPipeline --date {session}"
        )
    near = difflib.get_close_matches(symbol.upper(), listed, n=3)
    hint = f"; close to it: {', '.join(near)}" if near else ""
    return f"{symbol} is not among the {len(listed):,} symbols listed for session {session}{hint}"


def verdicts(view: pa.Table, symbol: str) -> Iterator[Verdict]:
    """What each configured rule says of the symbol, in the order of their priorities."""
    declared = configured_scans()
    with sandbox(view) as connection:
        for scan in declared:
            ranks = [name for (name,) in connection.execute(
                f"SELECT symbol FROM day_view WHERE {holds(scan.condition)} {ranked(scan.order)}"
            ).fetchall()]  # fmt: skip
            rank = ranks.index(symbol) + 1 if symbol in ranks else None
            parts = tuple(_part(connection, text, symbol) for text in conjuncts(connection, scan.condition))
            yield Verdict(scan, parts, rank, len(ranks))


def _part(connection: DuckDBPyConnection, text: str, symbol: str) -> Part:
    known = [name for name, *_ in connection.execute("DESCRIBE day_view").fetchall()]
    used = condition_columns(connection, text, known)
    columns = "".join(f', "{name}"' for name in used)
    row = connection.execute(f"SELECT {holds(text)}{columns} FROM day_view WHERE symbol = ?", [symbol]).fetchone()
    return Part(text, row[0] if row else None, dict(zip(used, row[1:], strict=True)) if row else {})


def conjuncts(connection: DuckDBPyConnection, condition: str) -> list[str]:
    """The parts that a condition joins with AND, as DuckDB writes them."""
    (text,) = connection.execute(
        "SELECT json_serialize_sql(?::VARCHAR)", [_WHERE.format(f"(\n{condition}\n)")]
    ).fetchone() or ("",)
    query = json.loads(text)
    return [_written(connection, query, part) for part in _flat(query["statements"][0]["node"]["where_clause"])]


def _flat(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if tree["type"] != "CONJUNCTION_AND":
        yield tree
        return
    for child in tree["children"]:
        yield from _flat(child)


def _written(connection: DuckDBPyConnection, query: dict[str, Any], part: dict[str, Any]) -> str:
    alone = copy.deepcopy(query)
    alone["statements"][0]["node"]["where_clause"] = part
    (text,) = connection.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(alone)]).fetchone() or ("",)
    written = text.split(" WHERE ", 1)[1].rstrip(";")
    return written[1:-1] if written.startswith("(") and written.endswith(")") else written


def raw_file(session: dt.date, symbol: str, fetched_at: dt.datetime) -> pathlib.Path | None:
    """The landed answer that a stored bar came with, as far as it is still kept."""
    folders = sorted((storage().root / "raw" / "prices").glob("*"))
    for folder in (folder for folder in folders if folder.name >= str(session)):
        for path in batch_files(folder):
            with contextlib.suppress(*DAMAGE):  # a damaged batch is set aside by the next run
                if _has_bar(path, session, symbol, fetched_at):
                    return path
    return None


def _has_bar(path: pathlib.Path, session: dt.date, symbol: str, fetched_at: dt.datetime) -> bool:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = [("symbol", "=", symbol), ("date", "=", session)]
    found = pq.read_table(path, columns=["symbol", "date", "fetched_at"], filters=wanted)
    return bool(pc.any(pc.equal(found["fetched_at"], fetched_at)).as_py())
