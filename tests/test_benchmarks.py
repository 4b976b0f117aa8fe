"""Every program of benchmarks/ runs, at a tiny size, and finds the same on both sides of its comparison."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from pipeline.tasks.stages import stage_names
from tests.support.luigid import changed_settings
from tests.support.runs import ROOT, environment
from tests.support.small_market import SmallMarket
from tests.support.spark_submit import stand_in

FOLDER = ROOT / "benchmarks"

Benchmark = Callable[..., str]


@pytest.fixture
def benchmark(tmp_path: pathlib.Path) -> Benchmark:
    """`benchmark("indicators.py", "--rounds", "1")`: what it prints. Spark is the stand-in."""
    variables = environment(tmp_path, **changed_settings(tmp_path, spark={"spark-submit": stand_in(tmp_path)}))

    def run(name: str, *arguments: str) -> str:
        command = [sys.executable, str(FOLDER / name), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_every_benchmark_is_run_here() -> None:
    run_here = set(re.findall(r'benchmark\("(\w+\.py)"', pathlib.Path(__file__).read_text(encoding="utf-8")))
    assert {path.name for path in FOLDER.glob("*.py")} == run_here


def test_indicators(benchmark: Benchmark) -> None:
    said = benchmark("indicators.py", "--symbols", "6", "--bars", "60", "--rounds", "1")
    assert "6 symbols x 60 bars" in said
    assert re.search(r"plain TA-Lib .* spark-submit .* ratio \d+\.\d\d", said)


@pytest.mark.redis
def test_redis_sync(benchmark: Benchmark) -> None:
    said = benchmark("redis_sync.py", "--symbols", "100", "--sessions", "60", "--rounds", "1")
    assert re.search(r"full / bare +\d", said)
    assert re.search(r"ordinary day / full +\d", said)


@pytest.mark.redis
@pytest.mark.slow
def test_feed_versions(benchmark: Benchmark) -> None:
    said = benchmark("feed_versions.py", "--symbols", "60", "--syncs", "8", "--readers", "1")
    assert re.search(r"60 symbols, 8 syncs, 3 of them killed; \d+ readings of 7 versions, .*: 0 mixtures", said)


@pytest.mark.redis
@pytest.mark.slow
def test_deliveries(benchmark: Benchmark) -> None:
    pytest.importorskip("confluent_kafka")
    said = benchmark("deliveries.py", "--moments", "2")
    pattern = r"^(\w.*): \d of 2 killed; of 60 events 0 are missing, .*; in the order of"
    assert re.findall(pattern, said, re.MULTILINE) == ["file", "Redis stream", "Kafka"]


def test_yahoo_download(benchmark: Benchmark, market: SmallMarket) -> None:
    said = benchmark("yahoo_download.py", market.url, "2", "--rounds", "1", "--sessions", "60")
    assert re.search(r"ratio of the medians \d", said)


@pytest.mark.slow
def test_kills(benchmark: Benchmark) -> None:
    said = benchmark("kills.py", "--moments", "1", "--way", "day, local, 1 worker")
    assert re.search(r"\| day, local, 1 worker \| \d+ \| 1 of \d+ \|.*\| 0 \|", said)


def test_discoveries(benchmark: Benchmark) -> None:
    said = benchmark("discoveries.py", "--rules", "20", "--sessions", "40", "--symbols", "40")
    assert "20 rules by lot, 40 symbols, 40 sessions from 2023-12-" in said
    assert re.search(r"judged all at once: 0 stars on \d+ results", said)
    assert re.search(r"judged by tens: \d of 2 groups have a star", said)


def test_growth(benchmark: Benchmark) -> None:
    few = ("--symbols", "5", "--years", "1", "2", "--rounds", "1")
    said = benchmark("growth.py", *few, "--only", "status")
    assert "5 symbols x 2 years: 2,520 bars" in said
    assert re.search(r"status +1 years .* 2 years .* MB, ratio \d", said)


@pytest.mark.slow
def test_backfill(benchmark: Benchmark) -> None:
    said = benchmark("backfill.py", "--companies", "20", "--sessions", "2")
    assert re.search(r"^2 sessions, pages of \d+ kB, ", said)
    took = {name.strip(): float(seconds) for name, seconds in re.findall(r"^(.{22}) +(\d+\.\d) s$", said, re.MULTILINE)}
    assert [*took][:9] == stage_names()
    assert took["all but the source"] == pytest.approx(sum([*took.values()][:10]), abs=0.6)
    assert re.search(r"^\d+\.\d pages a second", said, re.MULTILINE)


@pytest.mark.redis
@pytest.mark.slow
def test_peers(benchmark: Benchmark) -> None:
    few = ("--symbols", "6", "--bars", "60", "--collected", "2", "--rounds", "1")
    started = time.perf_counter()
    said = benchmark("peers.py", *few, "--without", "applyInPandas")
    took = time.perf_counter() - started
    assert "6 symbols x 60 bars, 2 collected, 1 rounds" in said
    found = re.findall(r"^\| ([\w ]+) \| ([\w. -]+) \| ([\d.]+) s \| ([\d.]+) s \| \d+\.\d\d \|$", said, re.MULTILINE)
    assert all(float(seconds) < took for row in found for seconds in row[2:])
    assert [row[:2] for row in found] == [
        ("indicators", "plain TA-Lib"), ("indicators", "Polars"), ("indicators", "pandas"),
        ("indicators", "DuckDB SQL"),
        ("collection", "yf.download"), ("finished rerun", "empty Luigi run"), ("replica", "file copy"),
        ("feed", "bare pipelining"),
    ]  # fmt: skip
