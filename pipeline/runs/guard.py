"""The one place where every exception is caught."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import PipelineError


def error_of(work: Callable[[], object]) -> Exception | None:
    """What `work` fails with, None when it ends well.

    For what looks at an installation that may be broken in any way, and for what records how a run ended: either has to
    tell of an exception that nobody foresaw instead of ending by it, since nobody else is left to tell.
    """
    try:
        work()
    except Exception as error:  # noqa: BLE001  # see above
        return error
    return None


def described(error: BaseException) -> str:
    """An exception in words: an error of ours by its message, any other with its kind."""
    return str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
