"""The page of one symbol: its whole chart, and everything that is on record about it."""

from __future__ import annotations

import datetime as dt
import difflib
import pathlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.config import market, storage
from pipeline.database.connection import records
from pipeline.errors import NothingKnownError
from pipeline.report.hit_groups import has_column, short_name
from pipeline.report.page import templates
from pipeline.report.series import load_bars, packed, series
from pipeline.version import code_version

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EVERY = 100_000
#: What the page tells of the symbol, up to the day: title, columns, query over $symbol and $day.
SECTIONS = (
    ("On the watchlist", ("scan_date", "scan_reason", "close_price", "rsi_14", "bb_position", "volume_ratio"),
     "FROM daily_watchlist WHERE symbol = $symbol AND scan_date <= $day ORDER BY scan_date DESC LIMIT 60"),
    ("Splits and dividends", ("date", "kind", "value"),
     "FROM corporate_actions WHERE symbol = $symbol AND date <= $day ORDER BY date DESC, kind LIMIT 60"),
    ("Rejected bars", ("date", "rule", "open", "high", "low", "close", "volume", "rejected_at"),
     "FROM rejected_bars WHERE symbol = $symbol AND date <= $day ORDER BY date DESC LIMIT 60"),
    ("Sessions without a bar", ("date", "state", "reason"),
     "FROM price_coverage WHERE symbol = $symbol AND date <= $day AND state <> 'stored' ORDER BY date DESC LIMIT 60"),
    ("Names in the listing", ("name", "first_seen", "last_seen"),
     "FROM symbol_names WHERE symbol = $symbol ORDER BY last_seen DESC"),
)  # fmt: skip
#: The same of what a database may not have yet.
CORRECTIONS = ("Replaced bars", ("date", "open", "high", "low", "close", "volume", "reason", "replaced_at"),
               "FROM bar_versions WHERE symbol = $symbol AND date <= $day "
               "ORDER BY replaced_at DESC LIMIT 60")  # fmt: skip


def symbol_path(symbol: str) -> pathlib.Path:
    return storage().root / "reports" / "symbols" / f"{quote(symbol, safe='')}.html"


def render_symbol(connection: DuckDBPyConnection, symbol: str, day: dt.date | None = None) -> str:
    """A page that needs nothing else, as of the day or of the newest bar. Raises NothingKnownError."""
    (newest,) = connection.execute("SELECT max(date) FROM stock_data WHERE symbol = ?", [symbol]).fetchall()[0]
    until = day or newest or dt.date.max
    bars = load_bars(connection, [symbol], [until], EVERY).until(until, [symbol], EVERY)
    if not bars.num_rows:
        raise NothingKnownError(_nothing(connection, symbol, day))
    charted = series(bars)
    last = charted[symbol].dates[-1].item()
    given = {"symbol": symbol, "day": day or last}
    sections = [(title, columns, _rows(connection, columns, query, given)) for title, columns, query in SECTIONS]
    if has_column(connection, "bar_versions", "replaced_at"):
        sections.insert(2, (*CORRECTIONS[:2], _rows(connection, *CORRECTIONS[1:], given)))
    hits = [row["scan_date"] for row in sections[0][2]]
    return (
        templates()
        .get_template("symbol.html")
        .render(
            symbol=symbol,
            last=last,
            listing=_listing(connection, given),
            coverage=_coverage(connection, given),
            sections=sections,
            marks=" ".join(map(str, hits)),
            count=bars.num_rows,
            bars=packed(charted),
            simulated=market().source == "simulated",
            version=code_version(),
            scripts=("charts.js", "symbol.js"),
        )
    )


def _rows(
    connection: DuckDBPyConnection, columns: tuple[str, ...], query: str, given: dict[str, Any]
) -> list[dict[str, Any]]:
    used = {name: value for name, value in given.items() if f"${name}" in query}
    found = connection.execute(query, used)
    names = [column[0] for column in found.description or ()]
    return [{name: row[names.index(name)] for name in columns} for row in found.fetchall()]


def _listing(connection: DuckDBPyConnection, given: dict[str, Any]) -> dict[str, Any]:
    rows = records(
        connection,
        """
        FROM symbol_snapshots
        WHERE symbol = ? ORDER BY date <= ? DESC, abs(date - ?) LIMIT 1
        """,
        given["symbol"], given["day"], given["day"],
    )  # fmt: skip
    return rows[0] | {"short_name": short_name(rows[0]["name"])} if rows else {}


def _coverage(connection: DuckDBPyConnection, given: dict[str, Any]) -> dict[str, int]:
    return dict(
        connection.execute(
            """
            SELECT state, count(*)
            FROM price_coverage
            WHERE symbol = $symbol AND date <= $day GROUP BY ALL ORDER BY ALL
            """,
            given,
        ).fetchall()
    )


def _nothing(connection: DuckDBPyConnection, symbol: str, day: dt.date | None) -> str:
    known = [name for (name,) in connection.execute("SELECT DISTINCT symbol FROM stock_data").fetchall()]
    if symbol in known:
        (first,) = connection.execute("SELECT min(date) FROM stock_data WHERE symbol = ?", [symbol]).fetchall()[0]
        return f"{symbol} has no bar up to {day}; its first one is of {first}: pipeline show {symbol} {first}"
    near = difflib.get_close_matches(symbol, known, n=3)
    return f"no bar of {symbol} is stored{'; close to it: ' + ', '.join(near) if near else ''}"
