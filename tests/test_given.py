"""Commands in messages are such that a shell finds them."""

import os
import pathlib
import sys

import pytest

from pipeline import given

PROGRAMS = pathlib.Path(sys.executable).parent


@pytest.fixture
def elsewhere(monkeypatch):
    """A shell in which the environment is not active."""
    paths = os.environ["PATH"].split(os.pathsep)
    monkeypatch.setenv("PATH", os.pathsep.join(path for path in paths if pathlib.Path(path) != PROGRAMS))
    monkeypatch.setattr(given.shutil, "which", lambda name: None)  # whatever else is installed on this machine


def test_a_program_that_the_shell_finds_is_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert given.pipeline_command("status") == "pipeline status"
    assert given.luigi_command("DailyPipeline") == "luigi --module pipeline DailyPipeline"
    assert given.retry_command("DailyPipeline", "2024-02-16") == "pipeline retry 2024-02-16"


def test_another_one_is_the_path_from_here(elsewhere, monkeypatch):
    monkeypatch.chdir(PROGRAMS.parent)
    assert given.pipeline_command("status") == f"{PROGRAMS.name}/pipeline status"
    assert given.retry_command("DailyPipeline", "2024-02-16") == f"{PROGRAMS.name}/pipeline retry 2024-02-16"


def test_from_another_folder_it_is_the_whole_path(elsewhere, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert given.luigi_command("DailyPipeline") == f"{PROGRAMS / 'luigi'} --module pipeline DailyPipeline"
    assert pathlib.Path(given.luigi_command("DailyPipeline").split()[0]).exists()


def test_one_that_is_not_there_is_its_name(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert given.pipeline_command("status") == "pipeline status"
