"""Which watchlists rest on bars that have changed since, and how they are put right."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from pipeline.cli.backfill import prepare_stale
from pipeline.cli.main import main
from pipeline.database.connection import reading
from pipeline.database.markers import RowTarget
from pipeline.market.evidence import Temporary
from pipeline.market.staleness import mark_stale_sessions, recent_stale, stale_sessions
from pipeline.tasks import watchlist
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.ranges import RangeTradingDays
from tests.conftest import forget
from tests.support.beginnings import Begun
from tests.support.collecting import collect
from tests.support.runs import assert_same, results, run_here
from tests.support.small_market import SESSIONS, SPLIT, SPLIT_DAY, SmallMarket

DAYS = SESSIONS[-6:]


def run(market: SmallMarket, *days: dt.date) -> None:
    assert collect(market, *days, task=DailyPipeline)


def stale() -> list[dt.date]:
    with reading() as connection:
        return stale_sessions(connection)


@pytest.fixture
def three_days(here: SmallMarket, data_dir: Path, begun: Begun) -> SmallMarket:
    """A market whose first three of DAYS are done."""
    begun("three days", data_dir, lambda: collect(here, *DAYS[:3], task=DailyPipeline))
    here.as_of = DAYS[2]
    return here


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """No earlier session is in the making any more, as if more sessions than a run corrects had gone by."""
    monkeypatch.setattr(watchlist, "recent_stale", lambda connection, sessions: [])


def test_an_ordinary_day_makes_nothing_stale(three_days: SmallMarket) -> None:
    assert stale() == []


def test_the_run_that_finds_a_corrected_bar_puts_the_sessions_of_its_overlap_right(three_days: SmallMarket) -> None:
    three_days.corrections["S05", DAYS[1]] = 1.02
    run(three_days, DAYS[3])
    assert stale() == []


@pytest.mark.parametrize(
    ("back", "is_put_right"), [(0, False), (1, True), (5, True), (12, True), (13, False), (-1, False)]
)
def test_a_run_puts_right_the_sessions_that_its_requests_may_correct(
    tables: duckdb.DuckDBPyConnection, back: int, is_put_right: bool
) -> None:
    """An overlap of 5 sessions and a split's patience of 7: the twelfth session before it, and not the thirteenth."""
    session = SESSIONS[-2]
    day = SESSIONS[-2 - back]
    tables.execute(
        "INSERT INTO stale_sessions (date, since, symbols, reason) VALUES (?, now(), 1, 'bar came late')", [day]
    )
    assert recent_stale(tables, [session]) == ([day] if is_put_right else [])


@pytest.mark.usefixtures("behind")
def test_a_corrected_bar_touches_its_session_and_the_later_ones(three_days: SmallMarket) -> None:
    three_days.corrections["S05", DAYS[1]] = 1.02
    run(three_days, DAYS[3])
    assert stale() == [DAYS[1], DAYS[2]]


@pytest.mark.slow
@pytest.mark.usefixtures("behind")
def test_a_split_alone_makes_no_history_stale_but_where_the_symbol_was_found(here: SmallMarket) -> None:
    before = [day for day in SESSIONS if day < SPLIT_DAY][-3:]
    run(here, *before)
    with reading() as connection:
        found = connection.execute(
            "SELECT scan_date FROM daily_watchlist WHERE symbol = ? ORDER BY scan_date", [SPLIT]
        ).fetchall()
    run(here, SPLIT_DAY)
    assert stale() == [day for (day,) in found]


@pytest.mark.parametrize(
    ("close", "volume", "is_stale"),
    [
        (50.0, 2_000_000, False), (50 / 1.0019, 2_000_000, False), (50 / 1.0021, 2_000_000, True),
        (50 * 1.0021, 2_000_000, True),
        (50.0, 2_004_000, False), (50.0, 2_004_020, True), (50.0, 1_996_010, False), (50.0, 1_996_000, True),
    ],
)  # fmt: skip
def test_a_restated_history_is_stale_where_a_bar_differs_by_two_thousandths_more(
    tables: duckdb.DuckDBPyConnection, data_dir: Path, close: float, volume: int, is_stale: bool
) -> None:
    """All bars are restated two for one; the one of DAYS[1] comes with this close and volume."""
    RowTarget("ScanWatchlist", DAYS[2]).touch(tables, "daily_watchlist")
    tables.execute("INSERT INTO price_coverage (symbol, date, state) VALUES ('AAA', ?, 'stored')", [DAYS[2]])
    tables.execute(
        """
        INSERT INTO stock_data BY NAME
        SELECT 'AAA' AS symbol, unnest(?::DATE[]) AS date, 100 AS open, 100 AS high, 100 AS low, 100 AS close,
               1000000 AS volume, now() AS fetched_at
        """,
        [DAYS[:3]],
    )
    with Temporary(tables) as temporary:
        temporary.make(
            "bar_changes",
            """
            SELECT symbol, date, if(date = $day, $close, 50.0) AS close, if(date = $day, $volume, 2000000) AS volume,
                   'restated' AS change, 'split' AS reason
            FROM stock_data
            """,
            {"day": DAYS[1], "close": close, "volume": volume},
        )
        mark_stale_sessions(temporary)
        assert stale_sessions(tables) == ([DAYS[2]] if is_stale else [])


@pytest.mark.slow
@pytest.mark.usefixtures("behind")
def test_a_back_fill_of_the_stale_gives_the_tables_of_a_world_in_which_the_bar_was_right_at_once(
    three_days: SmallMarket, settings: Callable[..., None], tmp_path: Path
) -> None:
    three_days.corrections["S05", DAYS[1]] = 1.02
    run(three_days, DAYS[3])
    assert prepare_stale(None, None) == [DAYS[1], DAYS[2]]
    assert prepare_stale(None, None) == [DAYS[1], DAYS[2]], "a killed run is taken up again"
    forget()
    stop = DAYS[2] + dt.timedelta(days=1)
    assert run_here(RangeTradingDays(of=DailyPipeline, start=DAYS[1], stop=stop, only_stale=True))
    assert stale() == []
    corrected = results(tmp_path / "data")
    forget()
    settings("storage", data_dir=tmp_path / "right at once")
    run(three_days, *DAYS[:4])
    right = results(tmp_path / "right at once")
    # The listing of an evening stays as it was received, with the old price of the one symbol.
    listed = [set(tables.pop("symbol_snapshots")) for tables in (right, corrected)]
    assert {row[1] for row in listed[0] ^ listed[1]} == {"S05"}
    assert len(listed[0]) == len(listed[1])
    assert_same(right, corrected)


@pytest.mark.slow
@pytest.mark.usefixtures("behind")
def test_only_the_stale_sessions_of_a_range_are_run(here: SmallMarket) -> None:
    run(here, DAYS[0], DAYS[2])  # the session between them was never run, and stays so
    here.corrections["S05", DAYS[0]] = 1.02
    run(here, DAYS[3])
    prepare_stale(None, None)
    forget()
    tasks = RangeTradingDays(of=DailyPipeline, start=DAYS[0], stop=DAYS[3], only_stale=True).requires()
    assert [task.date for task in tasks] == [DAYS[0], DAYS[2]]


def test_the_command_says_when_nothing_is_stale(here: SmallMarket) -> None:
    answer = CliRunner().invoke(main, ["backfill", "--stale"])
    assert (answer.exit_code, answer.output) == (0, "nothing to do: no session is stale\n")
