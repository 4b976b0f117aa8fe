"""A look at the whole installation: is everything there that the next run needs, and is everything done that should be."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline import calendar, given
from pipeline.cli.status import Overview, SessionStatus
from pipeline.config import market, redis, storage, yahoo
from pipeline.database.backups import backup_folder, backup_paths, check, sha256
from pipeline.database.connection import check_version, database_path, duplicated_rows, reading, records
from pipeline.database.replica import manifest_path, replica_path
from pipeline.database.schema import MIGRATIONS
from pipeline.masking import masked
from pipeline.runs import central, configuration, guard

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

GIGABYTE = 1024**3
#: Sessions that are looked at for what was rejected, and for rows that are there twice.
RECENT = 20

OK, NOTE, WARNING, FAILURE = "ok", "note", "warning", "failure"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check says. A `failure` needs somebody now, a `warning` some day; `command` is what to do."""

    level: str
    check: str
    text: str
    command: str = ""


def examine() -> list[Finding]:
    """All checks, each of them whatever the others found."""
    return [finding for check in CHECKS for finding in _guarded(check)]


def _guarded(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    error = guard.error_of(lambda: found.extend(check()))
    if error is not None:
        found.append(Finding(FAILURE, check.__name__.removeprefix("_"), masked(guard.described(error))))
    return found


def _files() -> Iterator[Finding]:
    configuration.check()
    for sentence in configuration.unknown_settings():
        yield Finding(WARNING, "files", sentence, given.pipeline_command("config"))
    yield Finding(OK, "files", f"settings are read from {', '.join(map(str, configuration.files()))}")


def _configuration() -> Iterator[Finding]:
    from pipeline.sources.registry import configured_source
    from pipeline.watchlist.scans import configured_scans

    source, scans = configured_source(), configured_scans()
    yield Finding(
        OK,
        "configuration",
        f"source {source.name}, {len(scans)} scans, {len(calendar.sessions()):,} sessions in the calendar",
    )


def _pace() -> Iterator[Finding]:
    from pipeline.sources.yahoo.learned import learned

    found = learned()
    if market().source == "yahoo" and found and found.rate < yahoo().requests_per_second:
        text = f"the source was asked too fast up to {calendar.local(found.at)}; a run begins with {found.rate:.3g} requests a second"
        yield Finding(
            NOTE, "pace", f"{text}, of {yahoo().requests_per_second:g} that are set, and goes faster by itself"
        )


def _java() -> Iterator[Finding]:
    from pipeline.indicators.spark.java import java_runtime

    runtime = java_runtime()
    yield Finding(OK, "java", f"{runtime.version} in {runtime.home}")


def _disk() -> Iterator[Finding]:
    root = storage().root
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        yield Finding(FAILURE, "disk", f"{existing} cannot be written by this user", "set [storage] data_dir")
    size = database_path().stat().st_size if database_path().exists() else 0
    free = shutil.disk_usage(existing).free
    needed = max(GIGABYTE, 3 * size)  # the database, its replica and one more backup
    text = f"{free / GIGABYTE:,.1f} GB free in {existing}, the database has {size / GIGABYTE:,.2f} GB"
    yield (
        Finding(FAILURE, "disk", f"{text}; {needed / GIGABYTE:,.1f} GB are needed")
        if free < needed
        else Finding(OK, "disk", text)
    )


def _sessions() -> Iterator[Finding]:
    overview = Overview()
    latest = calendar.latest_session()
    (newest,) = overview.sessions([latest])
    yield _of_latest(newest)
    known = overview.sessions(overview.newest())
    unfinished = [status for status in known if status.session != latest and not status.is_done]
    if unfinished:
        yield _unfinished(unfinished)
    begun = {status.session for status in known}
    gaps = [day for day in calendar.sessions_between(min(begun), latest) if day not in begun]
    if gaps:
        first, last = str(gaps[0]), str(gaps[-1])
        text = f"{len(gaps)} sessions between {first} and {last} were never run"
        yield Finding(WARNING, "sessions", text, given.pipeline_command("backfill", first, last))


def _unfinished(sessions: list[SessionStatus]) -> Finding:
    """All that were begun and not finished, the newest first, in one line."""
    newest, oldest = sessions[0], sessions[-1]
    if newest == oldest:
        text = f"{newest.session} is not finished: {_why(newest)}"
        return Finding(WARNING, "sessions", text, given.pipeline_command("retry", str(newest.session)))
    text = (
        f"{len(sessions)} sessions from {oldest.session} to {newest.session} are not finished; {newest.session}: "
        f"{_why(newest)}"
    )
    return Finding(
        WARNING, "sessions", text, given.pipeline_command("backfill", str(oldest.session), str(newest.session))
    )


def _of_latest(status: SessionStatus) -> Finding:
    if status.is_done:
        return Finding(OK, "sessions", f"{status.session}, the latest settled session, is done")
    text = f"{status.session}, the latest settled session, has no finished run: {_why(status)}"
    return Finding(FAILURE, "sessions", text, given.pipeline_command("retry", str(status.session)))


def _why(status: SessionStatus) -> str:
    running = [name for name, stage in status.stages.items() if stage.state == "running"]
    return status.reason or (f"{running[0]} is running" if running else "nothing has failed, and nothing is running")


def _database() -> Iterator[Finding]:
    if not database_path().exists():
        yield Finding(
            FAILURE,
            "database",
            f"{database_path()} does not exist: nothing has been run yet",
            given.luigi_command("DailyPipeline"),
        )
        return
    with reading() as connection:
        applied = {name for (name,) in connection.execute("SELECT name FROM migrations").fetchall()}
        check_version(connection, applied)
        missing = [name for name, _ in MIGRATIONS if name not in applied]
        if missing:
            yield Finding(
                NOTE, "database", f"of an older version; the next run applies {', '.join(missing)}, then ask again"
            )
            return
        since = calendar.session_before(_newest(connection), RECENT)
        for table, count in duplicated_rows(connection, since).items():
            yield Finding(FAILURE, "database", f"{count:,} rows of {table} are there twice")
        yield from _rejected(connection)
        yield from _failed(connection)
        yield from _to_do(connection)


def _rejected(connection: DuckDBPyConnection) -> Iterator[Finding]:
    since = calendar.session_before(_newest(connection), RECENT)
    rows = records(
        connection, "SELECT symbol, date, rule FROM rejected_bars WHERE date > ? ORDER BY date DESC, symbol", since
    )
    if rows:
        first = ", ".join(f"{row['symbol']} {row['date']} ({row['rule']})" for row in rows[:5])
        yield Finding(
            WARNING,
            "bars",
            f"{len(rows):,} bars of the last {RECENT} sessions were rejected: {first}",
            given.pipeline_command("explain", str(rows[0]["date"]), rows[0]["symbol"]),
        )


def _failed(connection: DuckDBPyConnection) -> Iterator[Finding]:
    newest = _newest(connection)
    rows = records(
        connection,
        """
        SELECT symbol, reason
        FROM price_coverage
        WHERE date = ? AND state = 'failed' ORDER BY symbol
        """,
        newest,
    )
    if rows:
        first = ", ".join(f"{row['symbol']} ({row['reason']})" for row in rows[:5])
        reset = given.pipeline_command("reset", str(newest), "--from", "CollectPrices")
        command = f"{reset} && {given.pipeline_command('retry', str(newest))}"
        yield Finding(WARNING, "bars", f"{len(rows):,} symbols of {newest} failed: {first}", command)


def _newest(connection: DuckDBPyConnection) -> dt.date:
    row = connection.execute("SELECT max(date) FROM price_coverage").fetchone()
    return row[0] if row and row[0] else calendar.latest_session()


def _to_do(connection: DuckDBPyConnection) -> Iterator[Finding]:
    stale = records(
        connection, "SELECT count(DISTINCT date) AS sessions, min(date) AS first, max(date) AS last FROM stale_sessions"
    )[0]
    if stale["sessions"]:
        text = f"the watchlists of {stale['sessions']} sessions from {stale['first']} to {stale['last']} rest on bars that have changed since"
        yield Finding(WARNING, "sessions", text, given.pipeline_command("backfill", "--stale"))
    (alerts,) = connection.execute("SELECT count(*) FROM alerts WHERE resolved_at IS NULL").fetchone() or (0,)
    if alerts:
        yield Finding(
            WARNING,
            "alerts",
            f"{alerts} alerts are not resolved",
            given.pipeline_command("alerts"),
        )


def _replica() -> Iterator[Finding]:
    if not replica_path().exists() or not manifest_path().exists():
        yield Finding(FAILURE, "replica", f"{replica_path()} has not been published yet")
        return
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    if manifest["bytes"] != replica_path().stat().st_size:
        yield Finding(
            WARNING,
            "replica",
            "the manifest is not that of the replica: a run was killed between the two; the next run puts it right",
        )
        return
    if manifest["sha256"] != sha256(replica_path()):
        text = f"{replica_path()} is not what was published: it was changed or is damaged. Delete it, then"
        yield Finding(FAILURE, "replica", text, given.pipeline_command("retry", manifest["session"]))
        return
    yield Finding(
        OK,
        "replica",
        f"of session {manifest['session']}, published {manifest['published_at'][:19]} UTC, {manifest['bytes']:,} bytes",
    )


def _feed() -> Iterator[Finding]:
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


def _events() -> Iterator[Finding]:
    from pipeline.feed.delivery import standing

    for line in standing():
        if line["waiting"]:
            text = f"{line['waiting']:,} events wait for {line['transport']}, the oldest since {calendar.local(line['since'])}"
            yield Finding(WARNING, "events", text, given.pipeline_command("events", "--check"))
        else:
            yield Finding(OK, "events", f"{line['transport']} has all of them")


def _backups() -> Iterator[Finding]:
    paths = backup_paths()
    if not paths:
        yield Finding(
            NOTE, "backups", f"there is none in {backup_folder()} yet; a replica that is published brings one"
        )
        return
    newest = check(paths[-1])
    if newest.fault:
        yield Finding(FAILURE, "backups", f"{newest.path} could not be put back: {newest.fault}. Delete it")
        return
    yield Finding(OK, "backups", f"{len(paths)}, the newest with bars up to {newest.session}: {newest.path.name}")


def _scheduler() -> Iterator[Finding]:
    if not central.answers():
        yield Finding(
            NOTE, "scheduler", f"no luigid at {central.scheduler_url()}: runs use the local scheduler", "scripts/luigid"
        )
        return
    yield Finding(OK, "scheduler", f"luigid answers at {central.scheduler_url()}")
    for task in central.known_tasks("DISABLED"):
        days = ", ".join(map(str, task.sessions))
        command = given.pipeline_command("retry", str(task.sessions[0])) if task.sessions else ""
        yield Finding(
            WARNING, "scheduler", f"{task.family} of {days or 'no date'} is disabled after too many failures", command
        )


def _leftovers() -> Iterator[Finding]:
    from pipeline.runs.journal import journals

    killed = [by for by, _ in journals() if by is None or by.is_gone]
    if killed:
        yield Finding(NOTE, "leftovers", f"{len(killed)} runs were killed; the next run takes over what they left")


CHECKS = (
    _files,
    _configuration,
    _pace,
    _java,
    _disk,
    _database,
    _sessions,
    _replica,
    _feed,
    _events,
    _backups,
    _scheduler,
    _leftovers,
)
