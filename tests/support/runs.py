"""Runs of the pipeline for tests: in this process, or by the command that people type; and what they left behind."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import duckdb
import luigi
import psutil
import pyarrow as pa
from luigi.execution_summary import LuigiStatusCode

from pipeline import calendar, trading_hours
from pipeline.config import ROOT, storage
from pipeline.database.connection import writing
from pipeline.database.schema import MARKERS
from pipeline.runs.worker import RunFactory
from pipeline.sources.answers import ANSWER_SCHEMA
from pipeline.sources.batches import collect_in_batches
from pipeline.sources.exchanges import configured_exchanges
from pipeline.sources.nasdaq.exchanges import joined
from pipeline.sources.nasdaq.screener import listing_session
from pipeline.sources.nasdaq.text import companies
from pipeline.sources.protocol import BarRequest, Listing, Progress
from tests.support.small_market import SmallMarket

LUIGI = pathlib.Path(sys.executable).with_name("luigi")

#: What a session's results consist of, without the moments at which they were written.
RESULTS = {
    "stock_data": "symbol, date, open, high, low, close, volume",
    "corporate_actions": "symbol, date, kind, value",
    "price_coverage": "symbol, date, state",
    "technical_indicators": "* EXCLUDE (source)",
    "daily_watchlist": "* EXCLUDE (source, stored_at)",
    "symbol_snapshots": "* EXCLUDE (source)",
    "nasdaq_symbols": "* EXCLUDE (source, updated_at)",
    "rejected_bars": "symbol, date, rule",
}
#: Work in progress: nothing of this kind may be left by a run that ended well.
STRAY = ("*.partial", "*-luigi-tmp-*", "work/indicators/*", "work/journal/*", "*.wal")


class DirectSource:
    """A SmallMarket without the way over HTTP: the `Source` for tests that are about what follows."""

    name = "direct"
    keeps_listings = False

    def __init__(self, market: SmallMarket) -> None:
        self.market = market

    def listing(self, session: dt.date) -> Listing:
        self.market.listings += 1
        day = listing_session(self.market.as_of, self.market.as_of, lambda day: day)
        listed = {
            name: Listing(day, companies(self.market.screener(name)["data"]["rows"], name), b"{}")
            for name in configured_exchanges()
        }
        return joined(listed)

    def collect(self, requests: Sequence[BarRequest], folder: pathlib.Path, progress: Progress) -> None:
        collect_in_batches(requests, folder, progress, self._answer)

    def _answer(self, requests: Sequence[BarRequest]) -> pa.Table:
        rows = [row for request in requests for row in self._rows(request)]
        return pa.Table.from_pylist(rows, schema=ANSWER_SCHEMA)

    def _rows(self, request: BarRequest) -> Iterable[dict[str, Any]]:
        market, symbol = self.market, request.symbol.replace("/", "-")
        market.note(symbol)
        asked = {
            "symbol": request.symbol, "asked_from": request.first, "asked_to": request.last, "status": "ok",
            "fetched_at": calendar.now(),
        }  # fmt: skip
        fault = market.fault(symbol)
        if fault or not market.knows(symbol):
            yield {
                **asked,
                "status": "failed" if fault else "unknown",
                "reason": fault.kind if fault else "No data found",
            }
            return
        days = [day for day in market.days(symbol) if request.first <= day <= request.last]
        if not days:
            yield asked
        for day in days:
            values = dict(zip(("open", "high", "low", "close", "volume"), market.bar(symbol, day), strict=True))
            new, old = market.splits.get(symbol, {}).get(day, (None, 1))
            dividend = market.dividends.get(symbol, {}).get(day)
            yield {**asked, "date": day, **values, "dividend": dividend, "split_ratio": new and new / old}


def run_here(*tasks: luigi.Task) -> bool:
    """Run tasks in this process with a run's own scheduler; True when all of them, and what they need, are done."""
    luigi.task_register.Register.clear_instance_cache()
    try:
        ended = luigi.build(
            list(tasks), RunFactory(), local_scheduler=True, log_level="WARNING", workers=1, detailed_summary=True
        )
    finally:
        RunFactory.worker = None
    return ended.status in (LuigiStatusCode.SUCCESS, LuigiStatusCode.SUCCESS_WITH_RETRY)


@functools.cache
def keep_trading_hours(data_dir: pathlib.Path) -> None:
    """Leave there what an earlier run would have left: without it, each run loads the library of calendars."""
    kept = trading_hours._path("XNAS").relative_to(storage().root)
    trading_hours._keep(data_dir / kept, calendar._hours("XNAS"))


