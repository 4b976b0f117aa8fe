"""The fifth stage: the read-only replica."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence

from pipeline.database.replica import is_published, publish, replica_path
from pipeline.errors import ReplicaError
from pipeline.tasks.base import Outcome, SessionTask
from pipeline.tasks.watchlist import ScanWatchlist

logger = logging.getLogger("pipeline")


class ReplicateDatabase(SessionTask):
    """A backup and one replica for all the sessions that are ready.

    Raises ReplicaError when the copy cannot be verified; the replica published before stays in place.
    """

    table = "replica"
    heading = "replica"
    follows = (ScanWatchlist,)
    priority = 50

    @classmethod
    def with_product(cls, sessions: set[dt.date]) -> set[dt.date]:
        """All of the sessions when a whole replica is published, with its manifest: one serves them all."""
        return sessions if is_published() else set()

    def process(self, sessions: Sequence[dt.date]) -> dict[dt.date, Outcome]:
        try:
            manifest = publish(sessions[-1])
        except ReplicaError as error:
            return dict.fromkeys(sessions, error)
        self.finish_all(sessions)
        logger.info("%s: replica of %s bytes published as %s", sessions[-1], f"{manifest['bytes']:,}", replica_path())
        return dict.fromkeys(sessions, {"bytes": manifest["bytes"], "sha256": manifest["sha256"]})
