"""The success notification: bars, indicators, watchlist and replica of the session are there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.config import market
from pipeline.database.connection import reading
from pipeline.database.markers import MarkerTarget
from pipeline.runs.messages import notify
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.replica import ReplicateDatabase

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Changes of a list that a message names.
NAMED = 10


class NotifySuccess(SessionTask):
    """One message for the sessions that are ready, to the log and the configured webhooks."""

    table = "notifications"
    heading = "notified"
    follows = (ReplicateDatabase,)
    priority = 40

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        with reading() as connection:
            text = "\n".join(
                summary(connection, session) + corrections(session) + amendments(connection, session)
                for session in sessions[-10:]
            )
        if len(sessions) > 10:
            text = f"{len(sessions)} sessions from {sessions[0]} are done; the last ones:\n{text}"
        channels = notify(text)
        self.finish_all(sessions)
        return dict.fromkeys(sessions, {"channels": channels})


def corrections(session: dt.date) -> str:
    """What the session's run changed in bars that were stored before, or refused; of all sessions of a combined run."""
    facts = MarkerTarget("CollectPrices", session).read()
    names = ("revised_bars", "restated_histories", "rejected_bars")
    counted = ", ".join(f"{facts[name]:,} {name.replace('_', ' ')}" for name in names if facts.get(name))
    healed, audited = facts.get("healed_histories"), facts.get("audited_histories")
    audits = f"; {healed:,} of {audited:,} audited histories healed" if healed else ""
    return (f"; {counted}" if counted else "") + audits


def amendments(connection: DuckDBPyConnection, session: dt.date) -> str:
    """A line for the session's list, and each one before it that its run scanned again: what came and went, and why."""
    scanned = MarkerTarget("ScanWatchlist", session).read().get("amended")
    days = [session, *(dt.date.fromisoformat(day) for day in (scanned if isinstance(scanned, dict) else {}))]
    return "".join(_amended(connection, day) for day in days)


def _amended(connection: DuckDBPyConnection, day: dt.date) -> str:
    rows = connection.execute(
        """
        SELECT change, symbol, scan_reason, reason FROM watchlist_amendments WHERE scan_date = ?
        ORDER BY amended_at DESC, change, scan_reason, symbol
        """,
        [day],
    ).fetchall()
    named = [
        f"{'+' if change == 'added' else '-'} {symbol} ({scan}: {why})" for change, symbol, scan, why in rows[:NAMED]
    ]
    more = [f"and {len(rows) - NAMED:,} more"] if len(rows) > NAMED else []
    return f"\n  AMENDED list of {day}: {', '.join([*named, *more])}" if rows else ""


def summary(connection: DuckDBPyConnection, session: dt.date) -> str:
    """One line on a session: bars, what is missing, hits by scan."""
    states = dict(
        connection.execute(
            "SELECT state, count(*) FROM price_coverage WHERE date = ? GROUP BY state", [session]
        ).fetchall()
    )
    hits = connection.execute(
        "SELECT scan_reason, count(*) FROM daily_watchlist WHERE scan_date = ? GROUP BY ALL ORDER BY ALL", [session]
    ).fetchall()
    found = ", ".join(f"{count} {scan}" for scan, count in hits) or "no hit"
    missing = ", ".join(
        f"{states[state]:,} {state}" for state in ("not_traded", "unknown", "failed") if state in states
    )
    ((provisional,),) = connection.execute(
        "SELECT count(*) FROM stock_data WHERE date = ? AND NOT is_final", [session]
    ).fetchall()
    missing += f"{', ' if missing else ''}{provisional:,} provisional" if provisional else ""
    simulated = " (simulated market)" if market().source == "simulated" else ""
    return (
        f"{session}{simulated}: {states.get('stored', 0):,} bars{', ' + missing if missing else ''}; watchlist: {found}"
    )