def options(market: SmallMarket, data_dir: pathlib.Path, is_new: bool = False) -> list[str]:
    """Settings of the command line that send a run to a fake market; nothing is in a folder that is new."""
    if not is_new:
        keep_trading_hours(data_dir)
    return [
        "--nasdaq-base-url", market.url, "--yahoo-base-url", market.url, "--storage-data-dir", str(data_dir),
        "--nasdaq-min-symbols", "20", "--yahoo-requests-per-second", "1000", "--quality-min-coverage", "0.95",
        "--worker-wait-interval", "0.05", "--yahoo-batch-size", "10", "--quality-outage-probe", "5",
        "--scheduler-retry-delay", "0", "--quality-audit-per-day", "0",
    ]  # fmt: skip


def environment(home: pathlib.Path, **more: str) -> dict[str, str]:
    """A plain environment: no setting of the person who runs the tests reaches a run."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "JAVA_HOME", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def start_luigi(
    task: str, *arguments: str, home: pathlib.Path, log: pathlib.Path, **more: str
) -> subprocess.Popen[bytes]:
    """`luigi --module pipeline TASK ...` as a process group of its own, its output going to `log`."""
    home.mkdir(parents=True, exist_ok=True)
    scheduler = [] if any(a.startswith("--scheduler") for a in arguments) else ["--local-scheduler"]
    command = [str(LUIGI), "--module", "pipeline", task, *scheduler, *arguments]
    with log.open("wb") as output:
        return subprocess.Popen(
            command, cwd=home, env=environment(home, **more), stdout=output, stderr=output, start_new_session=True
        )


def run_luigi(task: str, *arguments: str, home: pathlib.Path, **more: str) -> tuple[int, str]:
    """Run to the end; exit code and all that was said."""
    log = home / f"{task}.log"
    process = start_luigi(task, *arguments, home=home, log=log, **more)
    code = process.wait(timeout=240)
    return code, log.read_text(errors="replace")


def results(data_dir: pathlib.Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table of RESULTS, sorted."""
    with duckdb.connect(str(data_dir / "stock_data.duckdb"), read_only=True) as connection:
        return {
            table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()
            for table, columns in RESULTS.items()
        }


def assert_same(found: dict[str, list[tuple[Any, ...]]], wanted: dict[str, list[tuple[Any, ...]]]) -> None:
    """Equal row for row; numbers of the indicators and the watchlist to 1e-9, all others to the last bit."""
    for table, rows in wanted.items():
        close = table in ("technical_indicators", "daily_watchlist", "nasdaq_symbols")
        assert len(found[table]) == len(rows), table
        for one, other in zip(found[table], rows, strict=True):
            assert _alike(one, other) if close else one == other, f"{table}: {one} != {other}"


def _alike(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(_same_value(a, b) for a, b in zip(one, other, strict=True))


def _same_value(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if (
        isinstance(one, str) and isinstance(other, str) and one[:1] == other[:1] == "{"
    ):  # the values that a rule fired on
        a, b = json.loads(one), json.loads(other)
        return list(a) == list(b) and _alike(list(a.values()), list(b.values()))
    return bool(one == other)


def stray_files(data_dir: pathlib.Path) -> list[pathlib.Path]:
    """What a run that ended well must not leave."""
    return sorted({path for pattern in STRAY for path in data_dir.rglob(pattern)})


def processes_of(data_dir: pathlib.Path) -> list[psutil.Process]:
    """Living processes that were told of this folder, or inherited a command line that names it."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or [])
        if str(data_dir) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def wait_until(condition: Callable[[], object], process: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
    """Return when `condition()` is true while `process` runs; fail when it ends first, or nothing happens in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        with contextlib.suppress(subprocess.TimeoutExpired):  # a moment, and not longer than the process lives
            code = process.wait(timeout=0.002)
            assert condition(), f"the process ended with {code} before the condition was met"
            return
        assert time.monotonic() < deadline, "the condition was not met in time"


def mark_done(*sessions: dt.date) -> None:
    """Rows and marker files of every stage, as a finished run of the sessions leaves them."""
    from pipeline.tasks.stages import STAGES

    marks = {stage.row(session).update_id: stage.table for session in sessions for stage in STAGES}
    with writing() as connection:
        connection.execute(
            f"INSERT OR REPLACE INTO {MARKERS} SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), now()",
            [list(marks), list(marks.values())],
        )
    for session in sessions:
        for stage in STAGES:
            path = pathlib.Path(stage.marker(session).path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
