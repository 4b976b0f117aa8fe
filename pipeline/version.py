"""Which code is at work: named by the manifest of a replica, and by every page."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import subprocess

from pipeline.config import ROOT


@functools.cache  # the code of a process does not change while it runs
def code_version() -> str:
    """The installed version, with the commit where the checkout knows it."""
    version = importlib.metadata.version("nasdaq-daily-pipeline")
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        commit = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        version += f"+{commit.stdout.strip()}"
    return version
