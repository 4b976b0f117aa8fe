"""The servers around a run, where there are any: the feed in Redis, the transports of events, and Luigi's scheduler."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline import calendar, given
from pipeline.cli.doctor.finding import FAILURE, NOTE, OK, WARNING, Finding
from pipeline.config import redis
from pipeline.runs import alerts, central


def feed() -> Iterator[Finding]:
    """What Redis holds, when there is one; a feed that was never asked for is no finding."""
    from pipeline.feed import health, state
    from pipeline.feed.content import read_feed, wanted_session
    from pipeline.feed.server import address, connect

    if not redis().url:
        return
    with connect() as client:
        update, where = state.read(client), address(client)
        if update is None:
            yield Finding(NOTE, "redis", f"{where} answers, and holds no feed")
            return
        wrong = health.problems(client, read_feed(update.day), wanted_session(update.day))
    command = given.luigi_command("RedisWatchlistSync", "--date", str(calendar.latest_session()))
    if wrong:
        yield Finding(
            FAILURE, "redis", f"the feed of {update.day} at {where}: {'; '.join(wrong[:5])}", f"{command} --force-full"
        )
    elif update.session < calendar.latest_session():
        yield Finding(WARNING, "redis", f"the feed at {where} ends with session {update.session}", command)
    else:
        yield Finding(
            OK,
            "redis",
            f"{update.synced} symbols up to session {update.session} at {where}, written {update.at:%F %R} UTC",
        )


def events() -> Iterator[Finding]:
    from pipeline.feed.delivery import standing

    for line in standing():
        if line["waiting"]:
            text = (
                f"{line['waiting']:,} events wait for {line['transport']}, "
                f"the oldest since {calendar.local(line['since'])}"
            )
            yield Finding(WARNING, "events", text, given.pipeline_command("events", "--check"))
        else:
            yield Finding(OK, "events", f"{line['transport']} has all of them")


def scheduler() -> Iterator[Finding]:
    if not central.answers():
        yield Finding(
            NOTE, "scheduler", f"no luigid at {central.scheduler_url()}: runs use the local scheduler", "scripts/luigid"
        )
        return
    yield Finding(OK, "scheduler", f"luigid answers at {central.scheduler_url()}")
    for task in central.known_tasks("DISABLED"):
        days = ", ".join(map(str, task.sessions))
        command = given.retry(alerts.pipeline_of(task.family), str(task.sessions[0])) if task.sessions else ""
        yield Finding(
            WARNING, "scheduler", f"{task.family} of {days or 'no date'} is disabled after too many failures", command
        )
