"""Whether a session is there: one state for every expected symbol, and the checks that a complete session passes.

The counts and the two shares of a session are those of the view `session_coverage`: whoever shows or judges
completeness reads them there.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from pipeline.config import quality
from pipeline.errors import CoverageError, PipelineError, SourceOutageError
from pipeline.market.universe import expected_symbols
from pipeline.market.validation import REPEATED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from pipeline.market.evidence import Evidence

#: So many symbols may lack a session whatever their share of the universe: a small one moves in large steps.
FEW = 5


@dataclasses.dataclass(frozen=True)
class Coverage:
    """A row of `session_coverage`: numbers of symbols, and the shares that were delivered and that have a bar."""

    expected: int = 0
    stored: int = 0
    not_traded: int = 0
    unknown: int = 0
    failed: int = 0
    lost: int = 0
    coverage: float = 0.0
    traded: float = 0.0

    def __str__(self) -> str:
        names = ("stored", "not_traded", "unknown", "failed")
        return ", ".join(f"{getattr(self, name):,} {name}" for name in names)


def coverage_of(connection: DuckDBPyConnection, session: dt.date) -> Coverage:
    names = [field.name for field in dataclasses.fields(Coverage)]
    row = connection.execute(f"SELECT {', '.join(names)} FROM session_coverage WHERE date = ?", [session]).fetchone()
    return Coverage(*(value or 0 for value in row)) if row else Coverage()


def store_states(evidence: Evidence, session: dt.date) -> Coverage:
    """Give every symbol expected on the session exactly one state, with its reason.

    What was stored before, a bar or that there is none, does not count when the session is to be collected anew and the
    symbol had no usable answer; a missing one is `not_traded` only when the session's listing has no volume for it.
    """
    evidence.execute("DELETE FROM price_coverage WHERE date = $session", {"session": session})
    evidence.execute(_STATES, {"session": session, "expected": expected_symbols(evidence.connection, session)})
    return coverage_of(evidence.connection, session)


_STATES = """
    INSERT INTO price_coverage BY NAME
    WITH cases AS (
        SELECT e.symbol, s.symbol IS NOT NULL AS has_bar, b.rule, v.verdict, v.reason AS judgement, a.status,
               a.reason AS words, f.lacks, f.asked_to, r.last_asked AS known_to,
               EXISTS (FROM recollections WHERE date = $session) AND q.symbol IS NOT NULL
               AND coalesce(v.verdict, '') NOT IN ('take over', 'replace', 'add') AS is_open,
               coalesce($session BETWEEN r.first_asked AND r.last_asked, false) AS is_answered,
               CASE WHEN l.volume > 0 THEN l.volume END AS listed_volume
        FROM (SELECT unnest($expected::VARCHAR[]) AS symbol) e
        LEFT JOIN (FROM stock_data WHERE date = $session) s USING (symbol)
        LEFT JOIN (FROM rejected_bars WHERE date = $session) b USING (symbol)
        LEFT JOIN price_ranges r USING (symbol)
        LEFT JOIN requests q USING (symbol)
        LEFT JOIN answers a USING (symbol)
        LEFT JOIN verdicts v USING (symbol)
        LEFT JOIN facts f USING (symbol)
        LEFT JOIN (FROM symbol_snapshots WHERE date = $session) l USING (symbol)
    ), states AS (
        SELECT *, CASE
            WHEN has_bar AND NOT is_open THEN 'stored'
            WHEN status = 'unknown' THEN 'unknown'
            WHEN rule IS NOT NULL OR listed_volume IS NOT NULL OR NOT is_answered OR is_open THEN 'failed'
            ELSE 'not_traded' END AS state
        FROM cases
    )
    SELECT $session AS date, symbol, state, CASE state
             WHEN 'unknown' THEN words
             WHEN 'not_traded' THEN 'listed, and the source has no bar'
             WHEN 'failed' THEN coalesce('bar rejected: ' || rule, judgement, words,
                                         CASE WHEN verdict IS NOT NULL AND listed_volume IS NOT NULL
                                              THEN format('no bar, and the listing of the session has a volume of {:,}',
                                                          listed_volume) END,
                                         'no answer') END AS reason,
           state = 'unknown' AND coalesce(known_to >= (
               SELECT max(session) FROM finished_stages WHERE stage = 'CollectPrices' AND session < $session
           ), false) AS is_lost
    FROM states
"""


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a session is not complete: the error, and whether the source as a whole is to blame and is asked anew."""

    error: PipelineError
    is_outage: bool


