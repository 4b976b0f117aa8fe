"""The pipeline against what people would write instead, all in one run, with one table of ratios at its end.

    python benchmarks/peers.py [--symbols 2270] [--bars 400] [--collected 500] [--rounds 3] [--without NAME ...]

The indicator job against a plain TA-Lib program, Polars, pandas, DuckDB's SQL and Spark's groupBy with applyInPandas,
each a whole process over the same files; collection against `yf.download`, from a server on loopback; a finished
rerun against an empty Luigi run; the replica against a copy of the file; the feed against bare pipelining. Programs
take turns, so that a busy machine is busy for all. A ratio is the median of those of the rounds: the pipeline's
seconds by those of the other program, so that less is better. Results that differ end the run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping

import luigi.configuration
import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import growth
import indicators
import redis_sync
import yahoo_download

from pipeline.calendar import session_before, sessions_between
from pipeline.config import ROOT
from pipeline.database import replica
from pipeline.database.connection import database_path
from pipeline.host.files import sync
from pipeline.indicators.kernel import COLUMNS
from pipeline.indicators.spark.java import java_runtime
from tests.support.fake_market import FakeMarket
from tests.support.luigid import changed_settings
from tests.support.runs import LUIGI, environment, options
from tests.support.servers import RedisServer
from tests.support.small_market import SmallMarket
from tests.support.spark_submit import stand_in

LAST = dt.date(2024, 2, 16)
PROGRAMS = pathlib.Path(__file__).parent / "programs"
OURS = "pipeline"
#: The other programs over the same bars, by the names of the table.
PEERS = {"Polars": "with_polars.py", "pandas": "with_pandas.py", "DuckDB SQL": "with_duckdb.py",
         "applyInPandas": "with_spark.py"}  # fmt: skip
EMPTY = "import luigi\n\n\nclass Empty(luigi.WrapperTask):\n    pass\n"

Programs = Mapping[str, Callable[[], float]]
Seconds = dict[str, list[float]]


def take_turns(programs: Programs, rounds: int) -> Seconds:
    found: Seconds = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            found[name].append(program())
    return found


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def run(*command: object, **variables: str) -> None:
    done = subprocess.run(list(map(str, command)), env={**os.environ, **variables}, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr.decode(errors='replace')[-2000:]}")


def the_job(given: argparse.Namespace, folder: pathlib.Path) -> Seconds:
    """The indicators of one session."""
    source = folder / "bars"
    source.mkdir(parents=True)
    indicators.write_bars(source, given.symbols, given.bars)
    targets = {name: folder / name for name in (OURS, "plain TA-Lib", *PEERS) if name not in given.without}
    for target in targets.values():
        target.mkdir()
    programs: dict[str, Callable[[], float]] = {
        OURS: lambda: indicators.run_spark(source, targets[OURS]),
        "plain TA-Lib": lambda: indicators.run_plain(source, targets["plain TA-Lib"]),
    }
    for name in PEERS.keys() & targets.keys():
        variables = {"PYSPARK_PYTHON": sys.executable}
        if name == "applyInPandas":
            variables["JAVA_HOME"] = str(java_runtime().home)
        command = functools.partial(run, sys.executable, PROGRAMS / PEERS[name], source, targets[name], **variables)
        programs[name] = functools.partial(timed, command)
    for _ in range(2):  # the first jobs of an installation prepare what the later ones start from
        programs[OURS]()
    found = take_turns({name: programs[name] for name in targets}, given.rounds)
    for name in targets:
        compare(targets[OURS], targets[name])
    return found


def compare(ours: pathlib.Path, others: pathlib.Path) -> None:
    one, other = (pq.read_table(folder).sort_by([("symbol", "ascending")]) for folder in (ours, others))
    assert one["symbol"].to_pylist() == other["symbol"].to_pylist(), f"{others.name} has other symbols"
    for column in COLUMNS:
        same = np.allclose(one[column].to_numpy(), other[column].to_numpy(), rtol=1e-6, atol=1e-6, equal_nan=True)
        assert same, f"{others.name} has another {column}"


class Companies(FakeMarket):
    """As many companies as wanted, whose charts are made once."""

    @functools.cache  # noqa: B019  # one market a process
    def chart(self, *asked: object) -> dict[str, object]:
        return super().chart(*asked)  # type: ignore[arg-type]


def collection(given: argparse.Namespace, folder: pathlib.Path) -> Seconds:
    sessions = sessions_between(session_before(LAST, given.bars + 20), LAST)
    with Companies([f"S{number:05d}" for number in range(given.collected)], sessions) as market:
        asked = [market.url, str(given.collected), "--sessions", str(given.bars), "--last", str(LAST)]
        sums = {}

        def measure(kind: str) -> float:
            seconds, sums[kind] = yahoo_download.measure(kind, asked)
            return seconds

        measure("pipeline")  # makes the charts
        programs = {OURS: lambda: measure("pipeline"), "yf.download": lambda: measure("download")}
        found = take_turns(programs, given.rounds)
    assert abs(sums["download"] - sums["pipeline"]) <= 1e-9 * sums["download"] > 0, f"the two differ: {sums}"
    return found


def rerun(given: argparse.Namespace, folder: pathlib.Path) -> Seconds:
    """`DailyPipeline` of a session that is done: Luigi's start, and a look at what is there."""
    folder.mkdir()
    (folder / "empty.py").write_text(EMPTY)
    settings = changed_settings(folder, spark={"spark-submit": stand_in(folder)})
    variables = environment(folder, **settings) | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    with SmallMarket() as market:
        daily = ["pipeline", "DailyPipeline", "--date", str(market.as_of), *options(market, folder / "data")]

        def luigi_run(module: str, *words: str) -> float:
            return timed(lambda: run(LUIGI, "--module", module, *words, "--local-scheduler", **variables))

        luigi_run(*daily)
        requests = market.total
        programs = {OURS: lambda: luigi_run(*daily), "empty Luigi run": lambda: luigi_run("empty", "Empty")}
        found = take_turns(programs, given.rounds)
        assert market.total == requests > 0, "the session was not done"
    return found


