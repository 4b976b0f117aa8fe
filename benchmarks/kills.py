"""Loses runs of the pipeline at many moments, and shows that the same command makes up for each.

    python benchmarks/kills.py [--moments 160] [--way "day, local, 1 worker"] [--list] [--clock-back LIBRARY]

A day, a back-fill of three sessions and the confirmation of a day, with luigid and without, with one worker and two.
In each, an instrumented run notes every rename, every commit and every call of the scheduler, and what is on the disk
then; so many of these moments, evenly spread, are then met by SIGKILL, a stop, a full disk, a locked database or a
scheduler that is taken away. Afterwards the same command must end with 0, and leave the tables of a run that nothing
happened to, no process, no unfinished file and no open alert. With the library of faketime
(/usr/lib/*/faketime/libfaketime.so.1 on Debian) the clock of the second run is three hours slow.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
from collections import Counter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tests.support import moments
from tests.support.small_market import SmallMarket


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=160, help="how many, over all ways together")
    parser.add_argument("--way", help="only this way of running")
    parser.add_argument("--list", action="store_true", help="show the moments, and try none")
    parser.add_argument(
        "--clock-back", metavar="LIBRARY", help="faketime's library, to set the second run's clock back"
    )
    given = parser.parse_args()
    slow = slow_clock(given.clock_back) if given.clock_back else {}
    ways = [way for way in moments.WAYS if given.way in (None, str(way))]
    outcomes = [outcome for way in ways for outcome in in_own_folder(way, given.moments // len(ways), given.list, slow)]
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def slow_clock(library: str) -> dict[str, str]:
    """Variables with which a program sees the time of three hours ago.

    The monotonic clock goes back, too: where it does not, faketime lets Python's `time.sleep` fail with EINVAL.
    """
    return {"LD_PRELOAD": library, "FAKETIME": "-3h"}


def in_own_folder(way: moments.Way, count: int, only_list: bool, variables: dict[str, str]) -> list[moments.Outcome]:
    """Try a way of running out in a folder that goes with it: a hundred copies of a data folder are large."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, SmallMarket(as_of=moments.LAST) as market:
        return of_way(pathlib.Path(folder), market, way, count, only_list, variables)


def of_way(
    folder: pathlib.Path,
    market: SmallMarket,
    way: moments.Way,
    count: int,
    only_list: bool,
    variables: dict[str, str],
) -> list[moments.Outcome]:
    """Try a way of running out; one line for each moment with a fault, and one row of the table at the end."""
    seen = moments.undisturbed(folder / "undisturbed", market, way)
    every = moments.moments(way, seen)
    picked = moments.chosen(every, count)
    if only_list:
        print("\n".join(map(str, every)))
        return []
    outcomes = []
    for number, moment in enumerate(picked):
        outcome = moments.try_out(folder / str(number), market, moment, seen, **variables)
        outcomes.append(outcome)
        print(
            f"{'FAULT' if outcome.faults else 'ok':5} {outcome.longer:+5.1f} s  {moment}", file=sys.stderr, flush=True
        )
        for fault in outcome.faults:
            print(f"      {fault}", file=sys.stderr, flush=True)
    print(row(way, seen, outcomes, len(every)), flush=True)
    return outcomes


def row(way: moments.Way, seen: moments.Undisturbed, outcomes: list[moments.Outcome], every: int) -> str:
    """One line of the table of docs/operations.md."""
    kinds = Counter(outcome.moment.kind for outcome in outcomes)
    longest = max((outcome.longer for outcome in outcomes), default=0.0)
    faulty = sum(bool(outcome.faults) for outcome in outcomes)
    return (
        f"| {way} | {len(seen.moments)} | {len(outcomes)} of {every} | {kinds['rename']} / {kinds['commit']} / "
        f"{kinds['scheduler']} | {seen.seconds:.1f} s | {longest:+.1f} s | {faulty} |"
    )


if __name__ == "__main__":
    sys.exit(main())
