"""Whole collections: worker processes, batches, outages, and what is left when one is killed."""

from __future__ import annotations

import datetime as dt
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import ROOT
from pipeline.errors import ConfigurationError, SourceOutageError
from pipeline.sources.answers import batch_files
from pipeline.sources.protocol import BarRequest
from pipeline.sources.yahoo import source as yahoo
from pipeline.sources.yahoo.source import YahooSource, check_probe, failure
from tests.support.fake_market import FakeMarket, Fault, bar

FIRST, LAST = dt.date(2024, 2, 12), dt.date(2024, 2, 16)
SYMBOLS = [f"S{number:03d}" for number in range(60)]

COLLECT = """
import datetime as dt, pathlib, sys
import pipeline  # first: it reads config/luigi.cfg
import luigi.configuration
url, folder, *symbols = sys.argv[1:]
config = luigi.configuration.get_config()
for name, value in {"base_url": url, "batch_size": "20", "threads": "4", "requests_per_second": "500"}.items():
    config.set("yahoo", name, value)
config.set("quality", "outage_probe", "0")
from pipeline.sources.protocol import BarRequest
from pipeline.sources.yahoo import source as yahoo
from pipeline.sources.yahoo.source import YahooSource
yahoo.REQUESTS_PER_PROCESS = 30
requests = [BarRequest(symbol, dt.date(2024, 2, 12), dt.date(2024, 2, 16)) for symbol in symbols]
YahooSource().collect(requests, pathlib.Path(folder), lambda *told: None)
"""


@pytest.fixture
def market(settings) -> Iterator[FakeMarket]:
    with FakeMarket(SYMBOLS) as server:
        settings("yahoo", base_url=server.url, batch_size=20, threads=4, requests_per_second=500, retries=2, timeout=5)
        settings("quality", outage_probe=10)
        yield server


def wanted(symbols: list[str] = SYMBOLS, first: dt.date = FIRST) -> list[BarRequest]:
    return [BarRequest(symbol, first, LAST) for symbol in symbols]


def collect(folder: pathlib.Path, requests: list[BarRequest]) -> list[tuple[int, int, str]]:
    told: list[tuple[int, int, str]] = []
    YahooSource(backoff=0.01).collect(requests, folder, lambda *values: told.append(values))
    return told


def received(folder: pathlib.Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in batch_files(folder))


def statuses(folder: pathlib.Path) -> dict[str, str]:
    table = received(folder)
    return dict(zip(table["symbol"].to_pylist(), table["status"].to_pylist(), strict=True))


@pytest.fixture
def two_workers(monkeypatch) -> None:
    """Several processes where the machine has the cores, although there are few requests."""
    monkeypatch.setattr(yahoo, "REQUESTS_PER_PROCESS", 30)


