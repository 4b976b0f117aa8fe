"""From landed answers to tables, in the transaction of the caller.

    raw/prices/D/batch-*.parquet -> stock_data, corporate_actions, rejected_bars, price_ranges, price_coverage

Only what differs from the stored rows is written, so that a correction is visible by its `fetched_at` and an ordinary
day touches few rows.
"""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pipeline.market.gaps import remember
from pipeline.market.staleness import mark_stale_sessions
from pipeline.market.validation import split_by_rules
from pipeline.sources.protocol import BarRequest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def read_answers(connection: DuckDBPyConnection, folder: pathlib.Path, requests: Sequence[BarRequest]) -> None:
    """Make the temporary tables `requests`, `answers` (one a request) and `answered_bars` (their rows with a date).

    Of several answers for a symbol the newest usable one that covers the request counts.
    """
    from pipeline.sources.answers import batch_files

    connection.execute("CREATE OR REPLACE TEMP TABLE requests (symbol VARCHAR, first DATE, last DATE)")
    if requests:
        connection.execute(
            "INSERT INTO requests SELECT unnest(?::VARCHAR[]), unnest(?::DATE[]), unnest(?::DATE[])",
            [[r.symbol for r in requests], [r.first for r in requests], [r.last for r in requests]],
        )
    files = [str(path) for path in batch_files(folder)]
    rows = "read_parquet($files)" if files else "(SELECT * FROM empty_answers)"
    connection.execute(_EMPTY_ANSWERS)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE received AS SELECT a.* FROM {rows} a SEMI JOIN requests USING (symbol)",
        {"files": files} if files else {},
    )
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE answers AS
        SELECT DISTINCT ON (a.symbol) a.symbol, a.asked_from, a.asked_to, a.status, a.reason, a.fetched_at
        FROM received a JOIN requests r
          ON a.symbol = r.symbol AND (a.status <> 'ok' OR (a.asked_from <= r.first AND a.asked_to >= r.last))
        ORDER BY a.symbol, a.status = 'failed', a.fetched_at DESC, a.asked_from
        """
    )
    connection.execute(
        """
        CREATE OR REPLACE TEMP TABLE answered_bars AS
        SELECT r.* FROM received r JOIN answers a USING (symbol, asked_from, asked_to, fetched_at)
        WHERE a.status = 'ok' AND r.date IS NOT NULL
        """
    )


_EMPTY_ANSWERS = """
    CREATE TEMP TABLE IF NOT EXISTS empty_answers (
        symbol VARCHAR, asked_from DATE, asked_to DATE, status VARCHAR, reason VARCHAR, fetched_at TIMESTAMPTZ,
        date DATE, open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume BIGINT, dividend DOUBLE, split_ratio DOUBLE
    )
