"""The files that settings come from: which are read, and what stands in them that nobody reads.

config/luigi.cfg is always read, with what a run cannot do without (its exit codes, retries, the wrapper of its tasks);
the operator's own file, which `LUIGI_CONFIG_PATH` names, is read after it and wins.
"""

from __future__ import annotations

import configparser
import difflib
import os
import pathlib
import warnings
from collections.abc import Iterator

import luigi.configuration
from luigi.parameter import UnconsumedParameterWarning

from pipeline import luigi_private
from pipeline.bounds import check_settings
from pipeline.config import ROOT, SECTIONS, Section
from pipeline.errors import ConfigurationError

PROJECT_FILE = ROOT / "config" / "luigi.cfg"
VARIABLE = "LUIGI_CONFIG_PATH"

#: Sections that Luigi reads without declaring them, and their settings; None where any name is one.
UNDECLARED: dict[str, set[str] | None] = {
    "DEFAULT": None,
    "resources": None,
    "task_history": {"db_connection"},
    "prometheus": {"use_task_family_in_labels", "task_parameters_to_use_in_labels"},
    "spark": {
        *("spark_submit", "master", "deploy_mode", "jars", "packages", "py_files", "files", "conf", "properties_file"),
        *("driver_memory", "driver_java_options", "driver_library_path", "driver_class_path", "executor_memory"),
        *("driver_cores", "supervise", "total_executor_cores", "executor_cores", "queue", "num_executors", "archives"),
        *("hadoop_conf_dir", "py_packages", "pickle_protocol", "pyspark_python", "pyspark_driver_python"),
        *("hadoop_user_name",),
    },
}


def read_files() -> None:
    """Make config/luigi.cfg, and over it the file of `LUIGI_CONFIG_PATH`, Luigi's configuration."""
    # Luigi's own paths have the operator's file already: it is to be read after ours
    for path in (str(PROJECT_FILE), os.environ.get(VARIABLE, "")):
        if pathlib.Path(path).is_file():  # see check_files
            luigi.configuration.add_config_path(path)
    luigi_private.expect_rpc_settings()
    # Luigi's own warning of what nobody reads shows the value, which may be a secret; see unknown_settings
    warnings.simplefilter("ignore", UnconsumedParameterWarning)


def check_files() -> None:
    """Raises ConfigurationError when the operator's file is named and cannot be read."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return
    if not named.strip():
        raise ConfigurationError(f"{VARIABLE} is set and empty; unset it, or have it name a file of settings")
    path = pathlib.Path(named)
    try:
        path.read_bytes()
    except OSError as error:
        near = difflib.get_close_matches(path.name, _names_in(path.parent), n=1)
        hint = f"; the nearest name there is {near[0]}" if near else ""
        raise ConfigurationError(f"{VARIABLE} = {named}: {error.strerror}{hint}. Correct it, or unset it") from error


def _names_in(folder: pathlib.Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if os.access(folder, os.R_OK | os.X_OK) else []


def check() -> None:
    """Raises ConfigurationError for a file that cannot be read, and for settings whose values cannot work."""
    check_files()
    for section in SECTIONS:
        check_section(section)
    check_settings()


def check_section(section: type[Section]) -> None:
    """Raises ConfigurationError for a value of another type than the setting's."""
    try:
        section()
    except (configparser.Error, ValueError) as error:  # a `%` that is not doubled; letters where a number belongs
        reason = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        raise ConfigurationError(f"[{section.__name__}] cannot be read: {' '.join(reason.split())}") from error


def unknown_settings() -> list[str]:
    """A sentence for each section and setting of the files that neither Luigi nor we read, with the nearest name."""
    return [sentence for path in files() for sentence in _unknown_in(path)]


def files() -> list[pathlib.Path]:
    """The configuration files that are read; a later one wins."""
    paths = reversed(luigi_private.configuration_files())  # the place of one named twice is its last
    return [path for path in dict.fromkeys(paths) if path.is_file()][::-1]


def _unknown_in(path: pathlib.Path) -> Iterator[str]:
    raw = configparser.RawConfigParser(strict=False)
    raw.optionxform = str  # type: ignore[assignment, method-assign]  # names count as they are written
    raw.read(path, encoding="utf-8")
    known = known_settings()
    for section in raw.sections():
        if section not in known:
            yield f"{path} has a section [{section}] that nobody reads{_nearest(section, known)}"
            continue
        names = known[section]
        for name in raw.options(section):
            if names is not None and name.replace("-", "_") not in names and name not in raw.defaults():
                yield f"{path} has a setting [{section}] {name} that nobody reads{_nearest(name, names)}"


def _nearest(name: str, known: set[str] | dict[str, set[str] | None]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest one is {near[0]}" if near else ""


def known_settings() -> dict[str, set[str] | None]:
    """The settings that are read, by section; None for a section that takes any. Tasks are sections, too."""
    known: dict[str, set[str] | None] = dict(UNDECLARED)
    for section, name in luigi_private.known_settings():
        names = known.setdefault(section, set())
        if names is not None:
            names.add(name.replace("-", "_"))
    return known
