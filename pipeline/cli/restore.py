"""Putting a backup in the place of the database, and making what it lacks anew from what was received.

Nothing is lost on the way: the damaged file stays beside the database under a name of its own, and the database is
either the old file or the new one at every moment. The marker files of sessions that the backup does not know stay;
their stages are not done, since a stage is done when its row is there, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence

from pipeline import calendar, given
from pipeline.config import storage
from pipeline.database.backups import Checked, backup_folder, backup_paths, check
from pipeline.database.connection import database_path
from pipeline.database.markers import MarkerTarget, RowTarget
from pipeline.errors import RestoreError
from pipeline.host.files import atomic_path, sync
from pipeline.runs import lock as runlock
from pipeline.tasks.confirm import ConfirmSession
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.ranges import ONE_DAY, RangeTradingDays
from pipeline.tasks.stages import stage_names


def choose(name: str | None, say: Callable[[str], None]) -> Checked:
    """The backup of that name or path, else the newest good one. Raises RestoreError, with what is wrong with each."""
    faults = []
    for path in [_named(name)] if name else reversed(backup_paths()):
        say(f"reading {path}")
        found = check(path)
        if not found.fault:
            return found
        faults.append(f"{path.name}: {found.fault}")
    raise RestoreError(
        f"there is no good backup in {backup_folder()}{': ' if faults else ''}{'; '.join(faults)}. "
        f"Move {database_path()} away, and make it anew from what was received: "
        f"{given.pipeline_command('backfill', 'FIRST', 'LAST', '--set', 'market.offline=true')}"
    )


def _named(name: str) -> pathlib.Path:
    for path in (pathlib.Path(name), backup_folder() / name):
        if path.is_file():
            return path
    known = ", ".join(path.name for path in reversed(backup_paths())) or "none"
    raise RestoreError(f"there is no backup {name}; there are in {backup_folder()}: {known}")


def put_back(backup: pathlib.Path) -> pathlib.Path | None:
    """Replace the database by a copy of the backup; where the replaced file is now, None when there was none.

    Raises RunInProgressError while a run goes on, and DataFolderError.
    """
    with contextlib.closing(runlock.acquire(shared=False)):
        database = database_path()
        aside = database.with_name(f"{database.name}.replaced-{calendar.now():%Y%m%dT%H%M%SZ}")
        log = database.with_name(database.name + ".wal")
        with atomic_path(database) as temporary:
            shutil.copyfile(backup, temporary)
            os.chmod(temporary, 0o644)
            kept = _keep(database, aside)
            if log.exists():  # before the rename: it would be applied to the other file
                os.replace(log, aside.with_name(aside.name + ".wal"))
                sync(database.parent)
        return kept


def _keep(database: pathlib.Path, aside: pathlib.Path) -> pathlib.Path | None:
    """A second name for the present file, which has its own until the rename; a copy, where links are not possible."""
    if not database.exists():
        return None
    try:
        os.link(database, aside)
    except OSError:
        shutil.copyfile(database, aside)
    return aside


@dataclasses.dataclass(frozen=True)
class Group:
    """Sessions that were collected at once, and so are made anew at once; `confirmed` are those that were final."""

    sessions: tuple[dt.date, ...]
    confirmed: tuple[dt.date, ...] = ()

    def commands(self) -> list[list[str]]:
        """The runs of Luigi that make them anew."""
        first, last = self.sessions[0], self.sessions[-1]
        run = [DailyPipeline.__name__, "--date", str(last)]
        if first != last:
            stop = str(last + ONE_DAY)
            run = [RangeTradingDays.__name__, "--of", run[0], "--start", str(first), "--stop", stop]
        confirmations = [[ConfirmSession.__name__, "--date", str(day)] for day in self.confirmed]
        return [[*words, "--market-offline", "true"] for words in (run, *confirmations)]


def lost() -> list[Group]:
    """The sessions of which a stage was done, by its marker file, that the database does not know; oldest first.

    The backup's own session is among them: a backup is made in the middle of one.
    """
    rows = RowTarget.update_ids(database_path())
    sessions: set[dt.date] = set().union(*(_missing(name, rows) for name in stage_names()))
    confirmed = _missing(ConfirmSession.__name__, rows)
    groups, group = [], []
    for session in sorted(sessions | confirmed):
        group.append(session)
        if (storage().root / "raw" / "prices" / str(session)).is_dir():  # a combined run keeps all under its last one
            groups.append(group)
            group = []
    groups += [group] if group else []
    return [Group(tuple(days), tuple(day for day in days if day in confirmed)) for days in groups]


def _missing(family: str, rows: frozenset[str]) -> set[dt.date]:
    return {day for day in MarkerTarget.sessions(family) if f"{family}:{day}" not in rows}


def spanned(groups: Sequence[Group]) -> str:
    """The sessions of all groups, whole or in part, in words."""
    days = [day for group in groups for day in group.sessions]
    if len(days) == 1:
        return f"{days[0]}, or stages of it"
    return f"{len(days)} sessions from {days[0]} to {days[-1]}, or stages of them"
