"""Wall time of `YahooSource.collect` against bare `yf.download`, for the same symbols, bars and server.

    python benchmarks/yahoo_download.py URL COUNT [--rounds 3] [--threads 8] [--sessions 400] [--last 2024-02-16]

URL is a server of the NASDAQ screener's and Yahoo's chart API, best one on loopback. Each measurement is a whole
process of its own, the two alternate, and the ratio of their medians is what counts: times differ from machine to
machine. The same closes have to come out of both.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from urllib.parse import urlsplit

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))


def symbols_of(url: str, count: int) -> list[str]:
    """The largest listed companies."""
    with urllib.request.urlopen(f"{url}/api/screener/stocks?tableonly=true&exchange=nasdaq&download=true") as answer:
        rows = json.load(answer)["data"]["rows"]
    rows.sort(key=lambda row: -float(row["marketCap"] or 0))
    return [row["symbol"] for row in rows[:count]]


def with_download(server: str, symbols: list[str], first: dt.date, last: dt.date, threads: int) -> float:
    """The sum of all closes, by yfinance as it is used everywhere."""
    import yfinance
    from curl_cffi import requests

    class Redirected(requests.Session):
        def request(self, method, url, *args, **kwargs):
            return super().request(method, server + urlsplit(url).path, *args, **kwargs)

    with tempfile.TemporaryDirectory() as folder:
        yfinance.set_tz_cache_location(folder)
        data = yfinance.data.YfData()
        data._cookie, data._crumb = True, "x"  # a cookie of Yahoo's never lands for another host
        frame = yfinance.download(
            symbols,
            start=first,
            end=last + dt.timedelta(days=1),
            auto_adjust=False,
            actions=True,
            threads=threads,
            progress=False,
            session=Redirected(impersonate="chrome"),
        )
    return float(frame["Close"].sum().sum())


def with_pipeline(url: str, symbols: list[str], first: dt.date, last: dt.date, threads: int) -> float:
    """The same sum, out of the batch files."""
    import luigi.configuration
    import pyarrow.compute
    import pyarrow.parquet

    from pipeline.sources.answers import batch_files
    from pipeline.sources.protocol import BarRequest
    from pipeline.sources.yahoo.source import YahooSource

    config = luigi.configuration.get_config()
    for name, value in {"base_url": url, "threads": str(threads), "requests_per_second": "100000"}.items():
        config.set("yahoo", name, value)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        YahooSource().collect([BarRequest(symbol, first, last) for symbol in symbols], folder, lambda *_: None)
        return sum(
            pyarrow.compute.sum(pyarrow.parquet.read_table(path)["close"]).as_py() or 0 for path in batch_files(folder)
        )


def measure(kind: str, arguments: list[str]) -> tuple[float, float]:
    """Seconds of a whole process, and its sum of closes."""
    started = time.perf_counter()
    command = [sys.executable, __file__, *arguments, "--child", kind]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return time.perf_counter() - started, float(output.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=400)
    parser.add_argument("--last", type=dt.date.fromisoformat, default=dt.date(2024, 2, 16))
    parser.add_argument("--child", choices=["download", "pipeline"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    first = given.last - dt.timedelta(days=given.sessions * 365 // 252)
    if given.child:
        run = with_download if given.child == "download" else with_pipeline
        sys.stdout.write(f"{run(given.url, symbols_of(given.url, given.count), first, given.last, given.threads)}\n")
        return
    seconds: dict[str, list[float]] = {"download": [], "pipeline": []}
    for _ in range(given.rounds):
        sums = {}
        for kind, times in seconds.items():
            took, sums[kind] = measure(kind, sys.argv[1:])
            times.append(took)
        if abs(sums["download"] - sums["pipeline"]) > 1e-9 * sums["download"]:
            sys.exit(f"the two differ: {sums}")
        sys.stdout.write(
            f"yf.download {seconds['download'][-1]:.1f} s, collect {seconds['pipeline'][-1]:.1f} s, "
            f"ratio {seconds['pipeline'][-1] / seconds['download'][-1]:.2f}\n"
        )
        sys.stdout.flush()
    ratio = statistics.median(seconds["pipeline"]) / statistics.median(seconds["download"])
    sys.stdout.write(f"ratio of the medians {ratio:.2f}\n")


if __name__ == "__main__":
    main()
