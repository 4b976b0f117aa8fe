"""The report page of a session, and the index of all pages: HTML files that need nothing else."""

from __future__ import annotations

import datetime as dt
import functools
import pathlib
from typing import TYPE_CHECKING, Any

from pipeline.config import storage
from pipeline.report import facts as report_facts

if TYPE_CHECKING:
    import jinja2
    from duckdb import DuckDBPyConnection

__all__ = ["figure", "index_path", "render", "render_index", "report_path"]


def report_path(session: dt.date) -> pathlib.Path:
    return storage().root / "reports" / f"{session}.html"


def index_path() -> pathlib.Path:
    return storage().root / "reports" / "index.html"


def pages_made() -> set[dt.date]:
    """The sessions that have a page."""
    return {dt.date.fromisoformat(path.stem) for path in index_path().parent.glob("????-??-??.html")}


def render(connection: DuckDBPyConnection, session: dt.date) -> str:
    """The page, from the tables; everything that came from outside is escaped."""
    from pipeline.report.series import load_bars, series

    facts = report_facts.facts(connection, session)
    symbols = [row["symbol"] for row in facts["watchlist"]]
    charted = series(load_bars(connection, symbols, session)) if symbols else {}
    charts = {symbol: _chart().draw(each, symbol) for symbol, each in charted.items()}
    return templates().get_template("report.html").render(facts, charts=charts)


def render_index(connection: DuckDBPyConnection) -> str:
    """The page with a line for each session that has a page."""
    sessions = sorted(pages_made())
    rows = report_facts.index_rows(connection, sessions)
    rules = sorted({rule for row in rows for rule in row["hits"]})
    return (
        templates()
        .get_template("index.html")
        .render(
            rows=rows,
            rules=rules,
            market=report_facts.market_name(),
            simulated=report_facts.market().source == "simulated",
        )
    )


@functools.cache
def _chart() -> Any:
    from pipeline.report.charts import CandleChart

    return CandleChart()


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
    environment.filters |= {"figure": figure, "compact": compact}
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
