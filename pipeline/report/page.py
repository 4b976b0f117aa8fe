"""The report page of a session: an HTML file that needs nothing else."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.calendar import NEW_YORK, session_after, session_before
from pipeline.report import assets, breadth, hit_groups
from pipeline.report import facts as report_facts
from pipeline.report.places import evaluation_path, report_path
from pipeline.watchlist import track_record
from pipeline.watchlist.day_view import create_day_view

if TYPE_CHECKING:
    import jinja2
    from duckdb import DuckDBPyConnection

    from pipeline.report.series import StoredBars

#: Sessions whose bars and views are asked for in one go: as many as have room in memory.
AT_ONCE = 20
SCRIPTS = ("charts.js", "list.js")


def neighbours(sessions: Iterable[dt.date]) -> list[dt.date]:
    """Sessions beside these that have a page: what it says of the sessions next to it is to be said anew."""
    wanted = set(sessions)
    beside = {day for session in wanted for day in (session_before(session), session_after(session))}
    return sorted(day for day in beside - wanted if report_path(day).exists())


def render_all(
    connection: DuckDBPyConnection, sessions: Sequence[dt.date], others: Iterable[dt.date] = ()
) -> Iterator[tuple[dt.date, str, dict[str, Any]]]:
    """Each session with its page, from the tables, and the facts; everything that came from outside is escaped.

    `others` are sessions whose pages are made beside these. What pages have in common is asked for once.
    """
    from pipeline.report.series import load_bars

    track_record.prepare(connection, sessions)
    for first in range(0, len(sessions), AT_ONCE):
        together = sessions[first : first + AT_ONCE]
        create_day_view(connection, *together, only=report_facts.COLUMNS)
        breadth.prepare(connection, together)
        bars = load_bars(connection, hit_groups.listed_symbols(connection, together), together)
        for session in together:
            yield session, *_render(connection, session, bars, others)


def _render(
    connection: DuckDBPyConnection, session: dt.date, bars: StoredBars, others: Iterable[dt.date]
) -> tuple[str, dict[str, Any]]:
    from pipeline.report.series import packed, series

    facts = report_facts.facts(connection, session)
    rows = hit_groups.hits(connection, session, facts["amendments"])
    charted = series(bars.until(session, [row["symbol"] for row in rows])) if rows else {}
    known = {*others, *(day for day in (session_before(session), session_after(session)) if report_path(day).exists())}
    facts |= {
        "breadth": breadth.breadth(connection, session),
        "hits": len(rows),
        "groups": hit_groups.groups(connection, session, rows, charted),
        "strongest": max(
            (row for row in rows if row["change"] is not None), key=lambda row: row["change"], default=None
        ),
        "charted": charted,
        "bars": packed(charted) if charted else "",
        "earlier": session_before(session) if session_before(session) in known else None,
        "later": session_after(session) if session_after(session) in known else None,
        "has_evaluation": evaluation_path().exists(),
        "scripts": SCRIPTS if charted else (),
    }
    return templates().get_template("report.html").render(facts), facts


@functools.cache
def templates() -> jinja2.Environment:
    """The page templates, which escape what they are given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"text": assets.text, "policy": assets.policy}
    environment.filters |= {
        "figure": figure, "compact": compact, "moment": moment, "yahoo": yahoo_name, "tradingview": tradingview_name,
    }  # fmt: skip
    return environment


def figure(value: float | None, pattern: str) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else pattern % value


def compact(value: object) -> str:
    """A value of any column in few characters: 244.9 B, 6.6 M, 29.65; a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    for size, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:,.1f}{unit}"
    return f"{value:,.0f}" if abs(value) >= 1e4 or isinstance(value, int) else f"{value:.4g}"


def moment(value: dt.datetime) -> str:
    return f"{value.astimezone(NEW_YORK):%Y-%m-%d %H:%M} New York"


def yahoo_name(symbol: str) -> str:
    """A symbol in an address of Yahoo, which writes a share class with a dash."""
    return quote(symbol.replace("/", "-").replace(".", "-"), safe="")


def tradingview_name(symbol: str) -> str:
    """A symbol in an address of TradingView, which writes a share class with a dot."""
    return quote(symbol.replace("/", "."), safe="")
