"""Whether a stored history is still on the source's basis of adjustment.

A split restates all earlier prices at the source, at once or some sessions later, with an event or without one. So the
closes decide: when the oldest bar that an answer shares with the store differs, the history before it differs, too,
whatever the newer bars do, and it is asked for anew, whole. An event is believed when the closes on both sides of it
agree with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.market.plan import known_spans
from pipeline.sources.protocol import BarRequest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipeline.database.temporary import Temporary

#: Two closes differ when they are this share apart, and more than rounding accounts for: half a cent each way, which
#: is much of a price below a dollar, where sources give four decimals.
SHARE, CENTS, SHARE_OF_A_PENNY_STOCK = 0.001, 0.006, 0.02
#: The ratio of answered to stored closes is one number between two splits; more than this is another number.
COMMON = 0.01
#: A split by less than e to the power of this is no larger than a day's move: the two closes around it tell nothing.
SMALL_SPLIT = 0.2
#: Without an event, the close before a session that the listing implies may be off by this factor (recorded: 20 of
#: 420,072 times by more than 1.2).
UNANNOUNCED = 1.25
#: A close and the last sale of the listing agree when they are less than this (a logarithm) apart.
AGREES = math.log(1.2)


def differs(one: str, other: str) -> str:
    """SQL that is true when two closes are not the same."""
    apart = f"abs({one} / {other} - 1)"
    return f"({apart} > {SHARE} AND (abs({one} - {other}) > {CENTS} OR {apart} > {SHARE_OF_A_PENNY_STOCK}))"


def compare_with_stored(tables: Temporary) -> None:
    """Make `overlap`: the good bars of the answers that are stored, too."""
    tables.make(
        "overlap",
        f"""
        SELECT b.symbol, b.date, b.close, s.close AS stored_close, b.close / s.close AS factor,
               {differs("b.close", "s.close")} AS differs
        FROM judged_bars b JOIN stock_data s USING (symbol, date) WHERE b.rule IS NULL
        """,
    )


def find_awaited(tables: Temporary, patience: int) -> None:
    """Make `awaited`: symbols with a split whose effect on the closes before it has not come yet, with a reason.

    Two witnesses: the listing of the day implies the close before on the day's basis (last sale less net change); and
    a split is larger than a day's move. Looked for in the last `patience` sessions of an answer.
    """
    _find_recent_closes(tables, patience)
    tables.make(
        "awaited",
        """
        SELECT symbol, max_by(CASE
            WHEN ratio IS NOT NULL
            THEN format('split {:g} for 1 on {}: the closes before it are not restated yet', ratio, date)
            ELSE format('the listing of {} implies {:.6g} as the close before it, and the source has {:.6g}',
                        date, listed_before, before)
          END, date) AS reason
        FROM recent_closes
        WHERE CASE WHEN listed_before IS NOT NULL
                   THEN abs(ln(before / listed_before)) > coalesce(abs(ln(ratio)) / 2, ln($unannounced))
                   ELSE abs(ln(ratio)) > $small AND abs(ln(close / before)) > abs(ln(ratio)) / 2 END
        GROUP BY symbol
        """,
        {"unannounced": UNANNOUNCED, "small": SMALL_SPLIT},
    )


def _find_recent_closes(tables: Temporary, patience: int) -> None:
    """Make `recent_closes`: newest good bars with the close before them, and what the listing implies for that."""
    ends = [end for (end,) in tables.execute("SELECT DISTINCT asked_to FROM answers WHERE status = 'ok'")]
    tables.make(
        "recent_closes",
        """
        WITH patience AS (
            SELECT unnest($ends::DATE[]) AS asked_to, unnest($since::DATE[]) AS since
        ), closes AS (
            SELECT b.symbol, b.date, b.close, b.split_ratio AS ratio, p.since,
                   lag(b.close) OVER (PARTITION BY b.symbol ORDER BY b.date) AS before
            FROM judged_bars b JOIN patience p USING (asked_to) WHERE b.rule IS NULL
        )
        SELECT c.symbol, c.date, c.close, c.ratio, c.before, s.last_sale - s.net_change AS listed_before
        FROM closes c LEFT JOIN symbol_snapshots s
          ON s.symbol = c.symbol AND s.date = c.date AND s.last_sale > 0 AND s.last_sale - s.net_change > 0
         AND abs(ln(c.close / s.last_sale)) < $agrees
        WHERE c.before > 0 AND c.date >= c.since
        """,
        {"agrees": AGREES, "ends": ends, "since": [calendar.session_before(end, patience - 1) for end in ends]},
    )


def whole_histories(connection: DuckDBPyConnection, requests: Sequence[BarRequest]) -> list[BarRequest]:
    """The requests widened to all that is stored of their symbols."""
    known = known_spans(connection)
    return [
        BarRequest(r.symbol, min(r.first, known[r.symbol][0]), max(r.last, known[r.symbol][1]), r.not_before)
        for r in requests
    ]