def test_a_collection_from_the_first_request_to_the_batches(market, tmp_path, monkeypatch, two_workers):
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    market.faults["S003"] = Fault("500")
    market.faults["S004"] = Fault("404")
    folder = tmp_path / "raw"
    told = collect(folder, wanted())
    assert [path.name for path in sorted(folder.iterdir())] == [f"batch-000{n}.parquet" for n in (1, 2, 3, 4)]
    sizes = [len(set(pq.read_table(path)["symbol"].to_pylist())) for path in batch_files(folder)]
    assert sizes == [9, 20, 20, 11]  # the probe without its failure, and batches with it
    assert statuses(folder) == dict.fromkeys(SYMBOLS, "ok") | {"S003": "failed", "S004": "unknown"}
    rows = {(row["symbol"], row["date"]): row for row in received(folder).to_pylist()}
    assert len(rows) == 58 * 5 + 2
    row = rows["S059", LAST]
    assert tuple(row[name] for name in ("open", "high", "low", "close", "volume")) == bar("S059", LAST)
    assert rows["S003", None]["reason"] == "HTTP 500 after 3 attempts"
    assert market.total == 59 + 2 + 3  # the failing one: one attempt and a retry in the probe, all three later
    assert told[-1][:2] == (60, 60)
    assert told[-1][2].startswith("60 of 60 symbols, ")
    assert told[-1][2].endswith("/s, 1 failed")
    left = [path for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR") for path in (tmp_path / name).rglob("*")]
    assert left == []  # yfinance's caches, the pace, ...
    assert psutil.Process().children() == []


def test_what_was_answered_is_not_asked_again(market, tmp_path):
    market.faults["S020"] = Fault("500", times=3)
    market.faults["S021"] = Fault("404")
    collect(tmp_path, wanted())
    market.requests.clear()
    told = collect(tmp_path, wanted())
    assert market.requests == {"S020": 1}
    assert told[-1][0] == 60
    market.requests.clear()
    assert collect(tmp_path, wanted())[-1][:2] == (60, 60)
    assert market.total == 0
    collect(tmp_path, wanted(["S007"], FIRST - dt.timedelta(days=7)))  # its history, now
    assert market.requests == {"S007": 1}


def test_no_more_requests_a_second_than_configured(market, tmp_path, settings):
    settings("yahoo", requests_per_second=20)
    market.faults["S001"] = Fault("500", times=2)  # retries keep the pace, too
    collect(tmp_path, wanted())
    busiest = max(sum(start <= moment < start + 1 for moment in market.moments) for start in market.moments)
    assert 10 <= busiest <= 26  # measured at the server, where a late request falls into the next second
    assert len(set(statuses(tmp_path).values())) == 1


def test_a_server_that_limits_the_rate_is_not_stormed(market, tmp_path, settings):
    market.limit = 20
    settings("yahoo", requests_per_second=50, retries=4)
    settings("quality", outage_probe=0)
    collect(tmp_path, wanted())
    assert set(statuses(tmp_path).values()) == {"ok"}
    assert market.statuses[429] >= 1
    assert market.total < 1.5 * len(SYMBOLS)  # the first seconds teach it: few symbols, so a larger share than in a day


def test_an_outage_is_noticed_after_the_probe(market, tmp_path):
    market.every = Fault("null")
    with pytest.raises(SourceOutageError) as error:
        collect(tmp_path, wanted())
    assert market.total == 10
    assert "of the first 10 symbols asked, 10 failed or had no prices for 2024-02-16 (S0" in str(error.value)
    assert list(tmp_path.iterdir()) == []  # a null session kept as good would never be asked for again
    assert psutil.Process().children() == []


def test_an_outage_of_hanging_connections_is_bounded(market, tmp_path, settings):
    settings("yahoo", timeout=0.3, retries=9)
    market.every = Fault("hang")
    with pytest.raises(SourceOutageError, match=r"no whole answer within 0\.3 s after 2 attempts"):
        collect(tmp_path, wanted())
    assert market.total == 20


def answered(request: BarRequest, status: str = "ok", **bars: list) -> dict:
    return failure(request, "HTTP 500 after 2 attempts") | {"status": status, "bars": bars}


PRESENT = {"date": ["2024-02-15", "2024-02-16"], "close": [1.0, 2.0]}
ABSENT = {"date": ["2024-02-15"], "close": [1.0]}
NULL = {"date": ["2024-02-15", "2024-02-16"], "close": [1.0, None]}


@pytest.mark.parametrize(("status", "bars"), [("failed", {}), ("ok", {}), ("ok", ABSENT), ("ok", NULL)])
def test_the_probe_fails_when_more_than_nine_in_ten_are_in_trouble(status, bars):
    requests = wanted(SYMBOLS[:20])
    bad = [(request, answered(request, status, **bars)) for request in requests]
    good = [(request, answered(request, **PRESENT)) for request in requests]
    with pytest.raises(SourceOutageError):
        check_probe([*bad[:19], *good[19:]])
    check_probe([*bad[:18], *good[18:]])


@pytest.mark.parametrize(("failed", "is_asked"), [(0, True), (1, False), (20, False)])
def test_whether_the_exchange_was_closed_is_asked_where_all_have_answered(failed, is_asked):
    requests = wanted(SYMBOLS[:20])
    answers = [answered(request, "failed") for request in requests[:failed]]
    answers += [answered(request, **ABSENT) for request in requests[failed:]]
    with pytest.raises(SourceOutageError) as raised:
        check_probe(list(zip(requests, answers, strict=True)))
    assert (f"Was the exchange closed on {LAST}?" in str(raised.value)) == is_asked


def test_symbols_that_the_source_does_not_know_are_no_outage():
    check_probe([(request, answered(request, "unknown")) for request in wanted(SYMBOLS[:10])])


def test_only_those_asked_for_the_newest_session_can_lack_it():
    older = [BarRequest(symbol, FIRST, LAST - dt.timedelta(days=1)) for symbol in SYMBOLS[:9]]
    newest = wanted(SYMBOLS[9:10])
    check_probe([(request, answered(request, **ABSENT)) for request in [*older, *newest]])
    with pytest.raises(SourceOutageError):
        check_probe([(request, answered(request, "failed")) for request in [*older, *newest]])


def test_an_outage_in_the_middle_stops_after_a_batch_of_failures(market, tmp_path, settings):
    settings("yahoo", batch_size=10)  # small, since a late answer from before the outage begins the count anew
    for symbol in SYMBOLS[25:]:
        market.faults[symbol] = Fault("401")
    with pytest.raises(SourceOutageError, match="of the last 10 symbols asked, 10 failed") as error:
        collect(tmp_path, wanted())
    assert "HTTP 401" in str(error.value)
    assert market.total < 60
    assert psutil.Process().children() == []
    market.faults.clear()
    market.requests.clear()
    collect(tmp_path, wanted())
    assert set(market.requests).isdisjoint(SYMBOLS[:20])
    assert set(statuses(tmp_path)) == set(SYMBOLS)


def test_a_worker_that_dies_costs_the_symbols_it_was_at(market, tmp_path, settings, two_workers):
    settings("quality", outage_probe=0)
    market.faults["S005"] = Fault("hang", times=1)

    def kill_one() -> None:
        while not market.requests["S005"]:
            market.closing.wait(0.01)
        for child in psutil.Process().children():
            child.kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    collect(tmp_path, wanted())
    killer.join()
    table = received(tmp_path)
    reasons = {row["reason"] for row in table.to_pylist() if row["status"] == "failed"}
    assert reasons == {"worker process ended with code -9"}
    assert set(table["symbol"].to_pylist()) == set(SYMBOLS)
    assert sum(status == "ok" for status in statuses(tmp_path).values()) >= 40


@pytest.mark.parametrize("signum", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_run_leaves_no_process_and_loses_only_what_was_under_way(market, tmp_path, signum):
    market.latency = 0.02
    command = [sys.executable, "-c", COLLECT, market.url, str(tmp_path), *SYMBOLS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while market.total < 30:
        assert run.poll() is None
        market.closing.wait(0.005)
    workers = psutil.Process(run.pid).children(recursive=True)
    assert workers
    run.send_signal(signum)
    run.wait(10)
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    collect(tmp_path, wanted())
    asked_twice = market.total - len(SYMBOLS)
    assert asked_twice <= 4 + 4  # a request a thread, and an answer of each between the worker and the journal
    assert statuses(tmp_path) == dict.fromkeys(SYMBOLS, "ok")
    assert len(received(tmp_path)) == 5 * len(SYMBOLS)
    assert not list(tmp_path.glob("*.partial"))


def test_a_daemonic_process_may_collect(market, tmp_path):
    """Luigi's task processes are forked ones, and multiprocessing forbids children to daemonic ones."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    process = context.Process(target=collect, args=[tmp_path, wanted(SYMBOLS[:3])], daemon=True)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert statuses(tmp_path) == dict.fromkeys(SYMBOLS[:3], "ok")


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("threads", 0), ("requests_per_second", -1), ("retries", -1), ("base_url", "yahoo")],
)
def test_settings_that_cannot_work_are_named(market, tmp_path, settings, name, value):
    settings("yahoo", **{name: value})
    with pytest.raises(ConfigurationError, match=rf"\[yahoo\] {name} = {value}"):
        collect(tmp_path, wanted())
    assert market.total == 0
