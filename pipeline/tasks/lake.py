"""The publication for other engines: Apache Iceberg tables in a warehouse, for those who ask for it."""

from __future__ import annotations

import datetime as dt
import importlib.util
import logging
import os
import platform
from collections.abc import Sequence

import luigi

from pipeline import calendar
from pipeline.config import publish
from pipeline.database.connection import reading
from pipeline.database.replica import published
from pipeline.errors import ConfigurationError, LakeError
from pipeline.lake.places import is_wanted, published_until, title
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.daily import DailyPipeline

logger = logging.getLogger("pipeline")

#: Seconds.
MINUTE = 60


class PublishLake(SessionTask):
    """Bring the tables of `[publish] warehouse` in line with the replica, for one session or many in one snapshot each.

    Raises ConfigurationError without a warehouse, or without the extra `iceberg`; LakeError when the warehouse or its
    catalog cannot be written to, or another process has published at the same time.
    """

    table = "lake"
    heading = "lake"
    belongs_to = "PublishLake"
    follows = (DailyPipeline,)
    priority = 12
    resources = {"lake": 1}

    @property
    def worker_timeout(self) -> int:  # type: ignore[override]  # settings may change behind the class
        """Seconds after which Luigi ends it, as pyiceberg waits for a catalog without an end."""
        return publish().timeout_minutes * MINUTE

    def requires(self) -> list[luigi.Task]:
        check_lake()  # before the day is run, not behind it
        return super().requires()

    @classmethod
    def with_product(cls, sessions: set[dt.date]) -> set[dt.date]:
        """Those that the warehouse holds: one that was taken away, or is new, is published to again."""
        until = dt.date.max if publish().catalog else published_until()
        return {session for session in sessions if until and session <= until}

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pyiceberg.exceptions import CommitFailedException

        from pipeline.lake.catalog import troubles

        try:
            months, removed = publish_sessions(sessions)
        except CommitFailedException as error:
            raise LakeError(f"{title()}: another process has published meanwhile; run it again") from error
        except troubles() as error:
            raise LakeError(f"{title()} cannot be written to: {error}; its readers have the version before") from error
        self.finish_all(sessions)
        written = ", ".join(f"{count} of {name}" for name, count in months.items() if count) or "none"
        logger.info("%s: months written to %s: %s; %d old files removed", sessions[-1], title(), written, removed)
        return dict.fromkeys(sessions, {"months": months, "removed": removed})


def publish_sessions(sessions: Sequence[dt.date]) -> tuple[dict[str, int], int]:
    """How many months of each table were written, and how many old files deleted."""
    from pipeline.lake.catalog import SqliteCatalog, open_catalog
    from pipeline.lake.expiry import expire
    from pipeline.lake.publication import publish_tables

    run = f"{platform.node()} {os.getpid()} {calendar.now():%Y-%m-%dT%H:%M:%SZ}"
    catalog = open_catalog()
    with reading(published()) as connection:  # the replica, which keeps nobody out
        months = publish_tables(catalog, connection, sessions, run)
    if isinstance(catalog, SqliteCatalog):
        catalog.note_published(sessions[-1])
    return months, expire(catalog)


def check_lake() -> None:
    """Raises ConfigurationError where nothing can be published."""
    if not is_wanted():
        raise ConfigurationError(
            "there is no warehouse to publish to; name a folder or a bucket: [publish] warehouse = /srv/lake, or "
            "--publish-warehouse /srv/lake"
        )
    if importlib.util.find_spec("pyiceberg") is None:
        raise ConfigurationError(
            "publishing needs pyiceberg, which is not installed; install it: pip install -e '.[iceberg]'"
        )
    from pipeline.lake.catalog import check_catalog

    check_catalog()
