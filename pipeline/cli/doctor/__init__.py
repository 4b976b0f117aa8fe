"""A look at the whole installation: is all there that the next run needs, and is all done that should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.cli.doctor import contents, copies, installation, progress, services
from pipeline.cli.doctor.finding import FAILURE, NOTE, OK, WARNING, Finding
from pipeline.masking import masked
from pipeline.runs import guard

__all__ = ["CHECKS", "FAILURE", "NOTE", "OK", "WARNING", "Finding", "examine"]

CHECKS = (
    installation.files,
    installation.configuration,
    installation.pace,
    installation.java,
    installation.disk,
    contents.database,
    progress.sessions,
    copies.replica,
    copies.lake,
    services.feed,
    services.events,
    copies.backups,
    services.scheduler,
    progress.leftovers,
)


def examine() -> list[Finding]:
    """All checks, each of them whatever the others found."""
    return [finding for check in CHECKS for finding in _guarded(check)]


def _guarded(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    error = guard.error_of(lambda: found.extend(check()))
    if error is not None:
        found.append(Finding(FAILURE, check.__name__, masked(guard.described(error))))
    return found
