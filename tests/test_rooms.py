"""The rooms of the pipeline: which there are, who may import whom, and that each says what it is for."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

from pipeline.config import ROOT

PACKAGE = ROOT / "pipeline"

#: From the ground up: a room imports the ground, itself, and the rooms before it.
ROOMS = (
    "host",
    "database",
    "events",
    "sources",
    "market",
    "indicators",
    "watchlist",
    "feed",
    "lake",
    "runs",
    "report",
    "tasks",
    "cli",
)

#: The faces of the package, which bring the rooms together: what Luigi imports, and what Python runs.
FACES = {"pipeline", "pipeline.__main__"}


def room_of(module: str) -> str:
    """The room that a module lies in; empty for the ground."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else ""


def name_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: pathlib.Path) -> Iterator[str]:
    """Every module of the pipeline that a file imports, at any place in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("pipeline."))
        elif isinstance(node, ast.ImportFrom) and node.module == "pipeline":
            yield from (f"pipeline.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline."):
            yield node.module or ""


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def may_import(importer: str, imported: str) -> bool:
    if importer in FACES or not room_of(imported):
        return True
    return room_of(importer) != "" and ROOMS.index(room_of(imported)) <= ROOMS.index(room_of(importer))


def test_no_import_goes_upward() -> None:
    upward = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imports_of(path)
        if not may_import(name, other)
    ]
    assert upward == []


def test_the_rule_sees_an_import_that_goes_upward() -> None:
    assert not may_import("pipeline.market.load", "pipeline.tasks.prices")
    assert not may_import("pipeline.host.files", "pipeline.database.connection")
    assert may_import("pipeline.tasks.prices", "pipeline.market.load")


def test_every_folder_is_a_room() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(ROOMS)


def test_few_modules_stay_on_the_ground() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]) <= 12


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_comes_in_what_goes_out_and_who_may_import_it(room: str) -> None:
    said = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert "import it" in said or "imports it" in said
    assert len(said) > 200


@pytest.mark.parametrize("room", ROOMS)
def test_the_tests_have_the_same_rooms(room: str) -> None:
    assert list((ROOT / "tests" / room).rglob("test_*.py"))
