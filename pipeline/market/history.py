"""The one way in which rows of `stock_data` change (`change_bars`), and what follows from a change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.database.temporary import Temporary
from pipeline.events import corrections
from pipeline.market.finality import place_finality
from pipeline.market.staleness import mark_stale_sessions
from pipeline.market.versions import keep_versions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def change_bars(tables: Temporary) -> dict[str, int]:
    """Carry out the temporary table `bar_changes`: every bar that is added, revised, restated or deleted passes here.

    `bar_changes` has one row a bar (symbol, date), with

    * `change`: `added` (nothing is stored), `revised` (one bar put right), `restated` (part of a history that is
      replaced on another basis) or `deleted` (then the values are null);
    * `open`, `high`, `low`, `close`, `volume`, `fetched_at`: the new values, prices in dollars, and the moment of the
      answer;
    * `reason`: in words, null for `added`; `factor`: answered to stored closes, for `restated`.

    At the moment of the call `stock_data` still has the old values of all rows that are not `added`. In the
    caller's transaction they are kept in `bar_versions`, the rows are replaced, indicators and watchlists that rest on
    them are marked as stale, rows of `technical_indicators` without a bar go, and `price_coverage` follows. Nothing
    else inserts into `stock_data`, updates it or deletes from it. Returns counts for the day's summary.
    """
    mark_stale_indicators(tables)
    mark_stale_sessions(tables)
    keep_versions(tables)
    corrections.bars_changed(tables.connection)
    place_finality(tables, "bar_changes")
    _replace(tables)
    _follow(tables)
    return _counts(tables)


def delete_histories(connection: DuckDBPyConnection, symbols: list[str], reason: str) -> None:
    """Delete all bars of symbols, with their indicators; for tickers that are another company's now."""
    _delete_bars(connection, "symbol IN (SELECT unnest($chosen::VARCHAR[]))", symbols, reason)


def delete_days(connection: DuckDBPyConnection, days: list[dt.date], reason: str) -> None:
    """Delete all bars of days, with their indicators; for days that were no sessions."""
    _delete_bars(connection, "date IN (SELECT unnest($chosen::DATE[]))", days, reason)


def _delete_bars(connection: DuckDBPyConnection, condition: str, chosen: Sequence[object], reason: str) -> None:
    with Temporary(connection) as tables:
        tables.make(
            "bar_changes",
            f"""
            SELECT symbol, date, 'deleted' AS change, NULL::DOUBLE AS open, NULL::DOUBLE AS high, NULL::DOUBLE AS low,
                   NULL::DOUBLE AS close, NULL::BIGINT AS volume, NULL::TIMESTAMPTZ AS fetched_at, $reason AS reason,
                   NULL::DOUBLE AS factor
            FROM stock_data WHERE {condition}
            """,
            {"chosen": chosen, "reason": reason},
        )
        if tables.execute("FROM bar_changes LIMIT 1"):
            change_bars(tables)


def mark_stale_indicators(tables: Temporary) -> None:
    """Mark indicators of sessions on or after a bar that changed in any column, or came late, to be computed again."""
    tables.execute(
        """
        INSERT INTO stale_indicators BY NAME
        SELECT symbol, now() AS since, min(date) AS from_date,
               CASE WHEN bool_or(change = 'restated') THEN 'history restated'
                    WHEN bool_or(change = 'revised') THEN 'bar revised'
                    WHEN bool_or(change = 'added') THEN 'earlier bars added' ELSE 'bar deleted' END AS reason
        FROM bar_changes
        WHERE date <= (SELECT max(session) FROM finished_stages WHERE stage = 'ComputeIndicators')
        GROUP BY symbol
        """
    )


def _replace(tables: Temporary) -> None:
    tables.execute(
        """
        DELETE FROM stock_data s USING bar_changes c
        WHERE s.symbol = c.symbol AND s.date = c.date AND c.change <> 'added'
        """
    )
    tables.execute(
        """
        INSERT INTO stock_data BY NAME
        SELECT c.symbol, c.date, c.open, c.high, c.low, c.close, c.volume, c.fetched_at, now() AS stored_at,
               coalesce(c.fetched_at >= f.final_at, true) AS is_final
        FROM bar_changes c LEFT JOIN finality f USING (date)
        WHERE c.change <> 'deleted'
        ORDER BY c.symbol, c.date
        """
    )


def _follow(tables: Temporary) -> None:
    tables.execute(
        """
        DELETE FROM technical_indicators t USING bar_changes c
        WHERE t.symbol = c.symbol AND t.date = c.date AND c.change = 'deleted'
        """
    )
    tables.execute(
        """
        UPDATE price_coverage p SET state = 'stored', reason = 'the bar came later', is_lost = false
        FROM bar_changes c
        WHERE p.symbol = c.symbol AND p.date = c.date AND c.change <> 'deleted' AND p.state <> 'stored'
        """
    )
    tables.execute(
        """
        UPDATE price_coverage p SET state = 'not_traded', reason = c.reason
        FROM bar_changes c
        WHERE p.symbol = c.symbol AND p.date = c.date AND c.change = 'deleted' AND p.state = 'stored'
        """
    )


def _counts(tables: Temporary) -> dict[str, int]:
    row = tables.execute(
        """
        SELECT count(*) FILTER (change = 'added'), count(*) FILTER (change = 'revised'),
               count(DISTINCT symbol) FILTER (change = 'restated'), count(*) FILTER (change = 'deleted')
        FROM bar_changes
        """
    )[0]
    return dict(zip(("new_bars", "revised_bars", "restated_histories", "deleted_bars"), row, strict=True))
