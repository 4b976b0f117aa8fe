"""What this project uses of Luigi and Luigi does not promise: all of it in one module, and still there."""

from __future__ import annotations

import argparse
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import luigi
import luigi.configuration
import luigi.interface
import luigi.scheduler
import luigi.worker
import pytest
from luigi.cmdline_parser import CmdlineParser

from pipeline import luigi_private
from pipeline.config import ROOT

#: Where each name is looked for, and what goes wrong without it.
PRIVATE = [
    (luigi.interface.core, "ignore_unconsumed", "each run warns of settings that Luigi itself reads"),
    (type(luigi.configuration.get_config()), "_config_paths", "`pipeline config` cannot say where a value comes from"),
    (CmdlineParser, "_build_parser", "the rerun of a finished date takes a fifth longer"),
    (luigi.Parameter, "_value_iterator", "--date has no default that is asked for late"),
    (luigi.worker, "_get_retry_policy_dict", "a tracking URL resets how often a task is tried"),
    (luigi.worker.Worker, "_create_task_process", "a run waits for ever for a task that has timed out"),
    (luigi.scheduler.Scheduler, "_schedulable", "two runs take each other's sessions into one combined task"),
    (luigi.scheduler.Scheduler, "_prune_tasks", "the task of a killed run is not handed to the next one"),
    (luigi.scheduler.SimpleTaskState, "get_active_workers", "the task of a killed run is not handed to the next one"),
    (luigi.scheduler.SimpleTaskState, "get_active_tasks_by_status", "the task of a killed run is not found"),
    (luigi.scheduler.SimpleTaskState, "set_status", "the task of a killed run is not put back"),
    (luigi.scheduler.SimpleTaskState, "get_state", "luigid's state is not saved while it runs"),
]
#: Attributes that are set in a constructor, which inspection of the class does not show.
SET_IN = [
    (luigi.worker.TaskStatusReporter, ("_scheduler", "_task_id", "_worker_id"), "a tracking URL cannot be told"),
    (
        luigi.worker.TaskProcess,
        ("result_queue", "use_multiprocessing"),
        "a run waits for ever for a task that has timed out",
    ),
    (luigi.scheduler.Scheduler, ("_state", "_config"), "the task of a killed run is not put back"),
]
TEXTS = [
    (luigi_private.WORKER_PREFIX, "lines on tasks keep the worker's name"),
    ("Informed scheduler that task", "the log tells what the scheduler was told"),
    ("Done scheduling tasks", "the log tells of the scheduling"),
    (luigi_private.UNANSWERED_PING, "the log tells of each ping that luigid, being away, does not answer"),
    ("Unfulfilled %s at run time", "a task that is put back is recorded as failed"),
]


@pytest.mark.parametrize(
    ("owner", "name", "consequence"), PRIVATE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_name_is_there(owner: object, name: str, consequence: str) -> None:
    assert hasattr(owner, name), f"this Luigi has no {owner}.{name}: {consequence}"


@pytest.mark.parametrize(("owner", "names", "consequence"), SET_IN, ids=lambda value: getattr(value, "__name__", ""))
def test_the_attribute_is_set(owner: type, names: tuple[str, ...], consequence: str) -> None:
    source = inspect.getsource(owner.__init__)
    for name in names:
        assert re.search(rf"self\.{name} *=", source), f"this Luigi sets no {owner.__name__}.{name}: {consequence}"


@pytest.mark.parametrize(("text", "consequence"), TEXTS)
def test_the_line_is_logged(text: str, consequence: str) -> None:
    source = inspect.getsource(luigi.worker) + inspect.getsource(luigi.interface)
    assert text in source, f"this Luigi logs no {text!r}: {consequence}"


def test_the_command_line_is_recognised_by_the_module_that_only_it_imports() -> None:
    for start in (("-m", "luigi", "--version"), (str(Path(sys.executable).with_name("luigi")), "--version")):
        ran = subprocess.run([sys.executable, "-v", *start], capture_output=True, text=True, check=False)
        assert "import 'luigi.cmdline'" in ran.stderr
    ran = subprocess.run([sys.executable, "-v", "-c", "import luigi"], capture_output=True, text=True, check=True)
    assert "import 'luigi.cmdline'" not in ran.stderr


def test_no_other_module_touches_a_private_name_of_luigi() -> None:
    names = {name for _, name, _ in PRIVATE if name.startswith("_")} | {n for _, group, _ in SET_IN for n in group}
    pattern = re.compile(rf"(?<!self)\.({'|'.join(sorted(names))})\b|import .*\b_get_retry_policy_dict")
    for path in (ROOT / "pipeline").rglob("*.py"):
        if path.name != "luigi_private.py":
            assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_a_program_that_is_no_run_gets_the_tasks_and_nothing_else(tmp_path: Path) -> None:
    """Even one whose arguments look like Luigi's: no argument is parsed, no lock taken, nothing written, no exit."""
    program = textwrap.dedent(
        """
        import signal, sys
        sys.argv = ["luigi", "--date", "2024-02-20,2024-02-21", "--storage-data-dir", sys.argv[1]]
        before = signal.getsignal(signal.SIGTERM), sys.excepthook
        import pipeline
        assert (signal.getsignal(signal.SIGTERM), sys.excepthook) == before
        print(pipeline.DailyPipeline.task_family)
        """
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.split() == ["DailyPipeline"]
    assert not (tmp_path / "data").exists()


def test_a_parser_is_built_once_and_knows_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = CmdlineParser._build_parser

    def counted(root_task: str | None = None, help_all: bool = False) -> argparse.ArgumentParser:
        built.append(root_task)
        return build(root_task=root_task, help_all=help_all)

    monkeypatch.setattr(CmdlineParser, "_build_parser", staticmethod(counted))
    luigi_private.build_parsers_once()
    for _ in range(3):
        known = CmdlineParser(["DailyPipeline", "--date", "2024-02-16"]).known_args
        assert (known.root_task, known.date) == ("DailyPipeline", "2024-02-16")
    assert built == [None, "DailyPipeline"]

    class MadeLater(luigi.Task):
        colour = luigi.Parameter(default="red")

    known = CmdlineParser(["MadeLater", "--colour", "blue"]).known_args
    assert (known.root_task, known.colour) == ("MadeLater", "blue")
    assert built == [None, "DailyPipeline", None, "MadeLater"]
