"""What a back-fill costs, stage by stage, without its source; and how many pages a second it makes.

    python benchmarks/backfill.py [--companies 3000] [--sessions 61]

The market is simulated, and keeps its listings, so that each session has one of its own. The session before the range
is run alone, which loads the history, and then the range in one command with one worker. Seconds are those of the
processor, Spark's among them; the simulation is counted apart. Of 3,000 companies some 2,100 are large enough.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from pipeline.calendar import session_before

LAST = dt.date(2024, 2, 21)
ONE_DAY = dt.timedelta(days=1)
PROGRAM = pathlib.Path(__file__).with_name("programs") / "metered_luigi.py"


def measured(folder: pathlib.Path, companies: int, *task: str) -> tuple[dict[str, float], float]:
    """What a run took in a process of its own, by stage, and by the clock."""
    settings = ["--market-source", "simulated", "--simulated-companies", str(companies)]
    command = [sys.executable, str(PROGRAM), "--module", "pipeline", *task, *settings]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--storage-data-dir", str(folder), "--local-scheduler"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{task[0]}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - started


def main(companies: int, sessions: int) -> None:
    first = session_before(LAST, sessions - 1)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = pathlib.Path(name, "data")
        measured(folder, companies, "DailyPipeline", "--date", str(session_before(first)))
        span = ("--start", str(first), "--stop", str(LAST + ONE_DAY))
        seconds, clock = measured(folder, companies, "RangeTradingDays", "--of", "DailyPipeline", *span)
        say(folder, sessions, seconds, clock)


def say(folder: pathlib.Path, sessions: int, seconds: dict[str, float], clock: float) -> None:
    from pipeline.tasks.stages import stage_names

    sizes = [path.stat().st_size for path in (folder / "reports").glob("????-??-??.html")]
    print(f"{sessions} sessions, pages of {sum(sizes) / len(sizes) / 1e3:,.0f} kB, {clock:,.0f} s by the clock")
    stages = {stage: seconds[stage] for stage in stage_names()}
    source = seconds["source"]
    stages["start, Luigi, end"] = sum(seconds.values()) - sum(stages.values()) - source
    for stage, took in (*stages.items(), ("all but the source", sum(stages.values())), ("source", source)):
        print(f"{stage:22} {took:7.1f} s")
    print(f"{sessions / stages['GenerateReport']:.1f} pages a second of processor time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, default=3000)
    parser.add_argument("--sessions", type=int, default=61)
    given = parser.parse_args()
    main(given.companies, given.sessions)
