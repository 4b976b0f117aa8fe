"""Files that appear whole or not at all."""

import signal
import subprocess
import sys

import pytest

from pipeline.host.files import atomic_path, write_text


def test_a_file_appears_at_the_end_of_the_block(tmp_path):
    target = tmp_path / "new folder" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.parent == target.parent  # a rename over the border of file systems is none
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="in the middle"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("in the middle")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_unfinished_file_is_hidden_from_the_glob_of_its_kind(tmp_path):
    with atomic_path(tmp_path / "batch-0001.parquet") as temporary:
        temporary.write_bytes(b"half")
        assert list(tmp_path.glob("batch-*.parquet")) == []


KILLED = """
import pathlib, sys
from pipeline.host.files import atomic_path
with atomic_path(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "old")
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert target.read_text() == "old"


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "file.txt", "L'Oréal – 株")
    assert (tmp_path / "file.txt").read_bytes().decode("utf-8") == "L'Oréal – 株"
