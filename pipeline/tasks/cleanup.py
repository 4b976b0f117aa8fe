"""Old files go: raw answers, reports, logs, leftovers of killed runs."""

from __future__ import annotations

import datetime as dt
import logging
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from pipeline import calendar
from pipeline.config import retention, storage
from pipeline.host.files import age
from pipeline.runs import leftovers
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.notify import NotifySuccess

logger = logging.getLogger("pipeline")

#: Folders of work/ that hold what is to be read yet, however old: the journals of killed runs, Luigi's own pids.
NEVER_SWEPT = ("journal", "pids")


class CleanUpFiles(SessionTask):
    """Delete what is older than `[retention]` says, by the time of the file's last change."""

    table = "files"
    heading = "cleaned"
    follows = (NotifySuccess,)
    priority = 30

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        removed = [path for path in outdated(calendar.now())]
        for path in removed:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.finish_all(sessions)
        logger.info("%s: %d old files removed", sessions[-1], len(removed))
        return dict.fromkeys(sessions, {"removed": len(removed)})


def outdated(now: dt.datetime) -> Iterator[pathlib.Path]:
    """Files and folders of `data_dir` whose time is over; never the database, the replica, a backup or a marker."""
    root, kept = storage().root, retention()
    periods = {
        "raw/symbols/*": kept.raw_days,
        "raw/prices/*": kept.raw_days,
        "reports/*.html": kept.report_days,
        "logs/*": kept.log_days,
        "work/*/*": kept.work_days,
    }
    for pattern, days in periods.items():
        old = (path for path in root.glob(pattern) if age(path, now) > dt.timedelta(days=days))
        yield from (path for path in old if path.parent.name not in NEVER_SWEPT)
    yield from leftovers.unfinished(now)
