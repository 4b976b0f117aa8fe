"""Whether a bar is final: measured by when the answer was taken that last said it.

Two hours after the close nearly every volume at Yahoo is below its final value (a median 4 % short), and up to 3 % of
the closes differ; eight hours after it, one volume in eight hundred is off by 2 %. A bar is final when an answer taken
at least `[quality] final_hours` after the close of its session has said the same or corrected it.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import market, quality

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipeline.database.temporary import Temporary


def final_at(session: dt.date) -> dt.datetime:
    """The moment, in UTC, from which on an answer makes bars of the session final."""
    close = calendar.settled_at(session) - dt.timedelta(minutes=market().settle_minutes)
    return close + dt.timedelta(hours=quality().final_hours)


def place_finality(tables: Temporary, answered: str) -> None:
    """Make `finality` (date, final_at): the sessions whose bars the answers of a table may leave provisional.

    Those are the ones around each `fetched_at` in it; for any other session the answer was late enough.
    """
    within = dt.timedelta(days=math.ceil(quality().final_hours / 24) + 1)
    rows = tables.execute(f"SELECT DISTINCT fetched_at::DATE FROM {answered} WHERE fetched_at IS NOT NULL")
    days = sorted({day for (taken,) in rows for day in calendar.sessions_between(taken - within, taken + within)})
    tables.make(
        "finality",
        "SELECT unnest($days::DATE[]) AS date, unnest($moments::TIMESTAMPTZ[]) AS final_at",
        {"days": days, "moments": [final_at(day) for day in days]},
    )


def provisional(connection: DuckDBPyConnection, session: dt.date) -> list[str]:
    """The symbols whose bar of the session is provisional, largest company first."""
    rows = connection.execute(
        """
        SELECT s.symbol FROM stock_data s
        LEFT JOIN session_listings l ON l.session = s.date AND l.symbol = s.symbol
        WHERE s.date = ? AND NOT coalesce(s.is_final, true)
        ORDER BY l.market_cap DESC NULLS LAST, s.symbol
        """,
        [session],
    ).fetchall()
    return [symbol for (symbol,) in rows]


def early_absences(connection: DuckDBPyConnection, session: dt.date) -> list[str]:
    """The symbols expected on the session, and known to the source, that had no bar of it when it was last asked.

    An absence is provisional like a bar: thinly traded symbols get theirs hours late, and what the same answer said of
    the sessions before is not said again by any bar of this one. Those are left out that answered when it was final.
    """
    rows = connection.execute(
        """
        SELECT c.symbol
        FROM price_coverage c LEFT JOIN price_ranges r USING (symbol)
        WHERE c.date = $session AND c.state IN ('not_traded', 'failed')
          AND coalesce(r.answered_at < $final_at, true)
        ORDER BY c.symbol
        """,
        {"session": session, "final_at": final_at(session)},
    ).fetchall()
    return [symbol for (symbol,) in rows]
