"""What a killed run has left half made goes when the next one begins, and nothing else."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from pipeline.host import owner
from pipeline.runs import leftovers


@pytest.fixture
def ended() -> owner.Owner:
    """A process of this host that is gone."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = owner.of(process.pid)
    process.communicate(b"\n")
    return found


FOLDERS = ("", "replica", "backup", "reports", "metrics", "markers/CloseSession", "raw/prices/2024-02-16", "luigid")


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_file_of_a_process_that_is_gone_goes(data_dir: pathlib.Path, ended: owner.Owner, folder: str) -> None:
    left, living, whole = (
        data_dir / folder / name
        for name in (f".x.json!{ended}.partial", f".x.json!{owner.this_process()}.partial", "x.json")
    )
    left.parent.mkdir(parents=True, exist_ok=True)
    for path in (left, living, whole):
        path.write_text("{}")
    leftovers.sweep()
    assert [path.exists() for path in (left, living, whole)] == [False, True, True]


def test_a_folder_in_the_making_goes_whole(data_dir: pathlib.Path, ended: owner.Owner) -> None:
    left = data_dir / "cache" / "spark" / f".pyspark!{ended}.partial"
    left.mkdir(parents=True)
    (left / "jars").symlink_to("/")
    leftovers.sweep()
    assert not left.is_symlink()
    assert not left.exists()


def test_the_scratch_folder_of_a_process_that_is_gone_goes(data_dir: pathlib.Path, ended: owner.Owner) -> None:
    """Also where its stage was done before it was killed, so that the stage is not run again."""
    folder = data_dir / "work" / "indicators"
    names = (str(ended), str(owner.this_process()), "somebody's", f"elsewhere@{ended.pid}@{ended.started:.2f}")
    for name in names:
        (folder / name / "bars").mkdir(parents=True)
    leftovers.sweep()
    assert sorted(path.name for path in folder.iterdir()) == sorted(names[1:])
