"""The rules that a bar must keep to be stored; a bar that breaks one goes to `rejected_bars` under the rule's name."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.config import quality

if TYPE_CHECKING:
    from pipeline.database.temporary import Temporary

#: Prices are compared with this relative slack: sources round the four prices of a bar one by one.
SLACK = 0.001
#: Prices, volumes and ratios beyond these are no facts of a market: the largest that NASDAQ saw are far below.
LARGEST_PRICE, LARGEST_VOLUME, LARGEST_RATIO = 1e7, 1e12, 1e4

#: Rule -> SQL that is true for a bar that breaks it, in the order in which the first one broken names the bar.
#: `previous` is the close of the bar before and `earlier` that of the bar before that one: the bar behind a spike is
#: not to blame. `has_action` tells that a split or dividend takes effect on the date.
RULES: dict[str, str] = {
    "value_missing": "open IS NULL OR high IS NULL OR low IS NULL OR close IS NULL OR volume IS NULL",
    "price_not_positive": "least(open, high, low, close) <= 0 OR NOT isfinite(open + high + low + close)",
    "price_absurd": "greatest(open, high, low, close) > $largest_price",
    "volume_negative": "volume < 0",
    "volume_absurd": "volume > $largest_volume",
    "split_absurd": "NOT (split_ratio BETWEEN 1 / $largest_ratio AND $largest_ratio) OR isnan(split_ratio)",
    "dividend_absurd": "NOT (dividend > 0 AND dividend < $largest_price)",
    "not_a_session": "NOT EXISTS (FROM calendar_sessions c WHERE c.date = bar.date)",
    "session_twice": "date = date_before OR date = date_after",
    "high_too_low": "high < greatest(open, close, low) * (1 - $slack)",
    "low_too_high": "low > least(open, close, high) * (1 + $slack)",
    "move_too_large": "NOT has_action AND NOT (close BETWEEN previous / $move AND previous * $move)"
    " AND NOT coalesce(close BETWEEN earlier / $move AND earlier * $move, false)",
}

#: The rule of the bars of a session that the source does not have yet: it repeats the close before, or has no volumes.
REPEATED = "session_repeated"
#: So many symbols may do that whatever their share: in a small universe they are ordinary.
FEW = 5
#: Within so many days before the newest session nearly every symbol has bars.
NEAR = dt.timedelta(days=60)


def judge_bars(tables: Temporary) -> None:
    """Make `judged_bars` of `answered_bars`: those with any price, and in `rule` the first rule that each breaks.

    A bar without any price is none: the source has nothing for that session. The first bars of an answer are held
    against the last stored ones before it; where nothing is stored, against the ones that follow. Bars without volume
    or of the close before are refused where too many symbols have such ones on the same session
    (`[quality] max_repeated`).
    """
    cases = " ".join(f"WHEN {broken} THEN '{rule}'" for rule, broken in RULES.items())
    _find_stored_before(tables)
    tables.make(
        "judged_bars",
        f"""
        SELECT * EXCLUDE (date_before, date_after, place, stored, before_that, last1, last2, next1, next2),
               CASE {cases} END AS rule, volume = 0 OR (greatest(open, high, low, close) = least(open, high, low, close)
                                                        AND close = before) AS is_repeated
        FROM (
            SELECT *, coalesce(last1, stored) AS before, coalesce(last1, stored, next1) AS previous,
                   CASE place WHEN 1 THEN coalesce(before_that, next2)
                              ELSE coalesce(last2, stored, next1) END AS earlier
            FROM (
                SELECT b.*, coalesce(b.split_ratio, b.dividend) IS NOT NULL AS has_action, s.stored, s.before_that,
                       lag(b.date) OVER days AS date_before, lead(b.date) OVER days AS date_after,
                       row_number() OVER days AS place, lag(close) OVER days AS last1, lag(close, 2) OVER days AS last2,
                       lead(close) OVER days AS next1, lead(close, 2) OVER days AS next2
                FROM answered_bars b LEFT JOIN stored_before s USING (symbol)
                WHERE coalesce(open, high, low, close) IS NOT NULL
                WINDOW days AS (PARTITION BY b.symbol ORDER BY b.date)
            )
        ) bar
        """,
        {
            "slack": SLACK,
            "move": quality().max_move,
            "largest_price": LARGEST_PRICE,
            "largest_volume": LARGEST_VOLUME,
            "largest_ratio": LARGEST_RATIO,
        },
    )
    _refuse_repeated(tables)


def _refuse_repeated(tables: Temporary) -> None:
    """Give the rule REPEATED to repeated bars of sessions that have too many: counted among all bars of the session."""
    tables.execute(
        """
        UPDATE judged_bars SET rule = $rule WHERE rule IS NULL AND is_repeated AND date IN (
            SELECT date FROM (
                SELECT b.date, count(*) FILTER (is_repeated) AS repeated, count(*) AS answered
                FROM judged_bars b GROUP BY b.date
            ) d
            WHERE repeated > $few AND repeated > $share * answered AND repeated > $share * (
                answered + (
                    SELECT count(*) FROM stock_data s
                    WHERE s.date = d.date AND s.symbol NOT IN (SELECT symbol FROM answers)
                )
            )
        )
        """,
        {"rule": REPEATED, "few": FEW, "share": quality().max_repeated},
    )


def _find_stored_before(tables: Temporary) -> None:
    """The last two stored closes before each answer: the yardstick of its first bars."""
    tables.make(
        "stored_before",
        """
        WITH near AS (
            SELECT s.symbol, max_by(s.close, s.date, 2) AS closes
            FROM stock_data s JOIN answers a ON a.symbol = s.symbol AND s.date < a.asked_from
            WHERE s.date >= $recent GROUP BY s.symbol
        ), far AS (
            SELECT s.symbol, max_by(s.close, s.date, 2) AS closes
            FROM stock_data s JOIN (
                FROM answers ANTI JOIN (FROM near WHERE len(closes) = 2) USING (symbol)
            ) a ON a.symbol = s.symbol AND s.date < a.asked_from
            WHERE s.date < $recent GROUP BY s.symbol
        )
        SELECT symbol, closes[1] AS stored, closes[2] AS before_that
        FROM (
            SELECT symbol, list_concat(near.closes, far.closes) AS closes FROM near FULL JOIN far USING (symbol)
        )
        """,
        {"recent": reach(tables)[1]},
    )


def reach(tables: Temporary) -> tuple[dt.date | None, dt.date | None]:
    """The first session that is answered for, and the one from which on nearly every symbol has a stored bar before it.

    What is looked for among stored bars is looked for there first, and in the years before only for the symbols that
    have nothing there: so a day costs the same however many years are stored.
    """
    ((first, last),) = tables.execute("SELECT min(asked_from), max(asked_to) FROM answers")
    return first, last and last - NEAR
