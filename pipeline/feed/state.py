"""What the feed says of itself in Redis: `watchlist_last_update`, and which stages have seen that update.

Both are lost with Redis, so that a date which was done is not done any more once its feed is gone.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
from typing import TYPE_CHECKING

from pipeline.config import redis as settings
from pipeline.errors import PipelineError
from pipeline.feed.server import connect, key, seconds

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger("pipeline")

LAST_UPDATE = "watchlist_last_update"
STAGES = "watchlist_stages"

#: The version of what docs/redis.md describes; a field that is added does not raise it.
SCHEMA = 2


@dataclasses.dataclass(frozen=True)
class State:
    """One update of the feed, as `watchlist_last_update` tells it.

    `day` is what was asked for, `session` the newest one in it.
    """

    sync_id: str
    at: dt.datetime
    day: dt.date
    session: dt.date
    mode: str
    synced: int
    total: int
    new: int
    updated: int
    removed: int
    symbols: list[str]
    schema: int = SCHEMA

    def version(self) -> dict[str, str]:
        """The fields that every hash of this update has."""
        return {"sync_id": self.sync_id, "session": str(self.session), "schema": str(self.schema)}

    def as_json(self) -> str:
        return json.dumps(vars(self), default=lambda value: value.isoformat(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> State | None:
        """None for a text that is not of this shape: somebody else's, or another version's."""
        try:
            facts = json.loads(text)
            if facts["schema"] != SCHEMA:
                return None
            moment = dt.datetime.fromisoformat(facts.pop("at"))
            day, session = (dt.date.fromisoformat(facts.pop(name)) for name in ("day", "session"))
            return cls(at=moment, day=day, session=session, **facts)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def read(client: Redis) -> State | None:
    """The last update; None when there was none."""
    text: str | None = client.get(key(LAST_UPDATE))  # type: ignore[assignment]
    return State.from_json(text) if text else None


def has_seen(client: Redis, stage: str, state: State) -> bool:
    """Whether `stage` was done for this update."""
    return bool(client.hget(key(STAGES), stage) == state.sync_id)


def look(stage: str) -> tuple[State | None, bool]:
    """The last update, and whether `stage` was done for it. A Redis that cannot be asked has neither."""
    try:
        with connect() as client:
            state = read(client)
            return state, state is not None and has_seen(client, stage, state)
    except PipelineError as error:
        logger.debug("taken for an empty Redis: %s", error)
        return None, False


def tick(client: Redis, stage: str, state: State) -> None:
    """Note that `stage` was done for this update."""
    pipe = client.pipeline(transaction=True)
    pipe.hset(key(STAGES), stage, state.sync_id)
    pipe.expire(key(STAGES), seconds(settings().ttl_days))
    pipe.execute()


def distrust(client: Redis) -> None:
    """Forget the last update, so that the next run writes everything."""
    client.delete(key(LAST_UPDATE), key(STAGES))
