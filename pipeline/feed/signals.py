"""Triggers, `signal_trigger:SYMBOL:TIMESTAMP`, a stream of what becomes of them, and the number of ready symbols.

The triggers of a session are those that the session has now: when a rerun, a correction or a split changes what they
rest on, they are written anew or deleted, and the stream says so.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline import calendar
from pipeline.config import market
from pipeline.config import redis as settings
from pipeline.feed.levels import levels_of, scanned
from pipeline.feed.server import chunks, clear, key, scan, seconds
from pipeline.feed.state import SCHEMA, State

if TYPE_CHECKING:
    from redis import Redis

TRIGGER, STREAM, READY = "signal_trigger", "signal_triggers", "signal_detection_ready"

#: Seconds that `signal_detection_ready` holds.
READY_SECONDS = 3600

#: How the moment of a trigger is written in its key, in UTC and without a colon.
STAMP = "%Y%m%dT%H%M%SZ"

#: What the stream says of a trigger: there is a new one, its levels are others now, or it is not one any more.
NEW, RESTATED, WITHDRAWN = "trigger", "restated", "withdrawn"

#: Nothing for the stream: the trigger stands, perhaps under the name of a later sync.
STANDS = ""

# The trigger and what the stream says of it, at one moment. Of each key: the event, and the trigger.
_PUBLISH = """
    for i = 2, #KEYS do
        local event, value = ARGV[2 * i - 1], ARGV[2 * i]
        if event == 'withdrawn' then
            redis.call('DEL', KEYS[i])
        else
            redis.call('SET', KEYS[i], value, 'EX', ARGV[1])
        end
        if event ~= '' then
            redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'event', event, 'key', KEYS[i], 'trigger', value)
        end
    end
    return #KEYS - 1
"""

Trigger = dict[str, Any]

#: The name of a trigger, what the stream says of it, and its value.
Change = tuple[str, str, str]


def moment(session: dt.date) -> dt.datetime:
    """The moment of a session's triggers: its close, in UTC."""
    return calendar.settled_at(session) - dt.timedelta(minutes=market().settle_minutes)


def prepare(
    client: Redis, update: State, tell: Callable[[list[Change]], None] = lambda changes: None
) -> dict[str, int]:
    """Bring the triggers to what they should be after an update of the feed, then say how many symbols are ready.

    The session of the update gets its triggers; those of earlier sessions that still stand are held against what these
    sessions have now. `tell` is called with what changes before it is written to Redis.
    """
    clear(client, {key(STREAM): "stream"})
    found = read(client)
    sessions = scanned({session_of(name) or update.session for name in found} | {update.session})
    listed = levels_of({update.day, *sessions})
    wanted = {name: trigger for session in sessions for name, trigger in triggers(session, listed[session], update)}
    changes = list(differences(found, wanted, sessions, update))
    tell([change for change in changes if change[1] != STANDS])
    publish(client, changes)
    ready = [row["symbol"] for row in listed[update.day] if row["bars"] >= settings().ready_bars]
    facts = {"sync_id": update.sync_id, "session": str(update.session), "at": calendar.now().isoformat()}
    counts = {"ready": len(ready), "total": len(listed[update.day])}
    client.set(key(READY), json.dumps({**facts, **counts, "symbols": ready}), ex=READY_SECONDS)
    events = Counter(event for _, event, _ in changes)
    return {**counts, "triggers": events[NEW], "restated": events[RESTATED], "withdrawn": events[WITHDRAWN]}


def triggers(session: dt.date, rows: Iterable[Trigger], update: State) -> Iterator[tuple[str, Trigger]]:
    """The names and the triggers of the symbols that have bars enough, as an update of the feed writes them."""
    base, stamp, least = key(TRIGGER, ""), moment(session).strftime(STAMP), settings().ready_bars
    head = {"sync_id": update.sync_id, "schema": SCHEMA, "session": session}
    for row in rows:
        if row["bars"] >= least:
            yield f"{base}{row['symbol']}:{stamp}", json.loads(json.dumps({**head, **row}, default=str))


def differences(
    found: dict[str, str | None], wanted: dict[str, Trigger], sessions: list[dt.date], update: State
) -> Iterator[Change]:
    """What has to be written so that the triggers of these sessions are the wanted ones."""
    for name, trigger in wanted.items():
        before = levels_in(found.get(name))
        event = NEW if name not in found else STANDS if before == comparable(trigger) else RESTATED
        if event == STANDS and trigger["session"] != str(update.session):
            trigger = json.loads(found[name] or "{}")  # of the update that has written it
        yield name, event, json.dumps(trigger)
    for name, text in found.items():
        if name not in wanted and session_of(name) in sessions:
            yield name, WITHDRAWN, text if text and levels_in(text) is not None else json.dumps({"key": name})


def levels_in(text: str | None) -> Trigger | None:
    """A trigger in its comparable form; None for what is none."""
    try:
        trigger = json.loads(text or "")
    except ValueError:
        return None
    return comparable(trigger) if isinstance(trigger, dict) else None


def comparable(trigger: Trigger) -> Trigger:
    """What a trigger tells a detector, without the update that has written it and the length of the history."""
    return {name: value for name, value in trigger.items() if name not in ("sync_id", "bars")}


def read(client: Redis) -> dict[str, str | None]:
    """The triggers that are there, by name; None for a key that is no string."""
    found: dict[str, str | None] = {}
    for group in chunks(scan(client, TRIGGER, "")):
        found.update(zip(group, client.mget(group), strict=True))  # type: ignore[arg-type]
    return found


def publish(client: Redis, changes: Iterable[Change]) -> None:
    """Write triggers and put what became of them on the stream, both or neither of each."""
    stream, lifetime = key(STREAM), seconds(settings().trigger_days + 1)
    length, script = settings().stream_length, client.register_script(_PUBLISH)
    for group in chunks(changes):
        values = [text for _, event, value in group for text in (event, value)]
        script(keys=[stream, *(name for name, _, _ in group)], args=[lifetime, length, *values])
    client.expire(stream, seconds(settings().ttl_days))


def clean_up(client: Redis, day: dt.date) -> dict[str, int]:
    """Delete triggers that were older than `[redis] trigger_days` on `day`, and everything temporary."""
    oldest = day - dt.timedelta(days=settings().trigger_days)
    old = [name for name in scan(client, TRIGGER, "") if (session_of(name) or day) < oldest]
    temporary = list(scan(client, "temp_"))
    for group in chunks([*old, *temporary]):
        client.unlink(*group)
    return {"triggers": len(old), "temporary": len(temporary)}


def session_of(name: str) -> dt.date | None:
    """The session that a trigger's name has; None for one without a moment, which is not ours to judge."""
    try:
        return dt.datetime.strptime(name.rpartition(":")[2], STAMP).replace(tzinfo=dt.UTC).date()
    except ValueError:
        return None
