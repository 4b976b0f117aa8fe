"""From landed answers to tables, in the transaction of the caller.

    raw/prices/D/batch-*.parquet -> evidence.py -> verdicts.py -> here -> stock_data, corporate_actions, rejected_bars,
                                                                       price_ranges, gaps, disputed_answers,
                                                                       price_disagreements

Only what differs from the stored rows is written, so that a correction is visible by its `fetched_at` and an ordinary
day touches few rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.market.disagreements import note_disagreements
from pipeline.market.finality import place_finality
from pipeline.market.gaps import remember
from pipeline.market.history import change_bars
from pipeline.market.verdicts import ADD, ASK_WHOLE, KEEP, REPLACE, TAKE_OVER

if TYPE_CHECKING:
    from pipeline.market.evidence import Evidence

#: A first history that begins more sessions after what was asked for than this is confirmed by a second answer.
LATE_START = 5
#: So many of the newest closes of a disputed answer are kept, to be compared with the next evening's.
KEPT_CLOSES = 10


def store_answers(evidence: Evidence) -> dict[str, int]:
    """Bring the tables up to date with the answers, as the verdicts on them say (`verdicts.judge`).

    A bar that breaks a rule leaves the stored one as it was. Returns counts of what changed, for the day's summary.
    """
    _choose_changes(evidence)
    counts = change_bars(evidence)
    _make_final(evidence)
    counts["rejected_bars"] = _store_rejected(evidence)
    counts["disputed_answers"] = _store_disputes(evidence)
    _store_actions(evidence)
    note_disagreements(evidence)
    _store_ranges(evidence)
    remember(evidence)
    return counts


def _choose_changes(evidence: Evidence) -> None:
    """Make `bar_changes` of the believed answers' good bars, and of the bars that a replaced history lacks."""
    evidence.make(
        "bar_changes",
        f"""
        SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.volume, b.fetched_at, v.factor,
               CASE WHEN s.date IS NULL THEN 'added'
                    WHEN v.verdict = '{REPLACE}' THEN 'restated' ELSE 'revised' END AS change,
               CASE WHEN s.date IS NOT NULL THEN coalesce(v.reason, 'corrected by the source') END AS reason
        FROM judged_bars b JOIN verdicts v USING (symbol) LEFT JOIN stock_data s USING (symbol, date)
        WHERE b.rule IS NULL AND (
            (v.verdict IN ('{TAKE_OVER}', '{REPLACE}')
             AND (s.open, s.high, s.low, s.close, s.volume) IS DISTINCT FROM (b.open, b.high, b.low, b.close, b.volume))
            OR (v.verdict = '{ADD}' AND s.date IS NULL))
        UNION ALL BY NAME
        SELECT s.symbol, s.date, 'deleted' AS change, v.reason
        FROM stock_data s JOIN verdicts v ON v.symbol = s.symbol AND v.verdict = '{REPLACE}'
        JOIN answers a ON a.symbol = s.symbol AND s.date BETWEEN a.asked_from AND a.asked_to
        ANTI JOIN (FROM judged_bars WHERE rule IS NULL) b ON b.symbol = s.symbol AND b.date = s.date
        """,
    )


def _make_final(evidence: Evidence) -> None:
    """Make the bars final that a believed answer, taken late enough, has said again as they are.

    For the bars that it changed, `change_bars` has done it.
    """
    place_finality(evidence, "judged_bars")
    evidence.execute(
        f"""
        UPDATE stock_data s SET is_final = true, confirmed_at = now()
        FROM judged_bars b
        JOIN verdicts v USING (symbol)
        LEFT JOIN finality f ON f.date = b.date
        WHERE s.symbol = b.symbol AND s.date = b.date AND NOT coalesce(s.is_final, true)
          AND b.rule IS NULL AND coalesce(b.fetched_at >= f.final_at, true)
          AND v.verdict IN ('{TAKE_OVER}', '{REPLACE}')
        """
    )


def _store_rejected(evidence: Evidence) -> int:
    """Replace the rejected bars of the answered spans, whatever the verdict on the rest of the answer was."""
    evidence.execute(
        """
        DELETE FROM rejected_bars b USING answers a
        WHERE a.status = 'ok' AND b.symbol = a.symbol AND b.date BETWEEN a.asked_from AND a.asked_to
        """
    )
    evidence.execute(
        """
        INSERT INTO rejected_bars BY NAME
        SELECT symbol, date, open, high, low, close, volume, rule, now() AS rejected_at
        FROM judged_bars WHERE rule IS NOT NULL
        """
    )
    return int(evidence.execute("SELECT count(*) FROM judged_bars WHERE rule IS NOT NULL")[0][0])


