"""The indicator job, whole `spark-submit`, against a plain Python program that calls TA-Lib over the same files.

    python benchmarks/indicators.py [--symbols 2270] [--bars 400] [--rounds 5]

Both are whole processes, from start to end, and take turns, so that a busy machine is busy for both. The plain program
is what the job would be without Spark: one process, the same kernel. The first two jobs of an installation are not
counted: they prepare what the later ones start from.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import luigi.configuration
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import ROOT
from pipeline.indicators import kernel
from pipeline.indicators.spark.submit import SparkJob

SEED = 20240220
BUCKETS = 2

PLAIN = """
import pathlib, sys
import pyarrow.parquet as pq
import kernel
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.parquet")):
    values = kernel.compute(pq.ParquetFile(path).read())
    pq.write_table(values, pathlib.Path(sys.argv[2], path.name), compression="zstd")
"""


class Indicators(SparkJob):
    app = str(ROOT / "pipeline" / "indicators" / "job.py")
    name = "benchmark"


def write_bars(folder: pathlib.Path, symbols: int, bars: int) -> None:
    """A seeded random walk a symbol, the last session wanted, in BUCKETS files."""
    random = np.random.default_rng(SEED)
    days = np.datetime64("2024-01-01") + np.arange(bars)
    for bucket in range(BUCKETS):
        names = [f"S{number:05d}" for number in range(bucket, symbols, BUCKETS)]
        close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, (len(names), bars)), axis=1)).ravel()
        columns = {
            "symbol": np.repeat(names, bars),
            "date": np.tile(days, len(names)),
            **dict.fromkeys(("open", "high", "low", "close"), close),
            "volume": random.integers(10_000, 10_000_000, len(close)),
            "wanted": np.tile(np.arange(bars) == bars - 1, len(names)),
        }
        table = pa.table(columns).cast(kernel.INPUT_SCHEMA)
        pq.write_table(table, folder / f"bucket-{bucket:04d}.parquet", compression="zstd")


def run_plain(source: pathlib.Path, target: pathlib.Path) -> float:
    target.mkdir(exist_ok=True)
    (target.parent / "kernel.py").write_bytes((ROOT / "pipeline" / "indicators" / "kernel.py").read_bytes())
    (target.parent / "plain.py").write_text(PLAIN)
    began = time.perf_counter()
    subprocess.run([sys.executable, target.parent / "plain.py", source, target], check=True)
    return time.perf_counter() - began


def run_spark(source: pathlib.Path, target: pathlib.Path) -> float:
    began = time.perf_counter()
    Indicators().submit([str(source), str(target), "--indicators", ",".join(kernel.INDICATORS)])
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=2270)
    parser.add_argument("--bars", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        luigi.configuration.get_config().set("storage", "data_dir", str(folder / "data"))
        source, by_plain, by_spark = folder / "bars", folder / "plain", folder / "spark"
        source.mkdir()
        write_bars(source, arguments.symbols, arguments.bars)
        print(f"{arguments.symbols} symbols x {arguments.bars} bars; first jobs, seconds:", end=" ", flush=True)
        print(f"{run_spark(source, by_spark):.2f}, {run_spark(source, by_spark):.2f} (records Spark's classes)")
        rounds = [(run_plain(source, by_plain), run_spark(source, by_spark)) for _ in range(arguments.rounds)]
        assert pq.read_table(by_plain).equals(pq.read_table(by_spark)), "the two differ"
    plain, spark = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(spark / plain for plain, spark in rounds)
    print(
        f"plain TA-Lib {plain:.2f} s   spark-submit {spark:.2f} s   ratio {ratio:.2f} (median of {len(rounds)} rounds)"
    )


if __name__ == "__main__":
    main()