"""


def store_answers(connection: DuckDBPyConnection, restated: Collection[str]) -> dict[str, int]:
    """Bring the tables up to date with the temporary tables of `read_answers`.

    The histories of `restated` symbols are replaced whole; of the others the bars that are new or differ. A bar that
    breaks a rule leaves the stored one as it was. Returns counts of what changed, for the day's summary.
    """
    split_by_rules(connection)
    connection.execute("CREATE TEMP TABLE restated AS SELECT unnest(?::VARCHAR[]) AS symbol", [list(restated)])
    connection.execute("DELETE FROM restated WHERE symbol NOT IN (SELECT symbol FROM answers WHERE status = 'ok')")
    counts = _store_bars(connection)
    _store_rejected(connection)
    _store_actions(connection)
    _store_ranges(connection)
    remember(connection)
    return counts


def _store_bars(connection: DuckDBPyConnection) -> dict[str, int]:
    connection.execute(
        """
        CREATE TEMP TABLE written_bars AS
        SELECT g.symbol, g.date, g.open, g.high, g.low, g.close, g.volume, g.fetched_at,
               s.date IS NOT NULL AS is_revision, s.close IS DISTINCT FROM g.close OR s.volume IS DISTINCT FROM g.volume AS is_material,
               g.symbol IN (FROM restated) AS is_restated
        FROM good_bars g LEFT JOIN stock_data s USING (symbol, date)
        WHERE g.symbol IN (FROM restated)
           OR (s.open, s.high, s.low, s.close, s.volume) IS DISTINCT FROM (g.open, g.high, g.low, g.close, g.volume)
        """
    )
    _mark_stale(connection)
    mark_stale_sessions(connection)
    connection.execute("DELETE FROM stock_data WHERE symbol IN (FROM restated)")
    connection.execute(
        "DELETE FROM stock_data s USING written_bars w WHERE s.symbol = w.symbol AND s.date = w.date AND w.is_revision"
    )
    connection.execute(
        "INSERT INTO stock_data BY NAME SELECT symbol, date, open, high, low, close, volume, fetched_at FROM written_bars ORDER BY symbol, date"
    )
    row = connection.execute(
        """
        SELECT count(*) FILTER (NOT is_revision AND NOT is_restated), count(*) FILTER (is_revision AND NOT is_restated),
               count(DISTINCT symbol) FILTER (is_restated), (SELECT count(*) FROM bad_bars)
        FROM written_bars
        """
    ).fetchone() or (0, 0, 0, 0)
    return dict(zip(("new_bars", "revised_bars", "restated_histories", "rejected_bars"), row, strict=True))


def _mark_stale(connection: DuckDBPyConnection) -> None:
    """Indicators of sessions on or after a bar that changed, or that came late, have to be computed again."""
    connection.execute(
        """
        INSERT INTO stale_indicators BY NAME
        SELECT symbol, now() AS since, CASE WHEN bool_or(is_restated) THEN 'history restated'
               WHEN bool_or(is_revision) THEN 'bar revised' ELSE 'earlier bars added' END AS reason
        FROM written_bars WHERE (is_material OR is_restated) AND date <= (
            SELECT max(session) FROM finished_stages WHERE stage = 'ComputeIndicators'
        ) GROUP BY symbol
        """
    )
    connection.execute(
        """
        UPDATE price_coverage c SET state = 'stored', reason = 'the bar came later'
        FROM written_bars w WHERE c.symbol = w.symbol AND c.date = w.date AND c.state <> 'stored'
        """
    )


def _store_rejected(connection: DuckDBPyConnection) -> None:
    connection.execute(
        """
        DELETE FROM rejected_bars b USING answers a
        WHERE a.status = 'ok' AND b.symbol = a.symbol AND b.date BETWEEN a.asked_from AND a.asked_to
        """
    )
    connection.execute(
        """
        INSERT INTO rejected_bars BY NAME
        SELECT symbol, date, open, high, low, close, volume, rule, now() AS rejected_at FROM bad_bars
        """
    )


def _store_actions(connection: DuckDBPyConnection) -> None:
    connection.execute(
        """
        CREATE TEMP TABLE answered_actions AS
        SELECT symbol, date, 'split' AS kind, any_value(split_ratio) AS value FROM answered_bars
        WHERE split_ratio IS NOT NULL GROUP BY symbol, date
        UNION ALL
        SELECT symbol, date, 'dividend', any_value(dividend) FROM answered_bars WHERE dividend IS NOT NULL GROUP BY symbol, date
        """
    )
    connection.execute(
        "DELETE FROM corporate_actions c USING answered_actions a WHERE c.symbol = a.symbol AND c.date = a.date AND c.kind = a.kind"
    )
    connection.execute("INSERT INTO corporate_actions BY NAME FROM answered_actions")


def _store_ranges(connection: DuckDBPyConnection) -> None:
    connection.execute(
        """
        CREATE TEMP TABLE spans AS
        SELECT a.symbol, least(a.asked_from, r.first_asked) AS first_asked, greatest(a.asked_to, r.last_asked) AS last_asked
        FROM answers a LEFT JOIN price_ranges r USING (symbol) WHERE a.status = 'ok'
        """
    )
    connection.execute("DELETE FROM price_ranges WHERE symbol IN (SELECT symbol FROM spans)")
    connection.execute("INSERT INTO price_ranges BY NAME FROM spans")


def store_coverage(connection: DuckDBPyConnection, session: dt.date) -> dict[str, int]:
    """Give every symbol expected on the session exactly one state, and count the states."""
    from pipeline.market.universe import expected_symbols

    expected = expected_symbols(connection, session)
    connection.execute("DELETE FROM price_coverage WHERE date = ?", [session])
    connection.execute(
        """
        INSERT INTO price_coverage BY NAME
        SELECT $session AS date, e.symbol, state, CASE state
                 WHEN 'unknown' THEN a.reason
                 WHEN 'not_traded' THEN 'listed, and the source has no bar'
                 WHEN 'failed' THEN coalesce('bar rejected: ' || b.rule, a.reason, 'no answer') END AS reason
        FROM (
            SELECT e.symbol, CASE WHEN s.symbol IS NOT NULL THEN 'stored' WHEN a.status = 'unknown' THEN 'unknown'
                     WHEN b.symbol IS NOT NULL THEN 'failed'
                     WHEN $session BETWEEN r.first_asked AND r.last_asked THEN 'not_traded' ELSE 'failed' END AS state
            FROM (SELECT unnest($expected::VARCHAR[]) AS symbol) e
            LEFT JOIN (FROM stock_data WHERE date = $session) s USING (symbol)
            LEFT JOIN (FROM rejected_bars WHERE date = $session) b USING (symbol)
            LEFT JOIN price_ranges r USING (symbol)
            LEFT JOIN answers a USING (symbol)
        ) e LEFT JOIN answers a USING (symbol) LEFT JOIN (FROM rejected_bars WHERE date = $session) b USING (symbol)
        """,
        {"session": session, "expected": expected},
    )
    rows = connection.execute("SELECT state, count(*) FROM price_coverage WHERE date = ? GROUP BY state", [session])
    return dict.fromkeys(("stored", "not_traded", "unknown", "failed"), 0) | dict(rows.fetchall())
