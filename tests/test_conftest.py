"""What tests/conftest.py promises: nothing that a test starts outlives it, and nothing at all the session."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from tests.support.runs import ROOT, processes_of


def run_tests(folder: pathlib.Path, source: str) -> str:
    """Run this file of tests with our conftest, in a pytest of its own; what it said."""
    (folder / "test_example.py").write_text(textwrap.dedent(source))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
        "test_example.py",
    ]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


#: A process that would go on for ever, in a session of its own; its parent has ended.
STRAYS = """
    import pathlib, subprocess, sys
    import pytest

    FOREVER = "import signal, sys; print(flush=True); signal.pause()"
    LEADER = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {FOREVER!r}, *sys.argv[1:]], "
    LEADER += "stdout=subprocess.PIPE, start_new_session=True); p.stdout.readline()"

    def stray():
        subprocess.run([sys.executable, "-c", LEADER, str(pathlib.Path.cwd())], check=True)
"""


def test_what_a_test_starts_ends_with_it_also_when_it_fails(tmp_path: pathlib.Path) -> None:
    said = run_tests(
        tmp_path,
        STRAYS
        + """
    def test_that_fails():
        stray()
        assert False

    def test_the_next_one():
        from tests.support.runs import processes_of
        assert processes_of(pathlib.Path.cwd()) == []
    """,
    )
    assert "1 failed, 1 passed" in said
    assert processes_of(tmp_path) == []


def test_a_process_of_a_module_lives_with_it_and_what_is_left_fails_the_session(tmp_path: pathlib.Path) -> None:
    said = run_tests(
        tmp_path,
        STRAYS
        + """
    @pytest.fixture(scope="module")
    def server():
        stray()

    def test_one(server):
        pass

    def test_another(server):
        from tests.support.runs import processes_of
        assert len(processes_of(pathlib.Path.cwd())) == 1
    """,
    )
    assert "2 passed" in said and "1 error" in said
    assert "ERROR at teardown of test_another" in said
    assert processes_of(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only there a process can adopt orphans")
def test_orphans_are_adopted() -> None:
    code = (
        "import subprocess, sys; print(subprocess.Popen("
        "[sys.executable, '-c', 'import signal; signal.pause()'], stdout=subprocess.DEVNULL).pid)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout)
    assert psutil.Process(pid).ppid() == os.getpid()
    os.kill(pid, signal.SIGKILL)
