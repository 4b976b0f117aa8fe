"""Runs that are lost at a chosen moment, and what the same command finds and leaves afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence

import duckdb
import psutil

from tests.support.luigid import Luigid, changed_settings
from tests.support.mornings import live_evening, rules, tables
from tests.support.runs import ROOT, assert_same, options, processes_of, start_luigi, stray_files
from tests.support.small_market import SmallMarket
from tests.support.spark_submit import stand_in

INSTRUMENT = pathlib.Path(__file__).with_name("instrument")
LAST = dt.date(2024, 2, 16)

COMMANDS = {
    "day": ("DailyPipeline", "--date", "2024-02-16"),
    "back-fill": ("RangeTradingDays", "--of", "DailyPipeline", "--start", "2024-02-14", "--stop", "2024-02-17"),
    "confirm": ("ConfirmSession", "--date", "2024-02-16"),
}

#: The copy of what was there before the first moment.
BEFORE = "before"

#: Seconds that a scheduler stays away which is taken away.
AWAY = 3.0

#: A run that ends neither well nor badly within this many seconds hangs.
HANGS = 240.0


@dataclasses.dataclass(frozen=True)
class Way:
    """How the pipeline is run: a day, a back-fill or the morning after, with luigid or not, with so many workers."""

    command: str
    has_luigid: bool
    workers: int

    def __str__(self) -> str:
        scheduler = "luigid" if self.has_luigid else "local"
        return f"{self.command}, {scheduler}, {self.workers} worker{'s'[: self.workers - 1]}"


WAYS = [
    Way(command, luigid, workers)
    for command in COMMANDS
    for luigid in (False, True)
    for workers in (1, 2)
    if (command, workers) != ("confirm", 2)  # it is one task
]


@dataclasses.dataclass(frozen=True)
class Moment:
    """The `number`th rename, commit or call of the scheduler of a run, and what happens to it there."""

    way: Way
    number: int
    kind: str
    detail: str
    action: str

    def __str__(self) -> str:
        return f"{self.way}: {self.action} at {self.number} ({self.kind} {self.detail})".replace(" )", ")")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the same command after a run that was lost: seconds of the wall that it took longer than the work
    that was left, and what was not as it should be."""

    moment: Moment
    seconds: float
    longer: float
    faults: tuple[str, ...]


