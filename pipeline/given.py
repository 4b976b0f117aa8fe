"""The settings that this process was given on its command line, and commands for people that repeat them.

A command in a message does what it says only with the settings of the call that it is about: without its `data_dir` and
its `base_url` it would mean another database and the real source.
"""

from __future__ import annotations

import pathlib
import shlex
import shutil
import sys
from collections.abc import Sequence

import luigi.configuration

from pipeline.config import all_settings
from pipeline.masking import MASK, secrets

#: What people run for a date, and `pipeline retry` runs again.
RETRIED = ("DailyPipeline", "RedisWatchlistSync", "ManualFullSync", "ConfirmSession", "PublishLake")

_values: dict[tuple[str, str], str] = {}


def give(section: str, name: str, value: str) -> None:
    """Give a setting a value for the life of this process."""
    luigi.configuration.get_config().set(section, name, value.replace("%", "%%"))
    _values[section, name] = value


def is_given(section: str, name: str) -> bool:
    """Whether the command line has given the setting."""
    return (section, name) in _values


def option(section: str, name: str) -> str:
    """How a setting is written on Luigi's command line."""
    return f"--{section}-{name}".replace("_", "-")


def options() -> dict[str, tuple[str, str]]:
    """Every setting of ours, by its option on Luigi's command line."""
    return {option(section, name): (section, name) for section, name in all_settings()}


def luigi_options() -> list[str]:
    """The settings given, as options of Luigi's command line."""
    return [part for (section, name), value in _values.items() for part in (option(section, name), value)]


def luigi_command(task: str, *words: str) -> str:
    """A run of Luigi, as people type it, with the settings given; values of secrets are masked."""
    return shlex.join([_program("luigi"), "--module", "pipeline", task, *words, *_shown(luigi_options())])


def retry_command(task: str, date: str, *words: str) -> str:
    """`pipeline retry` of a task, with the settings given and further options of Luigi's."""
    return shlex.join([_program("pipeline"), *_retry(task, date), *words, *_shown(luigi_options())])


def retry(task: str, date: str) -> str:
    """`pipeline retry` of a task, with the settings given as our own commands take them."""
    return pipeline_command(*_retry(task, date))


def _retry(task: str, date: str) -> list[str]:
    return ["retry", date, *([] if task == "DailyPipeline" else ["--task", task])]


def pipeline_command(*words: str) -> str:
    """A command of ours, as people type it, with the settings given."""
    settings = []
    for (section, name), value in _values.items():
        if (section, name) == ("storage", "data_dir"):
            settings += ["--data-dir", value]
        elif (section, name) not in secrets():
            settings += ["--set", f"{section}.{name}={value}"]
    return shlex.join([_program("pipeline"), *words, *settings])


def _program(name: str) -> str:
    """The name of a program of ours; its path, where a shell would not find it: as long as `.venv` is not active."""
    beside, here = pathlib.Path(sys.executable).with_name(name), pathlib.Path.cwd()
    if shutil.which(name) or not beside.exists():
        return name
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def _shown(words: Sequence[str]) -> list[str]:
    hidden = {option(*setting) for setting in secrets()}
    return [MASK if before in hidden else word for before, word in zip(["", *words], words, strict=False)]
