"""What the witnesses say of each answer: the bars stored, the listing of the same session, the answers before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config import quality
from pipeline.market.adjustment import AGREES, COMMON, compare_with_stored, find_awaited
from pipeline.market.validation import reach

if TYPE_CHECKING:
    from pipeline.database.temporary import Temporary

#: Closes of two evenings are the same when they differ by less than this share.
SAME = 0.001


def gather_facts(tables: Temporary) -> None:
    """Make `facts`, a row an answer, of `answers`, `judged_bars` and the tables of the database. Its columns:

    `symbol`, `asked_from`, `asked_to`, `status`, `reason`, `fetched_at` of the answer; `bars` in it that keep the
    rules; `stored` bars in its span (of a company that changed its ticker those since then, where the source has no
    others), `kept` of them that it has, too, and `is_whole`: it spans all that is stored;
    `shared` bars compared, `differing` among them, `oldest_differs`, `steps` (changes of the ratio of answered to
    stored closes, from bar to bar), `factor` (that ratio, of the oldest bar), `split` (in words), and
    `is_explained`: the splits account for the factor; `largest_revision`, a ratio of at least 1 among the bars
    behind the oldest that no listing of their session bears out; `awaited`: a split without its effect, in words;
    `listing_off`: the ratio of the newest close to the listing's last sale, when they disagree; `is_older` than an
    answer that was taken over; `is_repeated`: another evening's answer was disputed, and said the same;
    `lacks`: why the newest session is missing or not usable (`is_rejected`), null when it is there or was not traded.
    """
    compare_with_stored(tables)
    find_awaited(tables, quality().split_patience)
    values = {"agrees": AGREES, "same": SAME, **dict(zip(("first", "recent"), reach(tables), strict=True))}
    for name, query in _PARTS.items():
        tables.make(name, query, {key: value for key, value in values.items() if f"${key}" in query})
    tables.make("facts", _FACTS)


#: A stored bar that is not of a company which had the symbol before.
_IS_OWN = "(a.own_since IS NULL OR s.date >= a.own_since)"
_IS_OUTSIDE = "s.date NOT BETWEEN a.asked_from AND a.asked_to"

_PARTS = {
    "answered_spans": """
        SELECT a.symbol, a.asked_from, a.asked_to,
               CASE WHEN n.first < t.changed THEN NULL ELSE t.changed END AS own_since
        FROM answers a
        LEFT JOIN (SELECT symbol, min(date) AS first FROM judged_bars GROUP BY symbol) n ON n.symbol = a.symbol
        LEFT JOIN (
            SELECT new_symbol AS symbol, max(date) AS changed FROM ticker_changes GROUP BY new_symbol
        ) t ON t.symbol = a.symbol
        WHERE a.status = 'ok'
    """,
    "stored_bars": f"""
        SELECT a.symbol, count(*) AS stored, count(b.symbol) AS kept
        FROM answered_spans a
        JOIN stock_data s ON s.symbol = a.symbol AND s.date BETWEEN a.asked_from AND a.asked_to AND {_IS_OWN}
        LEFT JOIN (SELECT DISTINCT symbol, date FROM judged_bars) b ON b.symbol = s.symbol AND b.date = s.date
        WHERE s.date >= $first GROUP BY a.symbol
    """,
    "with_other_bars": f"""
        WITH near AS (
            SELECT DISTINCT a.symbol FROM answered_spans a
            JOIN stock_data s ON s.symbol = a.symbol AND {_IS_OUTSIDE} AND {_IS_OWN} WHERE s.date >= $recent
        )
        FROM near UNION
        SELECT a.symbol FROM (FROM answered_spans ANTI JOIN near USING (symbol)) a
        JOIN stock_data s ON s.symbol = a.symbol AND {_IS_OUTSIDE} AND {_IS_OWN} WHERE s.date < $recent
    """,
    "comparison": f"""
        SELECT o.symbol, count(*) AS shared, count(*) FILTER (differs) AS differing,
               arg_min(differs, o.date) AS oldest_differs,
               arg_min(factor, o.date) AS factor, min(o.date) AS oldest,
               count(*) FILTER (step > 1 + {COMMON}) AS steps,
               max(greatest(factor, 1 / factor))
                   FILTER (NOT is_oldest AND NOT coalesce(is_listed, false)) AS largest_revision
        FROM (
            SELECT o.*, o.date = min(o.date) OVER bars AS is_oldest,
                   greatest(factor / lag(factor) OVER days, lag(factor) OVER days / factor) AS step,
                   s.last_sale > 0
                       AND abs(ln(o.close / s.last_sale)) < abs(ln(o.stored_close / s.last_sale)) AS is_listed
            FROM overlap o LEFT JOIN symbol_snapshots s ON s.symbol = o.symbol AND s.date = o.date
            WINDOW bars AS (PARTITION BY o.symbol), days AS (PARTITION BY o.symbol ORDER BY o.date)
        ) o GROUP BY o.symbol
    """,
    "splits": """
        SELECT b.symbol, format('split {:g} for 1 on {}', max_by(b.split_ratio, b.date), max(b.date)) AS split,
               abs(ln(product(b.split_ratio) * any_value(c.factor))) < 0.05 AS is_explained
        FROM judged_bars b JOIN comparison c ON c.symbol = b.symbol AND b.date > c.oldest
        WHERE b.split_ratio IS NOT NULL AND b.rule IS NULL GROUP BY b.symbol
    """,
    "newest_bars": """
        SELECT b.symbol, count(*) FILTER (b.rule IS NULL) AS bars, max(b.date) FILTER (b.rule IS NULL) AS newest,
               max(b.rule) FILTER (b.date = b.asked_to) AS newest_rule
        FROM judged_bars b GROUP BY b.symbol
    """,
    "disagreements": """
        SELECT b.symbol, any_value(b.close / s.last_sale) AS listing_off
        FROM judged_bars b JOIN newest_bars n ON n.symbol = b.symbol AND n.newest = b.date
        JOIN symbol_snapshots s ON s.symbol = b.symbol AND s.date = b.date AND s.last_sale > 0
        WHERE b.rule IS NULL AND abs(ln(b.close / s.last_sale)) > $agrees GROUP BY b.symbol
    """,
    "said_before": """
        SELECT symbol, count(*) > 0 AND bool_and(abs(b.close / d.close - 1) < $same) AS is_repeated
        FROM (
            SELECT d.symbol, unnest(map_keys(d.closes)) AS date, unnest(map_values(d.closes)) AS close
            FROM disputed_answers d JOIN answers a ON a.symbol = d.symbol
              AND CASE WHEN d.is_audit THEN a.fetched_at > d.fetched_at + INTERVAL 12 HOUR
                       ELSE a.asked_to > d.session END
        ) d JOIN judged_bars b USING (symbol, date) WHERE b.rule IS NULL GROUP BY symbol
    """,
}

_FACTS = """
    SELECT a.*, coalesce(n.bars, 0) AS bars, coalesce(s.stored, 0) AS stored, coalesce(s.kept, 0) AS kept,
           w.symbol IS NULL AS is_whole,
           coalesce(c.shared, 0) AS shared, coalesce(c.differing, 0) AS differing,
           coalesce(c.oldest_differs, false) AS oldest_differs, coalesce(c.steps, 0) AS steps, c.factor, p.split,
           coalesce(p.is_explained, false) AS is_explained,
           coalesce(c.largest_revision, 1) AS largest_revision, v.reason AS awaited, d.listing_off,
           coalesce(a.fetched_at < r.answered_at, false) AS is_older, coalesce(e.is_repeated, false) AS is_repeated,
           n.newest_rule IS NOT NULL AS is_rejected,
           CASE WHEN n.newest_rule IS NOT NULL THEN 'bar rejected: ' || n.newest_rule
                WHEN a.status = 'ok' AND n.newest IS DISTINCT FROM a.asked_to AND l.volume > 0
                THEN format('no bar, and the listing of the session has a volume of {:,}', l.volume) END AS lacks
    FROM answers a
    LEFT JOIN newest_bars n USING (symbol)
    LEFT JOIN stored_bars s USING (symbol)
    LEFT JOIN with_other_bars w USING (symbol)
    LEFT JOIN comparison c USING (symbol)
    LEFT JOIN splits p USING (symbol)
    LEFT JOIN awaited v USING (symbol)
    LEFT JOIN disagreements d USING (symbol)
    LEFT JOIN said_before e USING (symbol)
    LEFT JOIN price_ranges r USING (symbol)
    LEFT JOIN symbol_snapshots l ON l.symbol = a.symbol AND l.date = a.asked_to
"""
