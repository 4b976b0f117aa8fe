"""What a report page shows, asked of the tables: one function a section, plain values for the template."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pipeline import calendar
from pipeline.calendar import session_before
from pipeline.config import market
from pipeline.database.connection import records
from pipeline.database.markers import MarkerTarget
from pipeline.market.audits import OPEN
from pipeline.report import hit_groups
from pipeline.runs import durations, journal
from pipeline.sources.exchanges import NAMES, configured_exchanges, market_name
from pipeline.version import code_version

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = dict[str, Any]

#: Columns of `day_view` that a page tells of.
COLUMNS = ("symbol", "date", "high", "low", "close", "prev_close", "volume", "sma_20", "sma_50", "rsi_14")


def facts(connection: DuckDBPyConnection, session: dt.date) -> dict[str, Any]:
    """Everything that the page of the session shows but its list; needs `day_view` of the session, and others."""
    coverage = _coverage(connection, session)
    return {
        "session": session,
        "previous": session_before(session),
        "market": market_name(),
        "exchanges": {name: NAMES[name] for name in configured_exchanges()},
        "source": market().source,
        "simulated": market().source == "simulated",
        "version": code_version(),
        "listing": _listing(connection, session),
        "changes": _changes(connection, session),
        "coverage": coverage,
        "covered": _covered(coverage),
        "finality": _finality(connection, session),
        "amendments": hit_groups.amendments(connection, session),
        "rejected": records(connection, "FROM rejected_bars WHERE date = ? ORDER BY symbol", session),
        "actions": records(connection, "FROM corporate_actions WHERE date = ? ORDER BY kind DESC, symbol", session),
        "corrections": _corrections(session),
        "audits": _audits(connection, session),
        "durations": _durations(connection, session),
    } | _made()


def _made() -> Row:
    """When the page is made: in short for its head, and in New York's and the operator's zone."""
    now = calendar.now()
    there, here = now.astimezone(calendar.NEW_YORK), now.astimezone()
    return {
        "made": f"{there:%Y-%m-%d %H:%M} New York"
        + ("" if here.utcoffset() == there.utcoffset() else f", {here:%H:%M %Z}"),
        "made_at": f"{there:%Y-%m-%d %H:%M %Z} in New York, {here:%Y-%m-%d %H:%M %Z} here",
    }


def _covered(coverage: list[Row]) -> Row:
    states = {row["state"]: row["symbols"] for row in coverage}
    stored, expected = states.get("stored", 0), sum(states.values())
    return {"stored": stored, "expected": expected, "share": stored / expected if expected else None}


def _finality(connection: DuckDBPyConnection, session: dt.date) -> Row:
    """Whether the bars of the session may still be corrected, where the database tells."""
    if not hit_groups.has_column(connection, "stock_data", "is_final"):
        return {"word": "Made", "text": "", "is_provisional": False}
    (count,) = connection.execute(
        "SELECT count(*) FROM stock_data WHERE date = ? AND NOT is_final", [session]
    ).fetchall()[0]
    if not count:
        return {"word": "Final", "text": "every bar is confirmed, ", "is_provisional": False}
    return {"word": "Provisional", "text": f"{count:,} bars may still be corrected, ", "is_provisional": True}


def _listing(connection: DuckDBPyConnection, session: dt.date) -> dt.date | None:
    found = connection.execute("SELECT snapshot_date FROM session_universe WHERE date = ?", [session]).fetchone()
    return found[0] if found else None


def _changes(connection: DuckDBPyConnection, session: dt.date) -> dict[str, list[Row]] | None:
    """Who came to the list, left it, or is on it for another reason than the session before; None without that list."""
    before = session_before(session)
    scanned = "SELECT 1 FROM finished_stages WHERE stage = 'ScanWatchlist' AND session = ?"
    if not connection.execute(scanned, [before]).fetchone():
        return None
    rows = records(
        connection,
        """
        SELECT coalesce(n.symbol, o.symbol) AS symbol, coalesce(n.name, o.name) AS name,
               n.scan_reason AS reason, o.scan_reason AS earlier_reason
        FROM (FROM daily_watchlist WHERE scan_date = ?) n
        FULL JOIN (FROM daily_watchlist WHERE scan_date = ?) o USING (symbol)
        ORDER BY 1
        """,
        session, before,
    )  # fmt: skip
    return {
        "came": [row for row in rows if row["earlier_reason"] is None],
        "left": [row for row in rows if row["reason"] is None],
        "moved": [
            row for row in rows if row["reason"] and row["earlier_reason"] and row["reason"] != row["earlier_reason"]
        ],
        "stayed": [row for row in rows if row["reason"] == row["earlier_reason"]],
    }


def _coverage(connection: DuckDBPyConnection, session: dt.date) -> list[Row]:
    return records(
        connection,
        """
        SELECT state, count(*) AS symbols, count(*) / sum(count(*)) OVER () AS share,
               list(symbol ORDER BY symbol)[:12] AS examples
        FROM price_coverage WHERE date = ? GROUP BY state ORDER BY symbols DESC, state
        """,
        session,
    )


def _corrections(session: dt.date) -> Row | None:
    """Counts of what the collection of the session changed in stored bars; None when its marker does not say."""
    marker = MarkerTarget("CollectPrices", session)
    told = marker.read() if marker.exists() else {}
    return told if "revised_bars" in told else None


def _audits(connection: DuckDBPyConnection, session: dt.date) -> Row:
    """The whole histories that were audited with the session: how many, and which differed or were not believed."""
    if not hit_groups.has_column(connection, "audits", "reason"):
        return {"count": 0, "rows": []}
    rows = records(connection, "FROM audits WHERE session = ? ORDER BY symbol", session)
    told = [row for row in rows if row["differed"] or row["verdict"] in OPEN]
    return {"count": len(rows), "healed": sum(row["differed"] for row in told), "rows": told}


def _durations(connection: DuckDBPyConnection, session: dt.date) -> list[Row]:
    """Seconds that each stage took for this session, and what it usually took before.

    A run that served several sessions counts with its share. The runs of this very process are in its journal still.
    """
    usual = durations.usual(connection, before=session)
    took = {row["task"]: row["seconds"] for row in records(connection, _TOOK, session)} | _under_way(session)
    return [
        {
            "task": task,
            "seconds": seconds,
            "usual": usual.get(task, (None, 0))[0],
            "count": usual.get(task, (None, 0))[1],
        }
        for task, seconds in took.items()
    ]


_TOOK = """
    SELECT task, arg_max(duration_seconds / combined, started_at) AS seconds FROM task_runs
    WHERE date = ? AND status = 'done' AND pipeline = 'DailyPipeline' GROUP BY task ORDER BY max(started_at)
"""


def _under_way(session: dt.date) -> dict[str, float]:
    runs = [
        run for _, path in journal.journals() if path.exists() for run in journal.fold(path.read_text(encoding="utf-8"))
    ]
    return {
        run.task: run.duration / len(run.dates)
        for run in sorted(runs, key=lambda run: run.started_at)
        if run.duration is not None
        and run.status == "done"
        and str(session) in run.dates
        and run.pipeline == "DailyPipeline"
    }
