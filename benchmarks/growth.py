"""What grows with the history that is stored: the same work on few years and on many, in one run.

    python benchmarks/growth.py [--symbols 2270] [--years 1 5] [--rounds 3] [--memory 1.0]

For each number of years a database is made with so many bars, indicators, listings and states. Then each piece of work
is done on each of them in turns, in a process of its own, so that a busy machine is busy for all: seconds without the
start of the process, and the memory at its highest. The ratio is that of the most years to the fewest: 1 is what a day
should cost.

`first load` is the load of the whole history into an empty database, `evaluate all years` the judgement of all of it,
and `150 splits` replaces the whole histories of so many symbols: they grow, and their memory should not. `a month`
collects the last 21 sessions, computes their indicators by TA-Lib in one process, and scans them one by one.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import luigi.configuration

from pipeline.calendar import session_before, sessions_between

LAST = dt.date(2024, 2, 21)
#: Symbols of the small collection, and sessions that a day asks for again.
FEW, OVERLAP = 150, 5
MONTH = 21

#: A seeded market in SQL: closes between 10 and 110 that move by at most 4 % a session.
BARS = """
    SELECT format('S{:05d}', s) AS symbol, date, close AS open, close * 1.01 AS high, close * 0.99 AS low, close,
           1000000 + hash(s, date) % 1000000 AS volume
    FROM (
        SELECT s, date, (10 + s % 100) * (1 + 0.02 * sin(s + date_diff('day', DATE '1990-01-01', date) / 9.0)) AS close
        FROM range($symbols) t(s), (SELECT unnest($days::DATE[]) AS date)
    )
