"""The view of one or more sessions that scans look at: a row a symbol, with the values of the session before, too."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pipeline.calendar import session_before
from pipeline.config import quality, scans
from pipeline.database.schema import MIGRATIONS
from pipeline.database.sql import identifier
from pipeline.indicators.columns import create_columns
from pipeline.indicators.definitions import configured_definitions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Sessions that are looked back over for one that has bars; a market that is closed for longer begins anew.
REACH = 20
#: What a listing `s` says of a symbol that a scan may find: its kind of security is not among `[scans] skip_types`.
IS_CANDIDATE = "coalesce(s.security_type, 'share') NOT IN (SELECT trim(unnest(string_split($skipped, ','))))"
NUMBERS = ("DOUBLE", "FLOAT", "BIGINT", "INTEGER")


def create_day_view(connection: DuckDBPyConnection, *sessions: dt.date, only: Collection[str] = ()) -> None:
    """The temporary table `day_view`: one row for each session and symbol expected on it that has a bar.

    Symbols whose kind of security is among `[scans] skip_types` are left out.

    Columns: those of `stock_data`, of `technical_indicators` and the facts of the listing that serves the session, and
    `volume_ratio` = volume / avg_volume_30. `prev_` and the name of a column of numbers is its value of the session
    before that has bars, null where the symbol did not trade then, or where that session was not computed. `only`
    names the columns that are wanted, where those are not all.
    """
    _choose_days(connection, _sessions_before(connection, sessions))
    _place_facts(connection, only)
    previous = ", ".join(f"p.{identifier(name)} AS {identifier('prev_' + name)}" for name in _numbers(connection))
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE day_view AS
        SELECT {_listed(only)} FROM (
            SELECT s.* EXCLUDE (is_candidate), {previous}
            FROM day_facts s
            JOIN day_list d USING (date)
            JOIN session_universe u USING (date)
            JOIN (
                FROM price_coverage WHERE date BETWEEN $first AND $last AND state = 'stored'
            ) c ON c.date = s.date AND c.symbol = s.symbol
            LEFT JOIN day_facts p ON p.date = d.previous AND p.symbol = s.symbol
            WHERE d.wanted AND s.is_candidate
        )
        """,
        {"first": min(sessions, default=None), "last": max(sessions, default=None)},
    )


def _place_facts(connection: DuckDBPyConnection, only: Collection[str]) -> None:
    """The temporary table `day_facts`: of each bar of `day_list` what is known of it without the session before."""
    needed = {name.removeprefix("prev_") for name in only} | {"symbol", "date", "is_candidate"}
    (span,) = connection.execute("SELECT min(date) AS first, max(date) AS last FROM day_list").fetchall()
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE day_facts AS
        SELECT {_listed(needed if only else ())} FROM (
            SELECT b.symbol, b.date, b.open, b.high, b.low, b.close, b.volume,
                   t.* EXCLUDE (symbol, date, source), b.volume / nullif(t.avg_volume_30, 0) AS volume_ratio,
                   s.name, s.sector, s.industry, s.country, s.market_cap, s.ipo_year, s.security_type, s.exchange,
                   coalesce(b.is_final, true) AS is_final, s.name IS NOT NULL AND {IS_CANDIDATE} AS is_candidate
            FROM stock_data b
            JOIN day_list d USING (date)
            LEFT JOIN technical_indicators t ON t.date = b.date AND t.symbol = b.symbol
            LEFT JOIN (
                FROM session_listings WHERE session BETWEEN $first AND $last
            ) s ON s.session = b.date AND s.symbol = b.symbol
        )
        """,
        {"skipped": scans().skip_types, "first": span[0], "last": span[1]},
    )


def _listed(names: Collection[str]) -> str:
    """The columns of these names as SQL; all of them where none are named."""
    return ", ".join(map(identifier, sorted(names))) or "*"


def columns(connection: DuckDBPyConnection) -> tuple[str, ...]:
    """The names of the columns of `day_view`."""
    return tuple(row[0] for row in connection.execute("DESCRIBE day_view").fetchall())


def create_empty_day_view(connection: DuckDBPyConnection) -> None:
    """`day_view` without a row, in a database that has no tables yet: what is needed to check an expression."""
    for _, sql in MIGRATIONS:
        connection.execute(sql.replace("{source}", ""))
    create_columns(connection, configured_definitions())
    create_day_view(connection)


def _sessions_before(connection: DuckDBPyConnection, sessions: Sequence[dt.date]) -> dict[dt.date, dt.date]:
    """For each session the newest one before it that has bars, so that a day without trading hides no earlier one.

    A session with fewer bars than `[quality] min_traded` of those of the later one is one that the source lacked.
    """
    if not sessions:
        return {}
    rows = connection.execute(
        """
        WITH wanted AS (
            SELECT unnest($sessions::DATE[]) AS date, unnest($first::DATE[]) AS first
        ), counted AS (
            SELECT date, count(*) AS bars FROM stock_data
            WHERE date BETWEEN (SELECT min(first) FROM wanted) AND (SELECT max(date) FROM wanted) GROUP BY date
        )
        SELECT date, max(earlier.date)
        FROM wanted
        JOIN counted later USING (date)
        JOIN counted earlier ON earlier.date >= first AND earlier.date < later.date
            AND earlier.bars >= $share * later.bars
        GROUP BY date
        """,
        {
            "sessions": list(sessions),
            "first": [session_before(session, REACH) for session in sessions],
            "share": quality().min_traded,
        },
    ).fetchall()
    found: dict[dt.date, dt.date] = dict(rows)
    return {session: found.get(session, session_before(session)) for session in sessions}


def _choose_days(connection: DuckDBPyConnection, previous: dict[dt.date, dt.date]) -> None:
    """The temporary table `day_list`: the sessions that are wanted, and those that only lend their values."""
    connection.execute("CREATE OR REPLACE TEMP TABLE day_list (date DATE, previous DATE, wanted BOOLEAN)")
    connection.execute(
        "INSERT INTO day_list SELECT unnest($days::DATE[]), unnest($before::DATE[]), true",
        {"days": list(previous), "before": list(previous.values())},
    )
    connection.execute(
        """
        INSERT INTO day_list SELECT DISTINCT previous, NULL::DATE, false FROM day_list
        WHERE previous NOT IN (SELECT date FROM day_list)
        """
    )


def _numbers(connection: DuckDBPyConnection) -> list[str]:
    return [name for name, kind, *_ in connection.execute("DESCRIBE day_facts").fetchall() if kind in NUMBERS]
