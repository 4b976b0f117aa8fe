"""When a session is there, at the edge of each limit: by the states of its symbols alone."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Callable

import duckdb
import pytest

from pipeline.errors import CoverageError, SourceOutageError
from pipeline.market.coverage import refusal, store_states
from tests.support.judging import answer, judged, list_symbols, store_histories

BEFORE, DAY = dt.date(2024, 2, 15), dt.date(2024, 2, 16)
ALL = 200


@pytest.fixture
def refused(tables: duckdb.DuckDBPyConnection, tmp_path: pathlib.Path) -> Callable[..., str]:
    """What a session of `count` symbols is refused for, of which some lack the session; "" when it is complete.

    `silent`: no bar and no volume in the listing; `late`: no bar, and the listing has a volume; `unknown`: no such
    symbol, never; `broken`: no usable answer; `repeated`: the close before without volume. The session before had all.
    """

    def judge(count: int = ALL, had: int | None = None, **lack: int) -> str:
        names = [f"S{number:03d}" for number in range(count)]
        kinds = [kind for kind, number in lack.items() for _ in range(number)]
        kind = dict(zip(names, kinds, strict=False))
        had = count if had is None else had
        tables.execute("INSERT INTO session_universe (date, snapshot_date) VALUES (?, ?)", [DAY, DAY])
        tables.execute(
            "INSERT INTO price_coverage (date, symbol, state) SELECT ?, unnest(?), unnest(?)",
            [BEFORE, names, ["stored"] * had + ["not_traded"] * (count - had)],
        )
        tables.execute(
            "INSERT INTO table_updates (update_id, target_table, inserted) VALUES (?, 'stock_data', now())",
            [f"CollectPrices:{BEFORE}"],
        )
        list_symbols(tables, {name: 0 if kind.get(name) == "silent" else 900 for name in names}, DAY, 10.0)
        store_histories(tables, {name: {BEFORE: 10.0} for name in names if kind.get(name) != "unknown"})
        answers = []
        for name in names:
            of = kind.get(name, "there")
            bars = {BEFORE: 10.0} | ({} if of in ("silent", "late") else
                                     {DAY: (10.0, 10.0, 10.0, 10.0, 0) if of == "repeated" else 10.1})  # fmt: skip
            status = {"unknown": "unknown", "broken": "failed"}.get(of, "ok")
            answers.append(
                answer(name, bars if status == "ok" else {}, first=BEFORE, last=DAY, status=status, reason="said")
            )
        evidence = judged(tables, tmp_path, answers)
        store_states_after(evidence)
        found = refusal(evidence, DAY)
        return "" if found is None else type(found.error).__name__ + (", outage" if found.is_outage else "")

    def store_states_after(evidence: object) -> None:
        from pipeline.market.load import store_answers

        store_answers(evidence)  # type: ignore[arg-type]
        store_states(evidence, DAY)  # type: ignore[arg-type]

    return judge


OUTAGE, COVERAGE = f"{SourceOutageError.__name__}, outage", CoverageError.__name__


@pytest.mark.parametrize(("silent", "error"), [(0, ""), (5, ""), (6, OUTAGE), (200, OUTAGE)])
def test_the_share_of_bars_may_fall_by_two_hundredths(refused: Callable[..., str], silent: int, error: str) -> None:
    assert refused(silent=silent) == error


@pytest.mark.parametrize(("silent", "error"), [(5, ""), (6, OUTAGE)])
def test_five_symbols_may_lack_a_session_whatever_their_share(
    refused: Callable[..., str], silent: int, error: str
) -> None:
    assert refused(count=20, silent=silent) == error


@pytest.mark.parametrize(("silent", "error"), [(2, ""), (3, OUTAGE)])
def test_half_of_the_smallest_universe_must_be_there(refused: Callable[..., str], silent: int, error: str) -> None:
    assert refused(count=4, silent=silent) == error


@pytest.mark.parametrize(("late", "error"), [(4, ""), (5, COVERAGE), (6, OUTAGE)])
def test_no_bar_beside_a_volume_in_the_listing_is_not_delivered(
    refused: Callable[..., str], late: int, error: str
) -> None:
    """And when more than the few lack it, the source lacks the session."""
    assert refused(late=late) == error


@pytest.mark.parametrize(("broken", "error"), [(4, ""), (5, COVERAGE), (100, COVERAGE)])
def test_symbols_without_an_answer_are_no_outage(refused: Callable[..., str], broken: int, error: str) -> None:
    assert refused(broken=broken) == error


@pytest.mark.parametrize(("unknown", "error"), [(40, ""), (41, COVERAGE), (190, COVERAGE)])
def test_a_fifth_may_be_unknown_where_there_is_nothing_to_compare_with(
    refused: Callable[..., str], unknown: int, error: str
) -> None:
    assert refused(unknown=unknown) == error


@pytest.mark.parametrize(("repeated", "error"), [(50, ""), (51, OUTAGE), (200, OUTAGE)])
def test_a_session_that_repeats_the_one_before_is_an_outage(
    refused: Callable[..., str], repeated: int, error: str
) -> None:
    assert refused(repeated=repeated) == error


def test_bars_of_such_a_session_are_not_stored(refused: Callable[..., str], tables: duckdb.DuckDBPyConnection) -> None:
    refused(repeated=200)
    assert tables.execute("SELECT count(*) FROM stock_data WHERE date = ?", [DAY]).fetchone() == (0,)
    assert tables.execute("SELECT DISTINCT rule FROM rejected_bars").fetchall() == [("session_repeated",)]
