"""A process that was started without standard streams writes what others report into no file of its own."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from tests.support.runs import ROOT

#: Opens a file, then has a program report to the standard error, as Java does.
PROGRAM = """
import pathlib, subprocess, sys
from pipeline.host.streams import open_standard_streams
open_standard_streams()
with open(sys.argv[1], "w") as file:
    file.write(f"kept {sys.stdin.read()!r} {sys.stdout.isatty()} {sys.stderr.isatty()}")
    file.flush()
    subprocess.run(["/bin/sh", "-c", "echo reported; echo reported >&2"], check=True, close_fds=False)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_nothing_but_what_is_written_is_in_a_file(tmp_path: pathlib.Path, closed: str) -> None:
    command = f'exec "$0" -c "$1" "$2" </dev/null >/dev/null 2>/dev/null {closed}'
    written = tmp_path / "written"
    subprocess.run(["/bin/sh", "-c", command, sys.executable, PROGRAM, str(written)], cwd=ROOT, check=True, timeout=60)
    assert written.read_text() == "kept '' False False"


def test_open_ones_stay_as_they_are() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from pipeline.host.streams import *; open_standard_streams(); print(input())"],
        cwd=ROOT, input="said\n", capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert ended.stdout == "said\n"