class Place:
    """A folder with a fresh installation, its scheduler where the way has one, and the runs of it."""

    def __init__(self, folder: pathlib.Path, market: SmallMarket, way: Way) -> None:
        folder.mkdir(parents=True)
        self.folder, self.market, self.way = folder, market, way
        self.data = folder / "data"
        self.log = folder / "moments"
        spark = {"spark-submit": stand_in(folder)}
        scans = rules(folder) if way.command == "confirm" else {}
        self.luigid: Luigid | None = None
        self._variables = changed_settings(folder, spark=spark, scans=scans)
        if way.has_luigid:
            (folder / "luigid").mkdir()
            self.luigid = Luigid(folder / "luigid", spark=spark, scans=scans)
            self._variables = self.luigid.settings
            self.luigid.start()

    def live_evening(self) -> None:
        """Leave what the command of the way needs to be there."""
        if self.way.command == "confirm":
            live_evening(self.market, LAST, self.data, lambda: self.start("evening", "day"))

    def start(self, name: str, command: str = "", **variables: str) -> subprocess.Popen[bytes]:
        task, *words = COMMANDS[command or self.way.command]
        scheduler = ["--scheduler-url", self.luigid.url] if self.luigid else []
        words += [*options(self.market, self.data), *scheduler, "--workers", str(self.way.workers)]
        return start_luigi(
            task, *words, home=self.folder / "home", log=self.folder / f"{name}.log", **self._variables, **variables
        )

    def instrumented(self, number: int = 0, action: str = "") -> subprocess.Popen[bytes]:
        return self.start(
            "first",
            PYTHONPATH=f"{INSTRUMENT}:{ROOT}",
            MOMENTS=str(self.log),
            MOMENT_NUMBER=str(number),
            MOMENT_ACTION=action,
            MOMENT_DATABASE=str(self.data / "stock_data.duckdb"),
        )

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        if self.luigid:
            with contextlib.suppress(ProcessLookupError):
                self.luigid.stop(signal.SIGKILL)
        for process in processes_of(self.data):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def place(folder: pathlib.Path, market: SmallMarket, way: Way) -> Iterator[Place]:
    made = Place(folder, market, way)
    try:
        yield made
    finally:
        made.close()


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to: its tables, its seconds, and of each of its moments kind, detail and second."""

    tables: dict[str, list[tuple[object, ...]]]
    seconds: float
    moments: list[tuple[str, str]]
    cuts: dict[tuple[int, str], float]
    folder: pathlib.Path

    def copy_of(self, number: int, side: str) -> pathlib.Path:
        """What was on the disk at a moment."""
        return self.folder / f"{number:04d}-{side}"


def undisturbed(folder: pathlib.Path, market: SmallMarket, way: Way) -> Undisturbed:
    """Run once, and keep below `folder` what is on the disk at each moment."""
    with place(folder / "run", market, way) as here:
        here.live_evening()
        copy_tree(here.data, folder / BEFORE, None)
        cuts = Cuts(here, folder)
        code = cuts.run()
        assert code == 0, here.said("first")
        lines = here.log.read_text(encoding="utf-8").splitlines()
        found = [_moment(line, here.folder) for line in lines]
        return Undisturbed(tables(here.data), cuts.seconds(), found, cuts.taken, folder)


class Cuts:
    """A run that is halted at each moment, all of its processes, while what it has on the disk is copied."""

    def __init__(self, here: Place, folder: pathlib.Path) -> None:
        self.here, self.folder = here, folder
        self.taken: dict[tuple[int, str], float] = {}
        self._halted = 0.0
        self._previous: pathlib.Path | None = None

    def seconds(self) -> float:
        """How long the run has gone on, without its halts."""
        return time.monotonic() - self._began - self._halted

    def run(self) -> int:
        self._began = time.monotonic()
        process = self.here.instrumented(action="cut")
        while process.poll() is None:
            for request in sorted(self.here.folder.glob("moments.cut-*")):
                self._take(process.pid, request)
            time.sleep(0.002)
        return process.returncode

    def _take(self, pid: int, request: pathlib.Path) -> None:
        begun = time.monotonic()
        _, number, side = request.name.split("-")
        target = self.folder / f"{number}-{side}"
        self.taken[int(number), side] = self.seconds()
        os.killpg(pid, signal.SIGSTOP)
        copy_tree(self.here.data, target, self._previous)
        self._previous = target
        request.unlink()
        os.killpg(pid, signal.SIGCONT)
        self._halted += time.monotonic() - begun


def copy_tree(source: pathlib.Path, target: pathlib.Path, previous: pathlib.Path | None) -> None:
    """A copy of a folder; what has not changed since the previous copy is shared with that.

    Spark's driver has a process group of its own and goes on: a file that it renames meanwhile is left out.
    """
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")) if source.exists() else []:
        copied, before = target / path.relative_to(source), previous and previous / path.relative_to(source)
        with contextlib.suppress(FileNotFoundError):
            _copy(path, copied, before)


def _copy(path: pathlib.Path, copied: pathlib.Path, before: pathlib.Path | None) -> None:
    if path.is_dir():
        copied.mkdir()
    elif before and before.is_file() and _stamp(before) == _stamp(path):
        os.link(before, copied)
    else:
        shutil.copy2(path, copied)


def _stamp(path: pathlib.Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _moment(line: str, folder: pathlib.Path) -> tuple[str, str]:
    kind, _, detail = line.partition("\t")
    return kind, detail.replace(f"{folder}/data/", "").replace(str(folder), "")


#: What may happen at a moment of each kind; "cut": the run is lost with all processes, as a copy of the disk has it.
ACTIONS = {
    "rename": ("cut-after", "kill-before", "full", "cut-before"),
    "commit": ("cut-after", "kill-after", "full", "stop", "memory", "cut-before"),
    "scheduler": ("cut-before", "kill-after", "locked", "stop"),
}
#: The same under luigid, which knows of a run more than the disk does: only a run that is really lost counts.
ACTIONS_LUIGID = {
    "rename": ("kill-after", "full", "kill-before"),
    "commit": ("kill-after", "full", "stop", "memory", "kill-before"),
    "scheduler": ("kill-before", "away", "kill-after", "stop", "locked"),
}


def moments(way: Way, seen: Undisturbed) -> list[Moment]:
    """Each moment of a run, with each thing that may happen to it, in the order of the run."""
    actions = ACTIONS_LUIGID if way.has_luigid else ACTIONS
    return [
        Moment(way, number, kind, detail, action)
        for number, (kind, detail) in enumerate(seen.moments, 1)
        for action in actions[kind]
    ]


def chosen(every: Sequence[Moment], count: int) -> list[Moment]:
    """So many of them, evenly spread over the run: as many renames as commits as calls, of which there are the most."""
    if count >= len(every):
        return list(every)
    kinds = [[moment for moment in every if moment.kind == kind] for kind in ACTIONS]
    shares = [count // len(kinds) + (place < count % len(kinds)) for place in range(len(kinds))]
    picked = [one for kind, share in zip(kinds, shares, strict=True) for one in _spread(kind, share)]
    return sorted(picked, key=lambda moment: moment.number)


def _spread(moments: Sequence[Moment], count: int) -> list[Moment]:
    if count >= len(moments):
        return list(moments)
    return [moments[int((step + 0.5) * len(moments) / count)] for step in range(count)]


def try_out(folder: pathlib.Path, market: SmallMarket, moment: Moment, seen: Undisturbed, **variables: str) -> Outcome:
    """Lose a run at the moment, then give the same command again, with these variables set, and look."""
    kind, _, side = moment.action.partition("-")
    with place(folder, market, moment.way) as here:
        if kind == "cut":
            shutil.copytree(seen.copy_of(moment.number, side), here.data)
            orphans = []
        else:
            copy_tree(seen.folder / BEFORE, here.data, None)
            _lose(here, moment)
            orphans = _orphans(here)
        began = time.monotonic()
        code = _wait(here.start("second", **variables))
        seconds = time.monotonic() - began
        faults = [*orphans, *_faults(here, seen), *([f"exit code {code}"] if code else [])]
        if faults:
            said = [here.said(name)[-3000:] for name in ("first", "second") if kind != "cut" or name == "second"]
            faults += said
        left = seen.seconds - seen.cuts[moment.number, "before"]
        return Outcome(moment, seconds, seconds - left, tuple(faults))


def _wait(run: subprocess.Popen[bytes]) -> int:
    try:
        return run.wait(timeout=HANGS)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        return run.wait()


def _lose(here: Place, moment: Moment) -> int:
    run = here.instrumented(moment.number, moment.action)
    deadline = time.monotonic() + HANGS
    request = here.log.with_name(f"{here.log.name}.away")
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return run.wait(timeout=0.05)
        if moment.action == "stop" and _is_stopped(run.pid):
            run.kill()
        if request.exists() and here.luigid:
            here.luigid.stop(signal.SIGKILL)
            request.unlink()
            time.sleep(AWAY)
            here.luigid.start()
    os.killpg(run.pid, signal.SIGKILL)
    return run.wait()


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _orphans(here: Place) -> list[str]:
    _, alive = psutil.wait_procs(_processes(here), timeout=20)
    words = [" ".join(process.cmdline()) for process in alive if process.is_running()]
    return [f"an orphan: {word}" for word in words]


def _processes(here: Place) -> list[psutil.Process]:
    keeper = here.luigid.process.pid if here.luigid else 0
    return [process for process in processes_of(here.data) if process.pid != keeper]


def _faults(here: Place, seen: Undisturbed) -> Iterator[str]:
    try:
        assert_same(tables(here.data), seen.tables)
    except (AssertionError, duckdb.Error) as error:
        yield f"rows differ: {error}"
    yield from (f"a stray file: {path}" for path in stray_files(here.data))
    yield from (f"an orphan after the second run: {process.pid}" for process in _processes(here))
    with (
        contextlib.suppress(duckdb.Error),
        duckdb.connect(str(here.data / "stock_data.duckdb"), read_only=True) as opened,
    ):
        rows = opened.execute("SELECT task, date, message FROM alerts WHERE resolved_at IS NULL").fetchall()
        yield from (f"an open alert: {row}" for row in rows)