"""


def configure(data_dir: str, memory: str) -> None:
    for section, name, value in (
        ("storage", "data_dir", data_dir), ("market", "source", "simulated"), ("storage", "memory_gb", memory)
    ):  # fmt: skip
        luigi.configuration.get_config().set(section, name, value)


def fill(symbols: int, days: Sequence[dt.date]) -> None:
    """What the pipeline has stored after it has run every one of the sessions."""
    from pipeline.database.connection import writing

    market = {"symbols": symbols, "days": list(days)}
    with writing() as connection:
        connection.execute(
            "INSERT INTO stock_data BY NAME SELECT *, true AS is_final, now() AS fetched_at "
            f"FROM ({BARS}) ORDER BY date, symbol",
            market,
        )
        for statement in (
            "INSERT INTO price_coverage BY NAME SELECT symbol, date, 'stored' AS state FROM stock_data",
            """
            INSERT INTO technical_indicators BY NAME
            SELECT symbol, date, 25 + hash(symbol, date) % 50 AS rsi_14,
                   close * (0.9 + hash(date, symbol) % 100 / 900.0) AS bb_lower,
                   close AS sma_20, close AS sma_50, 1500000 AS avg_volume_30
            FROM stock_data
            """,
            """
            INSERT INTO symbol_snapshots BY NAME
            SELECT symbol, date, symbol || ' Inc. Common Stock' AS name, 5e9 AS market_cap, close AS last_sale, volume
            FROM stock_data
            """,
            "INSERT INTO session_universe BY NAME SELECT DISTINCT date, date AS snapshot_date FROM stock_data",
            """
            INSERT INTO price_ranges BY NAME
            SELECT symbol, min(date) AS first_asked, max(date) AS last_asked, now() AS answered_at
            FROM stock_data GROUP BY symbol
            """,
        ):
            connection.execute(statement)


def answer(folder: pathlib.Path, symbols: int, days: Sequence[dt.date], split: int = 1, skipped: int = 0) -> list[Any]:
    """Answers as a source lands them, for the span of the days; the requests that they answer.

    With a `split` the last of the days has one, and the bars are on the basis after it. The first `skipped` symbols
    are left out.
    """
    import duckdb

    from pipeline.sources.protocol import BarRequest

    folder.mkdir(parents=True, exist_ok=True)
    nothing = "NULL::VARCHAR AS reason, NULL::DOUBLE AS dividend"
    with duckdb.connect(config={"memory_limit": "300MB"}) as connection:  # the memory that counts is that of the work
        connection.execute(
            f"""
            COPY (
                SELECT symbol, $first::DATE AS asked_from, $last::DATE AS asked_to, 'ok' AS status, now() AS fetched_at,
                       date, open / $split AS open, high / $split AS high, low / $split AS low, close / $split AS close,
                       (volume * $split)::BIGINT AS volume, {nothing},
                       CASE WHEN $split > 1 AND date = $last THEN $split::DOUBLE END AS split_ratio
                FROM ({BARS}) WHERE symbol >= $from
            ) TO '{folder / "batch-00000.parquet"}' (FORMAT parquet)
            """,
            {"symbols": symbols, "days": list(days), "first": days[0], "last": days[-1], "split": split,
             "from": _name(skipped)},
        )  # fmt: skip
    return [BarRequest(_name(number), days[0], days[-1]) for number in range(skipped, symbols)]


def _name(number: int) -> str:
    return f"S{number:05d}"


def load(folder: pathlib.Path, requests: Sequence[Any], sessions: Sequence[dt.date] = ()) -> None:
    """What CollectPrices does with answers that have landed, of sessions that are listed."""
    from pipeline.database.connection import writing
    from pipeline.market.coverage import store_states
    from pipeline.market.evidence import Evidence
    from pipeline.market.load import store_answers
    from pipeline.market.verdicts import judge

    with writing() as connection, Evidence(connection, folder, requests) as evidence:
        judge(evidence)
        store_answers(evidence)
        for session in sessions:
            store_states(evidence, session)


def collect(symbols: int, days: Sequence[dt.date]) -> Callable[[], object]:
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ["GROWTH_FOLDER"]))
    requests = answer(folder, symbols, days)
    return lambda: load(folder, requests)


def split(symbols: int, days: Sequence[dt.date]) -> Callable[[], object]:
    """A split of the next few symbols, 2 for 1 on the last day, whose whole histories come on the new basis."""
    from pipeline.database.connection import reading

    with reading() as connection:
        ((done,),) = connection.execute("SELECT count(DISTINCT symbol) FROM basis_changes").fetchall()
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ["GROWTH_FOLDER"]))
    requests = answer(folder, min(done + FEW, symbols), days, split=2, skipped=done)

    def work() -> None:
        load(folder, requests)
        with reading() as connection:
            changed = connection.execute("SELECT count(DISTINCT symbol) FROM basis_changes").fetchall()
        assert changed == [(done + len(requests),)], f"{changed} symbols are on another basis"

    return work


def month(symbols: int, days: Sequence[dt.date]) -> Callable[[], object]:
    """The last 21 sessions, as if they had not been run: collected, computed and scanned."""
    from pipeline.database.connection import reading, writing
    from pipeline.watchlist.hits import day_view, watchlist_rows
    from pipeline.watchlist.scans import configured_scans

    before, last = days[-MONTH - 1], days[-MONTH:]
    with writing() as connection:
        for table in ("stock_data", "price_coverage", "technical_indicators"):
            connection.execute(f"DELETE FROM {table} WHERE date > ?", [before])
        connection.execute("UPDATE price_ranges SET last_asked = ?", [before])
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ["GROWTH_FOLDER"]))
    requests = answer(folder, symbols, days[-MONTH - OVERLAP :])

    def work() -> None:
        load(folder, requests, last)
        compute(last, folder)
        with reading() as connection:
            for session in last:
                view = day_view(connection, session)
                assert view.num_rows == symbols, f"{view.num_rows} symbols in the view of {session}"
                watchlist_rows(view, configured_scans())

    return work


def compute_again(symbols: int, days: Sequence[dt.date]) -> Callable[[], object]:
    """The indicators of a day on which yesterday's bars of all symbols were put right; by TA-Lib in this process."""
    from pipeline.database.connection import writing

    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ["GROWTH_FOLDER"]))
    with writing() as connection:
        connection.execute("DELETE FROM table_updates")
        connection.execute(
            "INSERT INTO table_updates SELECT 'ComputeIndicators:' || unnest($days::DATE[]), '', now()",
            {"days": list(days[:-1])},
        )
        connection.execute(
            "INSERT INTO stale_indicators (symbol, since, from_date, reason) "
            "SELECT DISTINCT symbol, now(), $day::DATE, 'bar revised' FROM stock_data",
            {"day": days[-2]},
        )

    return lambda: compute(days[-1:], folder)


def compute(sessions: Sequence[dt.date], folder: pathlib.Path) -> None:
    """What ComputeIndicators does, without Spark."""
    import pyarrow.parquet as pq

    from pipeline.database.connection import writing
    from pipeline.indicators import kernel
    from pipeline.indicators.bars import export_bars, load_indicators

    with writing() as connection:
        export_bars(connection, sessions, folder)
        for path in folder.glob("bucket-*.parquet"):
            pq.write_table(kernel.compute(pq.read_table(path)), folder / f"values-{path.name}")
        load_indicators(connection, sessions, _values(folder))


def _values(folder: pathlib.Path) -> pathlib.Path:
    """The computed files in a folder of their own, as the job leaves them."""
    output = folder / "output"
    output.mkdir()
    for path in folder.glob("values-*.parquet"):
        path.rename(output / path.name)
    return output


