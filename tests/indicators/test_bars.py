"""Which bars the job gets, at the edges of the look-back; and both ways of the data, twice on one connection."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Callable, Iterable

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline import calendar
from pipeline.indicators import kernel
from pipeline.indicators.bars import export_bars, load_indicators

LOOKBACK = 20
SESSIONS = calendar.sessions_between(dt.date(2023, 11, 1), dt.date(2024, 2, 16))
DAY = SESSIONS[-1]
WINDOW = SESSIONS[-LOOKBACK:]
Tables = duckdb.DuckDBPyConnection


@pytest.fixture(autouse=True)
def small(settings: Callable[..., None]) -> None:
    settings("indicators", lookback=LOOKBACK, buckets=1)


def store(tables: Tables, symbol: str, days: Iterable[dt.date], wanted: Iterable[dt.date] = (DAY,)) -> None:
    """Bars of the symbol, asked for over all SESSIONS; those of `wanted` are delivered on their session."""
    tables.executemany(
        """
        INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at)
        VALUES (?, ?, 10, 10, 10, 10, 1000, now())
        """,
        [[symbol, day] for day in days],
    )
    tables.executemany(
        "INSERT INTO price_coverage (date, symbol, state) VALUES (?, ?, 'stored')", [[day, symbol] for day in wanted]
    )
    tables.execute(
        "INSERT INTO price_ranges (symbol, first_asked, last_asked) VALUES (?, ?, ?)", [symbol, SESSIONS[0], DAY]
    )


def exported(tables: Tables, folder: pathlib.Path) -> dict[str, list[dt.date]]:
    """The days of the bars that the job gets, by symbol."""
    folder.mkdir(exist_ok=True)
    export_bars(tables, [DAY], folder)
    rows = pq.read_table(folder / "bucket-0000.parquet").to_pylist()
    return {
        symbol: [row["date"] for row in rows if row["symbol"] == symbol] for symbol in {row["symbol"] for row in rows}
    }


def test_the_job_gets_the_bars_of_the_look_back(tables: Tables, tmp_path: pathlib.Path) -> None:
    store(tables, "AAA", SESSIONS)
    assert exported(tables, tmp_path) == {"AAA": WINDOW}


@pytest.mark.parametrize(("bars", "is_whole"), [(19, False), (18, True)])
def test_a_symbol_with_gaps_gets_its_whole_history(
    tables: Tables, tmp_path: pathlib.Path, bars: int, is_whole: bool
) -> None:
    """One with less than 95 % of the look-back's 20 sessions."""
    before, within = SESSIONS[:-LOOKBACK], WINDOW[-bars:]
    store(tables, "AAA", [*before, *within])
    assert exported(tables, tmp_path) == {"AAA": [*before, *within] if is_whole else within}


def test_rows_that_were_marked_stale_as_a_whole_are_wanted_where_the_stage_was_done(
    tables: Tables, tmp_path: pathlib.Path
) -> None:
    store(tables, "AAA", SESSIONS, wanted=SESSIONS[-3:])
    tables.execute("INSERT INTO stale_indicators (symbol, since, reason) VALUES ('AAA', now(), '')")
    tables.execute("INSERT INTO table_updates VALUES ('ComputeIndicators:' || ?, '', now())", [str(SESSIONS[-2])])
    assert exported(tables, tmp_path) == {"AAA": SESSIONS[-2 - LOOKBACK + 1 :]}
    rows = pq.read_table(tmp_path / "bucket-0000.parquet").to_pylist()
    assert [row["date"] for row in rows if row["wanted"]] == SESSIONS[-2:]


def test_what_lies_before_a_changed_bar_is_not_computed_again(tables: Tables, tmp_path: pathlib.Path) -> None:
    """Nor is more of the history looked at than the look-back of the changed session."""
    store(tables, "AAA", SESSIONS, wanted=SESSIONS)
    store(tables, "BBB", SESSIONS, wanted=SESSIONS)
    tables.executemany(
        "INSERT INTO stale_indicators (symbol, since, from_date, reason) VALUES ('AAA', now(), ?, '')",
        [[SESSIONS[-3]], [SESSIONS[-5]]],
    )
    tables.executemany(
        "INSERT INTO table_updates VALUES ('ComputeIndicators:' || ?, '', now())", [[str(day)] for day in SESSIONS[:-1]]
    )
    assert exported(tables, tmp_path) == {"AAA": SESSIONS[-5 - LOOKBACK + 1 :], "BBB": WINDOW}
    rows = pq.read_table(tmp_path / "bucket-0000.parquet").to_pylist()
    assert [row["date"] for row in rows if row["wanted"] and row["symbol"] == "AAA"] == SESSIONS[-5:]


def test_mean_volume_of_a_symbol_is_that_of_the_newest_session_alone(
    tables: Tables, tmp_path: pathlib.Path, settings: Callable[..., None]
) -> None:
    """A symbol that does not trade on it has none, whichever sessions were computed one by one before it."""
    settings("indicators", lookback=40, buckets=1)
    tables.executemany(
        """
        INSERT INTO nasdaq_symbols (symbol, name, is_active, first_seen, last_seen, avg_volume_30, updated_at)
        VALUES (?, '', true, today(), today(), 5, now())
        """,
        [["AAA"], ["THIN"]],
    )
    store(tables, "AAA", SESSIONS)
    exported(tables, tmp_path / "input")
    (tmp_path / "output").mkdir()
    values = kernel.compute(pq.read_table(tmp_path / "input" / "bucket-0000.parquet"))
    pq.write_table(values, tmp_path / "output" / "bucket-0000.parquet")
    load_indicators(tables, [DAY], tmp_path / "output")
    found = tables.execute("SELECT symbol, avg_volume_30 FROM nasdaq_symbols ORDER BY symbol").fetchall()
    assert found == [("AAA", 1000.0), ("THIN", None)]


def test_both_ways_may_be_gone_twice_on_one_connection(tables: Tables, tmp_path: pathlib.Path) -> None:
    store(tables, "AAA", SESSIONS)
    for _ in range(2):
        exported(tables, tmp_path / "input")
        values = kernel.compute(pq.read_table(tmp_path / "input" / "bucket-0000.parquet"))
        (tmp_path / "output").mkdir(exist_ok=True)
        pq.write_table(values, tmp_path / "output" / "bucket-0000.parquet")
        assert load_indicators(tables, [DAY], tmp_path / "output") == {DAY: 1}
        assert tables.execute("SELECT symbol, date, sma_20 FROM technical_indicators").fetchall() == [("AAA", DAY, 10)]
