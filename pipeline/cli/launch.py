"""Luigi runs started by the commands."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

from pipeline import given
from pipeline.host import processes

#: Seconds that an interrupted run has to end its task processes.
GRACE = 30.0


def luigi_command(task: str, *options: str) -> list[str]:
    """The command line of a run, with the settings that this command was given."""
    luigi = pathlib.Path(sys.executable).with_name("luigi")
    return [str(luigi), "--module", "pipeline", task, *given.luigi_options(), *options]


def become(command: list[str]) -> None:
    """Replace this process by the command: its output, signals and exit code are this process's."""
    sys.stdout.flush()
    os.execv(command[0], command)


def follow(command: Sequence[str], see: Callable[[str, int], None]) -> int:
    """Run the command, hand each line of its log to `see(line, pid)`, return its exit code (128 + signal if killed).

    The run dies with this process, and ends in order when this one is interrupted or told to end.
    """
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, errors="replace", preexec_fn=processes.new_session()
    ) as run:
        assert run.stderr is not None
        try:
            for line in run.stderr:
                see(line.rstrip("\n"), run.pid)
            code = run.wait()
        except KeyboardInterrupt:
            code = processes.end_group(run, GRACE)
    return code if code >= 0 else 128 - code
