"""constraints.txt against setup.cfg: every requirement pinned within its range, all it needs too, all with hashes."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import subprocess
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipeline.config import ROOT

TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")
CONFIG = configparser.ConfigParser(interpolation=None)
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
PARTS = ("build", "base", *CONFIG["options.extras_require"])
AGAIN = "scripts/constraints writes it anew"


def pins(part: str) -> dict[str, Version]:
    """The releases of one part, by name."""
    text = TEXT.split(f"# --- {part}\n")[1].split("\n# --- ")[0]
    return {name: Version(version) for name, version in re.findall(r"^([a-z0-9-]+)==([^ ]+) \\$", text, re.MULTILINE)}


def up_to(part: str) -> dict[str, Version]:
    return {name: version for each in PARTS[: PARTS.index(part) + 1] for name, version in pins(each).items()}


def required() -> Iterator[tuple[str, Requirement]]:
    texts = {"base": CONFIG["options"]["install_requires"], **CONFIG["options.extras_require"]}
    for part, text in texts.items():
        for line in text.splitlines():
            if line.strip() and not line.strip().startswith("#"):
                yield part, Requirement(line)
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]:
        yield "build", Requirement(line)


@pytest.mark.parametrize(("part", "requirement"), required(), ids=str)
def test_every_requirement_is_pinned_within_its_range(part: str, requirement: Requirement) -> None:
    found = up_to(part).get(canonicalize_name(requirement.name))
    assert found is not None, f"{requirement.name} of setup.cfg is not in constraints.txt; {AGAIN}"
    assert requirement.specifier.contains(found), f"{requirement} and {found} in constraints.txt; {AGAIN}"


def test_every_part_is_there_in_order_and_pins_nothing_twice() -> None:
    assert re.findall(r"^# --- (\w+)$", TEXT, re.MULTILINE) == list(PARTS)
    names = [name for part in PARTS for name in pins(part)]
    assert len(names) == len(set(names)) > 60


def test_every_line_is_a_release_with_hashes() -> None:
    entries = [entry for entry in re.split(r"\n(?=\S)", TEXT) if entry and not entry.startswith("#")]
    assert len(entries) == len(re.findall("==", TEXT))
    shape = re.compile(r"[a-z0-9-]+==[^ \n]+( \\\n    --hash=sha256:[0-9a-f]{64})+\s*")
    assert [entry[:60] for entry in entries if not shape.fullmatch(entry)] == []


def test_what_the_releases_need_is_there() -> None:
    known = up_to(PARTS[-1])
    missing = []
    for name in known:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another platform, or not installed here
            continue
        for each in map(Requirement, needs):
            if (each.marker is None or each.marker.evaluate({"extra": ""})) and canonicalize_name(
                each.name
            ) not in known:
                missing.append(f"{name} needs {each.name}")
    assert missing == [], AGAIN


@pytest.mark.parametrize("part", PARTS)
def test_the_script_takes_each_part_with_those_before_it(part: str) -> None:
    cut = ["bash", "-c", f'. scripts/environment; parts_up_to "{part}"']
    said = subprocess.run(cut, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert dict.fromkeys(re.findall(r"^([a-z0-9-]+)==", said, re.MULTILINE)) == dict.fromkeys(up_to(part))
