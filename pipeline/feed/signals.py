"""The levels that a live detector waits for: `signal_trigger:SYMBOL:TIMESTAMP`, a stream of the same, and their number."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from pipeline import calendar
from pipeline.config import market
from pipeline.config import redis as settings
from pipeline.database.connection import reading, records
from pipeline.database.replica import replica_path
from pipeline.feed.server import chunks, key, scan, seconds

if TYPE_CHECKING:
    from redis import Redis

TRIGGER, STREAM, READY = "signal_trigger", "signal_triggers", "signal_detection_ready"

#: Seconds that `signal_detection_ready` holds.
READY_SECONDS = 3600

#: How the moment of a trigger is written in its key, in UTC and without a colon.
STAMP = "%Y%m%dT%H%M%SZ"

# A trigger that is there already, with the same levels, is not put on the stream again.
_PUBLISH = """
    local added = 0
    for i = 2, #KEYS do
        local value = ARGV[i + 1]
        if redis.pcall('GET', KEYS[i]) ~= value then
            redis.call('SET', KEYS[i], value, 'EX', ARGV[1])
            redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'key', KEYS[i], 'trigger', value)
            added = added + 1
        end
    end
    return added
"""


def levels(day: dt.date) -> list[dict[str, Any]]:
    """The watchlist as of `day` with the levels of each symbol's newest bar, and `bars`, its number of bars.

    Levels that need more history than the symbol has, or that were not computed for its newest bar, are None.
    """
    with reading(replica_path()) as connection:
        rows = records(connection, _LEVELS, day, settings().watch_days, day)
    ratio = settings().volume_ratio
    for row in rows:
        row["volume_threshold"] = None if row["avg_volume_30"] is None else round(ratio * row["avg_volume_30"])
    return rows


def moment(session: dt.date) -> dt.datetime:
    """The moment of a session's triggers: its close, in UTC."""
    return calendar.settled_at(session) - dt.timedelta(minutes=market().settle_minutes)


def prepare(client: Redis, session: dt.date, rows: list[dict[str, Any]]) -> dict[str, int]:
    """Write the triggers of the symbols that have bars enough, and then how many those are."""
    ready = [row for row in rows if row["bars"] >= settings().ready_bars]
    added = publish(client, session, ready)
    facts = {"session": str(session), "at": calendar.now().isoformat(), "ready": len(ready), "total": len(rows)}
    symbols = [row["symbol"] for row in ready]
    client.set(key(READY), json.dumps({**facts, "symbols": symbols}), ex=READY_SECONDS)
    return {"ready": len(ready), "total": len(rows), "triggers": added}


def publish(client: Redis, session: dt.date, ready: list[dict[str, Any]]) -> int:
    """Write triggers as keys and on the stream; the number of those that were not there yet."""
    stream, stamp = key(STREAM), moment(session).strftime(STAMP)
    script, lifetime = client.register_script(_PUBLISH), seconds(settings().trigger_days + 1)
    added = 0
    for group in chunks(ready):
        names = [key(TRIGGER, row["symbol"], stamp) for row in group]
        values = [json.dumps({"session": str(session), **row}, default=str) for row in group]
        added += script(keys=[stream, *names], args=[lifetime, settings().stream_length, *values])
    client.expire(stream, seconds(settings().ttl_days))
    return added


def clean_up(client: Redis, day: dt.date) -> dict[str, int]:
    """Delete triggers that were older than `[redis] trigger_days` on `day`, and everything temporary."""
    oldest = day - dt.timedelta(days=settings().trigger_days)
    old = [name for name in scan(client, TRIGGER, "") if _is_before(name, oldest)]
    temporary = list(scan(client, "temp_"))
    for group in chunks([*old, *temporary]):
        client.unlink(*group)
    return {"triggers": len(old), "temporary": len(temporary)}


def _is_before(name: str, oldest: dt.date) -> bool:
    """Whether a trigger's name has a moment before that day; one without a moment is not ours to judge."""
    try:
        return dt.datetime.strptime(name.rpartition(":")[2], STAMP).replace(tzinfo=dt.UTC).date() < oldest
    except ValueError:
        return False


_LEVELS = """
    WITH listed AS MATERIALIZED (
        SELECT symbol, scan_reason AS scan, scan_date, priority, market_cap_tier FROM fed_watchlist(?::DATE, ?)
    ), newest AS (
        SELECT symbol, count(*) AS bars, max(date) AS date, arg_max(close, date) AS close
        FROM stock_data SEMI JOIN listed USING (symbol) WHERE date <= ? GROUP BY symbol
    )
    SELECT symbol, scan, scan_date, priority, market_cap_tier, n.date, n.close, t.rsi_14,
           t.bb_lower, t.bb_middle, t.bb_upper, t.bb_position, t.avg_volume_30, coalesce(n.bars, 0) AS bars
    FROM listed LEFT JOIN newest n USING (symbol) LEFT JOIN technical_indicators t USING (symbol, date)
    ORDER BY priority, symbol
"""
