"""Whether every session is done, above all the latest settled one, and what killed runs have left."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline import calendar, given
from pipeline.cli.doctor.finding import FAILURE, NOTE, OK, WARNING, Finding
from pipeline.cli.status import Overview, SessionStatus


def sessions() -> Iterator[Finding]:
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


def leftovers() -> Iterator[Finding]:
    from pipeline.runs.journal import journals

    killed = [by for by, _ in journals() if by is None or by.is_gone]
    if killed:
        yield Finding(NOTE, "leftovers", f"{len(killed)} runs were killed; the next run takes over what they left")
