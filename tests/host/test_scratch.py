"""Folders of a process, and what a killed one left."""

import dataclasses

from pipeline.host.owner import Owner, this_process
from pipeline.host.scratch import scratch_folder


def test_scratch_folder_goes_with_its_files(data_dir):
    with scratch_folder("spark") as folder:
        (folder / "blockmgr-1").mkdir()
        (folder / "blockmgr-1" / "block").touch()
    assert not list((data_dir / "work" / "spark").iterdir())


def test_scratch_folders_of_killed_processes_go_those_of_others_stay(data_dir):
    mine = this_process()
    dead, other = dataclasses.replace(mine, started=mine.started - 100), Owner("other", 1, 1.0)
    living = dataclasses.replace(mine)
    parent = data_dir / "work" / "spark"
    for name in (dead, other):
        (parent / str(name)).mkdir(parents=True)
    with scratch_folder("spark") as folder:
        assert folder.name == str(living)
    assert [path.name for path in parent.iterdir()] == [str(other)]
