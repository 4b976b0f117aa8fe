"""Sessions whose watchlist rests on bars that have changed since.

Bars change when the source corrects them, when they come late, and when a split restates a history. The indicators of
such symbols are computed again by the next run; the scans of sessions that are long done are not, unless somebody asks
for it (`pipeline backfill --stale`). Until then `stale_sessions` says which they are, and why.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.config import indicators, market, quality

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipeline.database.temporary import Temporary

#: A restated history that differs from the stored one by more than its common factor and this share was corrected, too.
SLACK = 0.002


def mark_stale_sessions(tables: Temporary) -> None:
    """Mark the scanned sessions that the temporary table `bar_changes` touches, before rows of `stock_data` change.

    A session is touched by a changed bar of a symbol that it expects, on that session or in the look-back before it. A
    split alone, which scales all bars of a symbol, touches only the sessions that have the symbol on their watchlist.
    """
    scanned = scanned_sessions(tables.connection)
    if not scanned:
        return
    tables.make(
        "scanned",
        "SELECT unnest($sessions::DATE[]) AS date, unnest($windows::DATE[]) AS window_start",
        {"sessions": scanned, "windows": [calendar.session_before(day, indicators().lookback - 1) for day in scanned]},
    )
    _find_changed_bars(tables)
    tables.execute(
        """
        INSERT INTO stale_sessions BY NAME
        SELECT c.date, now() AS since, count(DISTINCT b.symbol) AS symbols, any_value(b.reason) AS reason
        FROM changed_bars b
        JOIN scanned s ON b.date BETWEEN s.window_start AND s.date
        JOIN price_coverage c ON c.date = s.date AND c.symbol = b.symbol
        GROUP BY c.date
        UNION ALL
        SELECT w.scan_date, now(), count(*), 'history restated' FROM daily_watchlist w
        WHERE w.symbol IN (SELECT symbol FROM bar_changes WHERE change = 'restated')
          AND w.scan_date IN (SELECT date FROM scanned)
        GROUP BY w.scan_date
        """
    )


def _find_changed_bars(tables: Temporary) -> None:
    """The temporary table `changed_bars` (symbol, date, reason): bars that differ by more than a split accounts for."""
    tables.make(
        "changed_bars",
        """
        WITH compared AS (
            SELECT c.*, s.close AS old_close, s.volume AS old_volume,
                   median(s.close / c.close) OVER (PARTITION BY c.symbol) AS old_factor
            FROM bar_changes c LEFT JOIN stock_data s ON s.symbol = c.symbol AND s.date = c.date
            WHERE c.symbol IN (SELECT symbol FROM price_coverage)
        )
        SELECT symbol, date, CASE change WHEN 'added' THEN 'bar came late' WHEN 'deleted' THEN 'bar withdrawn'
                                         ELSE 'bar corrected' END AS reason
        FROM compared
        WHERE date BETWEEN (SELECT min(window_start) FROM scanned) AND (SELECT max(date) FROM scanned)
          AND (change <> 'restated' OR abs(old_close / close / old_factor - 1) > $slack
               OR abs(volume - old_volume * old_factor) > $slack * volume + old_factor + 1)
        """,
        {"slack": SLACK},
    )


def scanned_sessions(connection: DuckDBPyConnection) -> list[dt.date]:
    """The sessions that have a watchlist, even an empty one."""
    rows = connection.execute(
        """
        SELECT session
        FROM finished_stages
        WHERE stage = 'ScanWatchlist' ORDER BY session
        """
    ).fetchall()
    return [date for (date,) in rows]


def stale_sessions(connection: DuckDBPyConnection) -> list[dt.date]:
    """The marked sessions, oldest first."""
    return [date for (date,) in connection.execute("SELECT DISTINCT date FROM stale_sessions ORDER BY date").fetchall()]


def correctable_since(session: dt.date) -> dt.date:
    """The first session whose bars an ordinary run of `session` may correct.

    It asks for an overlap, and reaches `[quality] split_patience` sessions behind that where a split is new or no bar
    has come; what it finds there is put right by it, and needs no operator.
    """
    return calendar.session_before(session, market().overlap_sessions + quality().split_patience)


def recent_stale(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> list[dt.date]:
    """The sessions that are still in the making in a run of `sessions` and are none of them, oldest first.

    They are marked, or have hits whose bars have become final as they were.
    """
    spans = [(correctable_since(session), session) for session in sessions]
    found = {*stale_sessions(connection), *_listed_as_provisional(connection, min(oldest for oldest, _ in spans))}
    return [
        day for day in sorted(found.difference(sessions)) if any(oldest <= day < session for oldest, session in spans)
    ]


def _listed_as_provisional(connection: DuckDBPyConnection, oldest: dt.date) -> list[dt.date]:
    rows = connection.execute(
        """
        SELECT DISTINCT w.scan_date FROM daily_watchlist w
        JOIN stock_data s ON s.symbol = w.symbol AND s.date = w.scan_date
        WHERE w.scan_date >= ? AND NOT w.is_final AND s.is_final
        """,
        [oldest],
    ).fetchall()
    return [day for (day,) in rows]


def settle_session(connection: DuckDBPyConnection, session: dt.date) -> None:
    """Take the marks off a finished session that are older than its watchlist."""
    connection.execute(
        """
        DELETE FROM stale_sessions s USING finished_stages f
        WHERE s.date = ? AND f.stage = 'ScanWatchlist' AND f.session = s.date AND s.since < f.finished_at
        """,
        [session],
    )
