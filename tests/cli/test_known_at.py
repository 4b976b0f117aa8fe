"""`pipeline query --known-at`: what was known then, or a sentence on why nobody knows."""

from __future__ import annotations

import datetime as dt
import pathlib

import duckdb
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import main
from pipeline.database.connection import database_path, writing
from pipeline.database.replica import publish, replica_path
from tests.support.beginnings import Begun

DAY = dt.date(2024, 2, 16)
EVENING, MORNING = "2024-02-16T23:00:00Z", "2024-02-17T12:00:00Z"
BARS = "SELECT symbol, volume, is_final FROM stock_data"


@pytest.fixture
def replica(data_dir: pathlib.Path, begun: Begun) -> pathlib.Path:
    """One bar of the evening, put right in the morning; one that was right."""
    begun("published", data_dir, make)
    return replica_path()


def make() -> bool:
    with writing() as connection:
        connection.execute(
            """
            INSERT INTO bar_versions
                (symbol, date, open, high, low, close, volume, is_final, fetched_at, stored_at, replaced_at, reason)
            VALUES ('AAA', $day, 1, 1, 1, 1, 90, false, $evening, $evening, $morning, 'corrected by the source')
            """,
            {"day": DAY, "evening": EVENING, "morning": MORNING},
        )
        connection.execute(
            """
            INSERT INTO stock_data
                (symbol, date, open, high, low, close, volume, is_final, fetched_at, stored_at, confirmed_at)
            VALUES ('AAA', $day, 1, 1, 1, 1, 100, true, $morning, $morning, NULL),
                   ('BBB', $day, 1, 1, 1, 1, 200, true, $evening, $evening, $morning)
            """,
            {"day": DAY, "evening": EVENING, "morning": MORNING},
        )
    publish(DAY)
    return True


def ask(sql: str, moment: str) -> Result:
    return CliRunner().invoke(main, ["query", sql, "--format", "csv", "--known-at", moment])


@pytest.mark.parametrize(
    ("moment", "rows"),
    [
        ("2024-02-16T22:59:59.999999Z", []),
        ("2024-02-16T18:00-05:00", ["AAA,90,False", "BBB,200,False"]),
        ("2024-02-17T20:59:59+09:00", ["AAA,90,False", "BBB,200,False"]),
        ("2024-02-17T21:00+09:00", ["AAA,100,True", "BBB,200,True"]),
    ],
)
def test_bars_are_as_they_were(replica: pathlib.Path, moment: str, rows: list[str]) -> None:
    answer = ask(f"{BARS} ORDER BY symbol", moment)
    assert answer.exit_code == 0, answer.output
    assert answer.output.splitlines() == ["symbol,volume,is_final", *rows]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("FROM technical_indicators", "what technical_indicators said before is not kept"),
        ("SELECT * FROM stock_data JOIN session_listings USING (symbol)", "session_listings said before is not kept"),
        ("SELECT (SELECT count(*) FROM nasdaq_symbols)", "nasdaq_symbols said before is not kept"),
        ("WITH alerts AS (FROM alerts) FROM alerts", "alerts said before is not kept"),
        ("FROM main.stock_data", "without its schema"),
        ("FROM stock_data_replica.main.stock_data", "without its schema"),
        ("DELETE FROM stock_data", "no SELECT"),
    ],
)
def test_what_is_not_kept_is_refused(replica: pathlib.Path, sql: str, said: str) -> None:
    answer = ask(sql, MORNING)
    assert answer.exit_code == 1
    assert said in answer.output


def test_names_of_its_own_are_no_tables(replica: pathlib.Path) -> None:
    answer = ask(f"WITH mine AS ({BARS}) SELECT max(a.volume) AS v FROM mine a JOIN mine b USING (symbol)", EVENING)
    assert answer.output.splitlines() == ["v", "200"]


def test_columns_are_told_once(replica: pathlib.Path) -> None:
    told = [line.split(",")[0] for line in ask("DESCRIBE daily_watchlist", EVENING).output.splitlines()]
    assert told.count("scan_date") == 1


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("yesterday", "is no moment"),
        ("2024-02-16", "has no time zone"),
        ("2024-02-16T22:00", "2024-02-16T22:00Z for UTC"),
        ("2999-01-01T00:00Z", "lies ahead"),
    ],
)
def test_a_moment_is_one_of_the_past_with_its_zone(replica: pathlib.Path, moment: str, said: str) -> None:
    answer = ask(BARS, moment)
    assert answer.exit_code == 1
    assert said in answer.output


def test_a_replica_that_keeps_no_past_says_so(data_dir: pathlib.Path) -> None:
    replica_path().parent.mkdir(parents=True)
    for path in (database_path(), replica_path()):
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE TABLE stock_data (symbol VARCHAR)")
    answer = ask("FROM stock_data", EVENING)
    assert answer.exit_code == 1
    assert "kept no past" in answer.output