def _store_disputes(evidence: Evidence) -> int:
    """Keep what disputed answers said, for people and for the next evening; settle those that a new answer replaces."""
    evidence.make(
        "disputes",
        f"""
        SELECT f.symbol, f.asked_to AS session, f.fetched_at, coalesce(d.since, f.asked_to) AS since, v.verdict,
               coalesce(v.reason, f.lacks) AS reason, c.closes
        FROM verdicts v JOIN facts f USING (symbol)
        LEFT JOIN (SELECT symbol, min(since) AS since FROM disputed_answers GROUP BY symbol) d USING (symbol)
        LEFT JOIN (
            SELECT symbol, map_from_entries(list((date, close) ORDER BY date)) AS closes
            FROM (
                FROM judged_bars WHERE rule IS NULL
                QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY date DESC) <= {KEPT_CLOSES}
            )
            GROUP BY symbol
        ) c USING (symbol)
        WHERE v.verdict IN ('{KEEP}', '{ASK_WHOLE}')
           OR (v.verdict IN ('{TAKE_OVER}', '{REPLACE}') AND f.lacks IS NOT NULL)
        """,
    )
    evidence.execute(
        """
        DELETE FROM disputed_answers d USING verdicts v JOIN facts f USING (symbol)
        WHERE d.symbol = v.symbol AND v.rule NOT IN ('no_answer', 'older', 'older_on_another_basis')
          AND (f.is_whole OR NOT coalesce(d.is_audit, false))
        """
    )
    evidence.execute("INSERT INTO disputed_answers BY NAME FROM disputes")
    return int(evidence.execute(f"SELECT count(*) FROM disputes WHERE verdict IN ('{KEEP}', '{ASK_WHOLE}')")[0][0])


def _store_actions(evidence: Evidence) -> None:
    """Replace all actions of the spans that were taken over: one that was withdrawn or moved goes.

    An older answer tells of those of the bars that it adds, since nobody else has told of these days.
    """
    evidence.make(
        "believed_answers",
        f"""
        SELECT a.*
        FROM answers a JOIN verdicts v USING (symbol)
        WHERE v.verdict IN ('{TAKE_OVER}', '{REPLACE}')
        """,
    )
    evidence.make(
        "added_late",
        f"SELECT c.symbol, c.date FROM bar_changes c JOIN verdicts v USING (symbol) WHERE v.verdict = '{ADD}'",
    )
    evidence.execute(
        """
        DELETE FROM corporate_actions c USING believed_answers a
        WHERE c.symbol = a.symbol AND c.date BETWEEN a.asked_from AND a.asked_to
        """
    )
    for kind, column in (("split", "split_ratio"), ("dividend", "dividend")):
        evidence.execute(
            f"""
            INSERT INTO corporate_actions BY NAME
            SELECT symbol, date, '{kind}' AS kind, any_value({column}) AS value
            FROM judged_bars
            WHERE {column} IS NOT NULL AND rule IS NULL
              AND (symbol IN (SELECT symbol FROM believed_answers)
                   OR (symbol, date) IN (SELECT (symbol, date) FROM added_late))
            GROUP BY symbol, date
            """
        )


def _store_ranges(evidence: Evidence) -> None:
    """Extend the span known of each believed symbol, not over a newest session that is missing or was rejected."""
    evidence.make(
        "spans",
        f"""
        SELECT f.symbol, least(f.asked_from, r.first_asked) AS first_asked,
               greatest(CASE WHEN f.lacks IS NULL THEN f.asked_to
                             ELSE (SELECT max(date) FROM calendar_sessions c WHERE c.date < f.asked_to) END,
                        r.last_asked) AS last_asked,
               greatest(f.fetched_at, r.answered_at) AS answered_at,
               r.symbol IS NOT NULL OR coalesce((
                   SELECT count(*) FROM calendar_sessions c WHERE c.date BETWEEN f.asked_from AND b.first
               ), 0) <= {LATE_START} AS is_confirmed
        FROM facts f JOIN verdicts v USING (symbol) LEFT JOIN price_ranges r USING (symbol)
        LEFT JOIN (SELECT symbol, min(date) AS first FROM judged_bars GROUP BY symbol) b USING (symbol)
        WHERE v.verdict IN ('{TAKE_OVER}', '{REPLACE}', '{ADD}')
        """,
    )
    evidence.execute("DELETE FROM price_ranges WHERE symbol IN (SELECT symbol FROM spans)")
    evidence.execute("INSERT INTO price_ranges BY NAME FROM spans")
