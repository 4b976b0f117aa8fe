"""Folders of a process, and what a killed one left."""

import os
import socket
import subprocess
import sys

from pipeline.scratch import scratch_folder


def test_scratch_folder_goes_with_its_files(data_dir):
    with scratch_folder("spark") as folder:
        (folder / "blockmgr-1").mkdir()
        (folder / "blockmgr-1" / "block").touch()
    assert not list((data_dir / "work" / "spark").iterdir())


def test_scratch_folders_of_killed_processes_go_those_of_others_stay(data_dir):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    parent = data_dir / "work" / "spark"
    names = {
        name: parent / name for name in (f"{socket.gethostname()}@{dead.pid}", f"{socket.gethostname()}@1", "other@1")
    }
    for folder in names.values():
        folder.mkdir(parents=True)
    with scratch_folder("spark") as mine:
        assert mine.name == f"{socket.gethostname()}@{os.getpid()}"
    assert sorted(path.name for path in parent.iterdir()) == sorted([f"{socket.gethostname()}@1", "other@1"])
