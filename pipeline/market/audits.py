"""Whether whole histories are still what the source says: compared in rotation, so that no damage stays for good.

An ordinary run compares the last sessions alone. A bar that was changed by hand, by a fault of the disk, or corrected
by the source long after its session, is found by asking for the whole history again. The answer is judged as any other
(`verdicts.py`), and what differs is healed in the same way; `audits` has a row for each.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.market.verdicts import ASK_WHOLE, KEEP, REFUSE
from pipeline.sources.protocol import BarRequest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipeline.market.evidence import Evidence

#: Verdicts after which nobody knows: the answer was not believed.
OPEN = (KEEP, REFUSE, ASK_WHOLE)


@dataclasses.dataclass(frozen=True)
class Audit:
    """What the audit of a history found: `bars` compared, `differed` of them healed; why, when nothing was believed."""

    symbol: str
    bars: int
    differed: int
    verdict: str
    reason: str | None

    @property
    def is_open(self) -> bool:
        """Whether the answer was not believed, so that nobody knows."""
        return self.verdict in OPEN


def due(connection: DuckDBPyConnection, session: dt.date, count: int) -> list[str]:
    """The symbols whose turn it is with the session's run: `count`, less those that it has audited already.

    All that are listed, those that have fallen below `[market] min_market_cap`, too. A history that the session has
    extended, as in a run of an earlier session, is left to the runs after it.
    """
    ((done,),) = connection.execute("SELECT count(*) FROM audits WHERE session = ?", [session]).fetchall()
    rows = connection.execute(
        f"""
        {_TURNS}
        WHERE l.session = $session AND r.last_asked < $session AND a.session IS DISTINCT FROM $session
        {_ORDER}
        """,
        {"session": session, "count": max(count - done, 0), "open": list(OPEN)},
    ).fetchall()
    return [symbol for (symbol,) in rows]


def longest_ago(connection: DuckDBPyConnection, count: int) -> list[str]:
    """The `count` symbols of the newest listing that were audited longest ago, whatever was done today."""
    rows = connection.execute(
        f"{_TURNS} WHERE l.session = (SELECT max(session) FROM session_listings) {_ORDER}",
        {"count": count, "open": list(OPEN)},
    ).fetchall()
    return [symbol for (symbol,) in rows]


#: First those whose last answer alone was not believed: two evenings that agree are.
_TURNS = """
    WITH ranked AS (
        SELECT symbol, session, audited_at, verdict IN (SELECT unnest($open::VARCHAR[])) AS is_open,
               row_number() OVER (PARTITION BY symbol ORDER BY audited_at DESC) AS place
        FROM audits
    ), audited AS (
        SELECT symbol, max(audited_at) AS audited_at, max(session) AS session,
               bool_or(is_open AND place = 1) AND NOT bool_or(is_open AND place = 2) AS is_open
        FROM ranked GROUP BY symbol
    )
    SELECT r.symbol FROM price_ranges r
    JOIN session_listings l ON l.symbol = r.symbol AND r.is_confirmed
    LEFT JOIN audited a ON a.symbol = r.symbol
"""
_ORDER = """
    ORDER BY coalesce(a.is_open, false) DESC, a.audited_at NULLS FIRST, l.market_cap DESC, r.symbol
    LIMIT $count
"""


def stored_symbols(connection: DuckDBPyConnection) -> list[str]:
    """All symbols with bars whose span is known, in alphabetical order."""
    rows = connection.execute("SELECT symbol FROM price_ranges SEMI JOIN stock_data USING (symbol) ORDER BY symbol")
    return [symbol for (symbol,) in rows.fetchall()]


def whole_requests(
    connection: DuckDBPyConnection, symbols: Sequence[str], not_before: dt.datetime | None
) -> list[BarRequest]:
    """Requests for all that is stored of the symbols, up to the last session that they were asked for."""
    rows = connection.execute(
        """
        SELECT r.symbol, least(any_value(r.first_asked), min(s.date)), greatest(any_value(r.last_asked), max(s.date))
        FROM price_ranges r JOIN stock_data s ON s.symbol = r.symbol
        WHERE r.symbol IN (SELECT unnest(?::VARCHAR[])) GROUP BY r.symbol
        """,
        [list(symbols)],
    ).fetchall()
    spans = {symbol: (first, last) for symbol, first, last in rows}
    return [BarRequest(symbol, *spans[symbol], not_before) for symbol in symbols if symbol in spans]


def record_audits(evidence: Evidence, session: dt.date) -> list[Audit]:
    """Write `audits` of answers that were just stored (`load.store_answers`), in the same transaction.

    A provisional bar that became final is no difference: it was to be expected. A dispute over a history is kept until
    a whole answer settles it.
    """
    evidence.execute(_RECORD, {"session": session})
    evidence.execute(
        """
        UPDATE disputed_answers SET is_audit = true
        WHERE symbol IN (SELECT symbol FROM verdicts WHERE verdict = $keep)
        """,
        {"keep": KEEP},
    )
    rows = evidence.execute(
        """
        SELECT symbol, bars, differed, verdict, reason
        FROM audits
        WHERE audited_at = now() ORDER BY symbol
        """
    )
    return [Audit(*row) for row in rows]


_RECORD = """
    INSERT INTO audits BY NAME
    SELECT f.symbol, $session AS session, now() AS audited_at, any_value(f.shared) AS bars,
           count(c.symbol) AS differed, any_value(v.verdict) AS verdict, any_value(v.reason) AS reason
    FROM facts f
    JOIN verdicts v USING (symbol)
    LEFT JOIN (
        FROM bar_changes
        ANTI JOIN (FROM bar_versions WHERE replaced_at = now() AND NOT coalesce(is_final, true)) USING (symbol, date)
    ) c ON c.symbol = f.symbol
    GROUP BY f.symbol
"""
