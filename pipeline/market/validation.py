"""The rules that a bar must keep to be stored; a bar that breaks one goes to `rejected_bars` under the rule's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import quality

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Prices are compared with this relative slack: sources round the four prices of a bar one by one.
SLACK = 0.001

#: Rule -> SQL that is true for a bar that breaks it, in the order in which the first one broken names the bar.
#: `previous` is the close of the bar before and `earlier` that of the bar before that one: the bar behind a spike is
#: not to blame. `has_action` tells that a split or dividend takes effect on the date.
RULES: dict[str, str] = {
    "value_missing": "open IS NULL OR high IS NULL OR low IS NULL OR close IS NULL OR volume IS NULL",
    "price_not_positive": "least(open, high, low, close) <= 0 OR NOT isfinite(open + high + low + close)",
    "volume_negative": "volume < 0",
    "not_a_session": "NOT EXISTS (FROM calendar_sessions c WHERE c.date = bar.date)",
    "session_twice": "date = date_before OR date = date_after",
    "high_too_low": "high < greatest(open, close, low) * (1 - $slack)",
    "low_too_high": "low > least(open, close, high) * (1 + $slack)",
    "move_too_large": "NOT has_action AND NOT (close BETWEEN previous / $move AND previous * $move)"
    " AND NOT coalesce(close BETWEEN earlier / $move AND earlier * $move, false)",
}


def split_by_rules(connection: DuckDBPyConnection) -> None:
    """Divide the temporary table `answered_bars` into `good_bars` and `bad_bars` (with a column `rule`).

    Bars without any value are neither: the source has nothing for that session.
    """
    connection.execute(
        "CREATE TEMP TABLE calendar_sessions AS SELECT unnest(?::DATE[]) AS date", [list(calendar.sessions())]
    )
    cases = " ".join(f"WHEN {broken} THEN '{rule}'" for rule, broken in RULES.items())
    connection.execute(
        f"""
        CREATE TEMP TABLE judged_bars AS
        SELECT *, CASE {cases} END AS rule FROM (
            SELECT *, coalesce(split_ratio, dividend) IS NOT NULL AS has_action,
                   lag(date) OVER days AS date_before, lead(date) OVER days AS date_after,
                   lag(close) OVER days AS previous, lag(close, 2) OVER days AS earlier
            FROM answered_bars WHERE coalesce(open, high, low, close) IS NOT NULL
            WINDOW days AS (PARTITION BY symbol ORDER BY date)
        ) bar
        """,
        {"slack": SLACK, "move": quality().max_move},
    )
    connection.execute("CREATE TEMP TABLE good_bars AS FROM judged_bars WHERE rule IS NULL")
    connection.execute("CREATE TEMP TABLE bad_bars AS FROM judged_bars WHERE rule IS NOT NULL")
