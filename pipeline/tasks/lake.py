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
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.daily import DailyPipeline

logger = logging.getLogger("pipeline")


class PublishLake(SessionTask):
    """Bring the tables of `[publish] warehouse` in line with the replica, for one session or many in one snapshot each.

    Raises ConfigurationError without a warehouse, or without the extra `iceberg`; LakeError when another process has
    published at the same time.
    """

    table = "lake"
    heading = "lake"
    follows = (DailyPipeline,)
    priority = 12
    resources = {"lake": 1}

    def requires(self) -> list[luigi.Task]:
        check_lake()  # before the day is run, not behind it
        return super().requires()

    @classmethod
    def with_product(cls, sessions: set[dt.date]) -> set[dt.date]:
        """All of the sessions while the catalog is there; a warehouse that was taken away is made again."""
        from pipeline.lake.catalog import sqlite_path

        return sessions if publish().catalog or sqlite_path().exists() else set()

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        from pyiceberg.exceptions import CommitFailedException

        from pipeline.lake.catalog import open_catalog
        from pipeline.lake.expiry import expire
        from pipeline.lake.publication import publish_tables

        run = f"{platform.node()} {os.getpid()} {calendar.now():%Y-%m-%dT%H:%M:%SZ}"
        catalog = open_catalog()
        try:
            with reading(published()) as connection:  # the replica, which keeps nobody out
                months = publish_tables(catalog, connection, sessions, run)
        except CommitFailedException as error:
            raise LakeError(f"{publish().warehouse}: another process has published meanwhile; run it again") from error
        removed = expire(catalog)
        self.finish_all(sessions)
        written = ", ".join(f"{count} of {name}" for name, count in months.items() if count) or "none"
        logger.info(
            "%s: months written to %s: %s; %d old files removed",
            sessions[-1], publish().warehouse, written, removed,
        )  # fmt: skip
        return dict.fromkeys(sessions, {"months": months, "removed": removed})


def check_lake() -> None:
    """Raises ConfigurationError where nothing can be published."""
    if not publish().warehouse and not publish().catalog:
        raise ConfigurationError(
            "there is no warehouse to publish to; name a folder or a bucket: [publish] warehouse = /srv/lake, or "
            "--publish-warehouse /srv/lake"
        )
    if importlib.util.find_spec("pyiceberg") is None:
        raise ConfigurationError(
            "publishing needs pyiceberg, which is not installed; install it: pip install -e '.[iceberg]'"
        )