def copies(given: argparse.Namespace, folder: pathlib.Path) -> Seconds:
    """Copied, hashed, opened, counted and backed up, against copied."""
    growth.configure(str(folder), "1.5")
    growth.fill(given.symbols, sessions_between(session_before(LAST, given.bars - 1), LAST))
    replica.publish(LAST)

    def copy() -> None:
        shutil.copyfile(database_path(), folder / "copy.duckdb")
        sync(folder / "copy.duckdb")

    return take_turns(
        {OURS: lambda: timed(lambda: replica.publish(LAST)), "file copy": lambda: timed(copy)}, given.rounds
    )


def feed(given: argparse.Namespace, folder: pathlib.Path) -> Seconds:
    """All entries written anew, with what is in the replica read before."""
    server = RedisServer(folder / "server")
    try:
        for section, name, value in (("storage", "data_dir", str(folder)), ("redis", "url", server.url)):
            luigi.configuration.get_config().set(section, name, value)
        redis_sync.make_replica(given.symbols, given.bars)
        found = redis_sync.rounds(server, given.rounds)
    finally:
        server.kill()
    seconds = {name: [cost.elapsed / 1000 for cost in measured] for name, measured in found.items()}
    whole = [read + full for read, full in zip(seconds["read"], seconds["full"], strict=True)]
    return {OURS: whole, "bare pipelining": seconds["bare"]}


WORK: dict[str, Callable[[argparse.Namespace, pathlib.Path], Seconds]] = {
    "indicators": the_job, "collection": collection, "finished rerun": rerun, "replica": copies, "feed": feed,
}  # fmt: skip


def lines(work: str, found: Seconds) -> Iterator[str]:
    """A line of the table for each other program."""
    for name, times in found.items():
        if name != OURS:
            ratio = statistics.median(ours / other for ours, other in zip(found[OURS], times, strict=True))
            ours, other = statistics.median(found[OURS]), statistics.median(times)
            yield f"| {work} | {name} | {ours:.2f} s | {other:.2f} s | {ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=2270)
    parser.add_argument("--bars", type=int, default=400, help="of each symbol, at least 51")
    parser.add_argument("--collected", type=int, default=500, help="symbols that are downloaded")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], choices=[*PEERS, *WORK], help="what is left out")
    given = parser.parse_args()
    print(f"{given.symbols:,} symbols x {given.bars} bars, {given.collected:,} collected, {given.rounds} rounds")
    print("| work | other program | pipeline | other | ratio |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        luigi.configuration.get_config().set("storage", "data_dir", str(pathlib.Path(name, "data")))
        for work, measured in WORK.items():
            if work not in given.without:
                rows = lines(work, measured(given, pathlib.Path(name, work.replace(" ", "-"))))
                print(*rows, sep="\n", flush=True)  # at once: a run that is stopped has shown what it had
                print(f"{work} done, a load of {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
