"""Real processes, ended in every way that a process can end."""

import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from pipeline.host import processes

PATIENCE = 20.0

#: A parent that starts a child, prints the child's pid and waits. `{start}` says how the child is started.
PARENT = """
    import subprocess, sys, signal
    from pipeline.host import processes
    child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, {options})
    child.stdout.readline()
    print(child.pid, flush=True)
    signal.pause()
"""

SLEEPER = "import signal; print('ready', flush=True); signal.pause()"
IMPORT = "from pipeline.host import processes; "
WATCHER = (
    f"{IMPORT}import os, signal; processes.die_with_parent({{signum}}); print('ready', flush=True); signal.pause()"
)
FOLLOWER = f"{IMPORT}import os, signal; processes.die_with(os.getppid()); print('ready', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"


@pytest.fixture
def start_parent():
    """Starts a parent process; returns it and its child, both running."""
    started: list[psutil.Process] = []

    def start(child: str, options: str = "") -> tuple[subprocess.Popen[str], psutil.Process]:
        source = textwrap.dedent(PARENT).format(child=child, options=options)
        parent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        kid = psutil.Process(int(parent.stdout.readline()))
        started.extend([psutil.Process(parent.pid), kid])
        return parent, kid

    yield start
    for process in started:
        if process.is_running():
            process.kill()


@pytest.mark.parametrize(
    ("child", "options"),
    [
        pytest.param(WATCHER.format(signum=int(signal.SIGTERM)), "", id="die_with_parent"),
        pytest.param(WATCHER.format(signum=int(signal.SIGKILL)), "", id="die_with_parent-kill"),
        pytest.param(FOLLOWER, "", id="die_with"),
        pytest.param(
            SLEEPER,
            "preexec_fn=processes.new_session()",
            id="new_session",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the child itself has to watch"),
        ),
    ],
)
def test_child_ends_with_a_killed_parent(start_parent, child, options):
    parent, kid = start_parent(child, options)
    parent.kill()
    parent.wait()
    kid.wait(PATIENCE)


def test_an_ordinary_child_survives_its_parent(start_parent):
    """Without the helpers the tests above would pass for nothing."""
    parent, kid = start_parent(SLEEPER)
    parent.kill()
    parent.wait()
    with pytest.raises(psutil.TimeoutExpired):
        kid.wait(0.3)


def test_a_parent_that_is_already_gone_counts_as_gone():
    source = f"{IMPORT}import signal; processes.die_with_parent(signal.SIGTERM, parent=2**22 - 1); signal.pause()"
    assert subprocess.run([sys.executable, "-c", source], timeout=PATIENCE, check=False).returncode == -signal.SIGTERM


def start_leader(source: str) -> subprocess.Popen[bytes]:
    leader = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, preexec_fn=processes.new_session()
    )
    assert leader.stdout is not None
    leader.stdout.readline()
    return leader


def test_end_group_asks_first():
    leader = start_leader(SLEEPER)
    assert os.getpgid(leader.pid) == leader.pid
    assert processes.end_group(leader, grace=PATIENCE) == -signal.SIGTERM


def test_end_group_kills_what_does_not_listen():
    assert processes.end_group(start_leader(STUBBORN), grace=0.2) == -signal.SIGKILL


def test_end_group_takes_the_members_along():
    """The leader ends at SIGTERM, a member of its group does not."""
    leader = start_leader(
        "import subprocess, sys, signal\n"
        f"m = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], stdout=subprocess.PIPE)\n"
        "m.stdout.readline(); print('ready', flush=True); signal.pause()"
    )
    (member,) = psutil.Process(leader.pid).children()
    assert processes.end_group(leader, grace=PATIENCE) == -signal.SIGTERM
    member.wait(PATIENCE)


def test_end_group_of_an_ended_group_returns_its_code():
    leader = start_leader("print('ready', flush=True); raise SystemExit(7)")
    leader.wait(PATIENCE)
    assert processes.end_group(leader) == 7


def test_wait_for_exit_of_a_pid_that_does_not_exist_returns():
    processes.wait_for_exit(2**22 - 1)
    assert not processes.is_alive(2**22 - 1)
    assert processes.is_alive(os.getpid())