def refusal(evidence: Evidence, session: dt.date) -> Refusal | None:
    """What keeps the session from being complete, by its states; None when nothing does.

    A symbol that failed for a reason of its own does not tell that the source lacks the session.
    """
    connection, limits = evidence.connection, quality()
    found, before = coverage_of(connection, session), traded_before(connection, session)
    if found.unknown - found.lost > limits.max_unknown * found.expected:
        return Refusal(CoverageError(_mostly_unknown(session, found)), False)
    without = answered_without(evidence, session)
    repeated = repeated_bars(evidence, session)
    if repeated:
        return Refusal(SourceOutageError(_repeated(session, repeated, found)), True)
    absent = found.not_traded + without
    there = 1 - absent / max(found.expected - found.unknown + found.lost, 1)
    lacks_session = there < limits.min_traded or (absent > FEW and there < before - limits.max_traded_drop)
    if lacks_session and without > found.failed / 2:
        return Refusal(SourceOutageError(_session_absent(session, found, before)), True)
    if found.coverage < limits.min_coverage and found.lost > found.failed:
        return Refusal(SourceOutageError(_forgotten(session, found)), True)
    if found.coverage < limits.min_coverage:
        return Refusal(CoverageError(_too_few(connection, session, found)), False)
    return Refusal(SourceOutageError(_session_absent(session, found, before)), True) if lacks_session else None


def answered_without(evidence: Evidence, session: dt.date) -> int:
    """The number of failed symbols whose answer came and has no bar of the session."""
    return int(
        evidence.execute(
            """
            SELECT count(*) FROM price_coverage c JOIN answers a USING (symbol)
            WHERE c.date = $session AND c.state = 'failed'
              AND a.status = 'ok' AND $session BETWEEN a.asked_from AND a.asked_to
              AND NOT EXISTS (FROM judged_bars b WHERE b.symbol = c.symbol AND b.date = $session)
            """,
            {"session": session},
        )[0][0]
    )


def repeated_bars(evidence: Evidence, session: dt.date) -> int:
    """How many bars of the session were refused because too many have no volume or repeat the close before."""
    query = "SELECT count(*) FROM judged_bars WHERE date = $session AND rule = $rule"
    return int(evidence.execute(query, {"session": session, "rule": REPEATED})[0][0])


def traded_before(connection: DuckDBPyConnection, session: dt.date) -> float:
    """The share of symbols with a bar on the last complete session before; 0 when there is none."""
    row = connection.execute(
        """
        SELECT traded FROM session_coverage WHERE date = (
            SELECT max(session) FROM finished_stages WHERE stage = 'CollectPrices' AND session < ?
        )
        """,
        [session],
    ).fetchone()
    return row[0] or 0.0 if row else 0.0


def _again(session: dt.date) -> str:
    return f"luigi --module pipeline DailyPipeline --date {session}"


def _too_few(connection: DuckDBPyConnection, session: dt.date, found: Coverage) -> str:
    rows = connection.execute(
        """
        SELECT symbol, reason
        FROM price_coverage
        WHERE date = ? AND (state = 'failed' OR is_lost)
        ORDER BY symbol LIMIT 5
        """,
        [session],
    ).fetchall()
    names = "; ".join(f"{symbol}: {reason}" for symbol, reason in rows)
    return (
        f"session {session}: {found.coverage:.1%} of the expected symbols were delivered, "
        f"{quality().min_coverage:.1%} are needed ({found}). First failures: {names}. What was delivered is kept; "
        f"{_again(session)} asks for the rest"
    )


def _mostly_unknown(session: dt.date, found: Coverage) -> str:
    return (
        f"session {session}: the source has no such symbol as {found.unknown / found.expected:.1%} of those expected, "
        f"and [quality] max_unknown is {quality().max_unknown:.1%} ({found}). Try again later: {_again(session)}; "
        f"when the source really does not cover the exchange, raise the setting"
    )


def _forgotten(session: dt.date, found: Coverage) -> str:
    return (
        f"session {session}: the source says of {found.lost:,} symbols that there are none such, "
        f"and knew them the session before ({found}); it is not to be believed. Try again later: {_again(session)}"
    )


def _repeated(session: dt.date, repeated: int, found: Coverage) -> str:
    return (
        f"session {session}: {repeated:,} of the bars that the source has of it have no volume, "
        f"or only repeat the close before ({found}); "
        f"[quality] max_repeated is {quality().max_repeated:.0%} of a session. They are not stored. "
        f"Try again later: {_again(session)}. If the exchange was closed on that day, "
        f"put it into the configuration: [market] closed = {session}"
    )


def _session_absent(session: dt.date, found: Coverage, before: float) -> str:
    held = f", against {before:.1%} on the session before" if before else ""
    return (
        f"session {session}: the source answers, but {found.traded:.1%} of the symbols have a bar of it{held} "
        f"({found}); it lacks the session as a whole. Try again later: {_again(session)}. If the exchange was "
        f"closed on that day, put it into the configuration: [market] closed = {session}"
    )