def doctor(symbols: int, days: Sequence[dt.date]) -> Callable[[], object]:
    from pipeline.cli.doctor.contents import database

    return lambda: list(database())


def status(symbols: int, days: Sequence[dt.date]) -> Callable[[], object]:
    from pipeline.cli.status import Overview

    return lambda: (lambda overview: overview.sessions(overview.newest(10)))(Overview())


def evaluate(symbols: int, days: Sequence[dt.date], first: dt.date | None = None) -> Callable[[], object]:
    from pipeline.database.connection import reading
    from pipeline.watchlist.evaluation import evaluate as judged
    from pipeline.watchlist.scans import configured_scans

    def work() -> None:
        with reading() as connection:
            judged(connection, first or session_before(LAST, 251), LAST, configured_scans())

    return work


def scan(symbols: int, days: Sequence[dt.date]) -> Callable[[], object]:
    from pipeline.database.connection import reading
    from pipeline.watchlist.hits import day_view, watchlist_rows
    from pipeline.watchlist.scans import configured_scans

    def work() -> None:
        with reading() as connection:
            watchlist_rows(day_view(connection, LAST), configured_scans())

    return work


def evaluate_all(symbols: int, days: Sequence[dt.date]) -> Callable[[], object]:
    return evaluate(symbols, days, days[0])


#: Each piece of work: made ready, and then measured.
WORK: dict[str, Callable[[int, Sequence[dt.date]], Callable[[], object]]] = {
    "a day of 150 symbols": lambda symbols, days: collect(min(FEW, symbols), days[-OVERLAP:]),
    "a day of all symbols": lambda symbols, days: collect(symbols, days[-OVERLAP:]),
    "indicators after a revision": compute_again,
    "doctor's look at the tables": doctor,
    "status": status,
    "scan a day": scan,
    "evaluate a year": evaluate,
    "evaluate all years": evaluate_all,
    "a month": month,
    "150 splits": split,
    "first load": collect,
}


def measured(name: str, symbols: int, years: int) -> dict[str, float]:
    """Seconds and megabytes of one piece of work, in this process."""
    work = WORK[name](symbols, days_of(years))
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def days_of(years: int) -> list[dt.date]:
    return sessions_between(session_before(LAST, 252 * years - 1), LAST)


def in_a_process(name: str, symbols: int, years: int, folder: pathlib.Path, memory: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--symbols", str(symbols), "--years", str(years), "--memory", memory]
    run = subprocess.run(
        [*command, "--measure", name, "--folder", str(folder)], capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise SystemExit(f"{name}, {years} years: {run.stderr[-2000:]}")
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def compare(symbols: int, years: Sequence[int], rounds: int, memory: str, only: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folders = {count: pathlib.Path(name, str(count)) for count in years}
        for count, folder in folders.items():
            in_a_process("fill", symbols, count, folder, memory)
            size = (folder / "stock_data.duckdb").stat().st_size / 1e6
            print(f"{symbols:,} symbols x {count} years: {symbols * 252 * count:,} bars, {size:,.0f} MB", flush=True)
        for work in only or WORK:
            found: dict[int, list[dict[str, float]]] = {count: [] for count in years}
            for turn in range(rounds):
                for count in years:
                    folder = pathlib.Path(name, f"empty-{count}-{turn}") if work == "first load" else folders[count]
                    found[count].append(in_a_process(work, symbols, count, folder, memory))
            say(work, found)


def say(work: str, found: dict[int, list[dict[str, float]]]) -> None:
    middle = {
        years: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for years, runs in found.items()
    }
    cells = ", ".join(f"{years} years {m['seconds']:6.2f} s {m['MB']:6,.0f} MB" for years, m in middle.items())
    fewest, most = middle[min(middle)], middle[max(middle)]
    print(f"{work:28} {cells}, ratio {most['seconds'] / fewest['seconds']:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", type=int, default=2270)
    parser.add_argument("--years", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", default="1.0", help="[storage] memory_gb")
    parser.add_argument("--only", nargs="*", choices=WORK, default=[])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.measure:
        compare(given.symbols, given.years, given.rounds, given.memory, given.only)
        return
    configure(given.folder, given.memory)
    os.environ["GROWTH_FOLDER"] = str(pathlib.Path(given.folder).parent)
    if given.measure == "fill":
        fill(given.symbols, days_of(given.years[0]))
        print("{}")
    else:
        print(json.dumps(measured(given.measure, given.symbols, given.years[0])))


if __name__ == "__main__":
    main()
