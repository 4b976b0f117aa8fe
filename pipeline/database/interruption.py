"""What Ctrl-C and `kill` mean in the middle of a query."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

#: What DuckDB says when a signal's exception has ended a query.
INTERRUPTED = "Query interrupted"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """KeyboardInterrupt where a signal has ended a query: DuckDB takes it, and raises RuntimeError in its place.

    That would be one more failure, behind which a run goes on with its other sessions and tasks.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) != INTERRUPTED:
            raise
        raise KeyboardInterrupt from error
