"""The standard streams, which whoever starts a process may have left closed."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Have those of input, output and errors that are closed lead nowhere, for this process and those that it starts.

    The next file to be opened would take the number of one, and what Java or a library reports would go into it: into
    the database, say.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
