"""Writes constraints.txt: what the project needs, resolved by pip, each release with the hashes of all its files.

All files, because Linux, macOS and each Python take another one. pip resolves for the Python that this runs with; a
release that the first release of any of PYTHONS may not install (Debian 12 has 3.11.2) makes way for one before it, and
that the others need nothing else is checked by the markers of every release.
"""

from __future__ import annotations

import configparser
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE = ROOT / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13")
HEAD = """\
# What scripts/environment installs: every release that the project needs, \
with the hashes of all its files. Each part is
# installed with those before it. Written by scripts/constraints, and held to setup.cfg by tests/test_constraints.py.
"""
Release = tuple[str, str]


def main(options: Sequence[str]) -> None:
    parts = resolved_parts(options)
    releases = sorted({release for part in parts.values() for release in part})
    with ThreadPoolExecutor(8) as pool:
        hashes = dict(zip(releases, pool.map(hashes_of, releases), strict=True))
    FILE.write_text(HEAD + "".join(f"\n# --- {name}\n{listed(part, hashes)}" for name, part in parts.items()))
    sys.stderr.write(f"{FILE.name}: {len(releases)} releases; now run the tests\n")


def listed(part: Iterable[Release], hashes: dict[Release, list[str]]) -> str:
    return "".join(
        " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{value}" for value in hashes[name, version])]) + "\n"
        for name, version in part
    )


def resolved_parts(options: Sequence[str]) -> dict[str, list[Release]]:
    """The releases of each part that are in none before it: what builds, the project, each extra in its order."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = json.loads(pyproject.split("requires = ")[1].split("\n")[0])
    wanted_by = {"build": wanted, "base": lines(config["options"]["install_requires"])}
    wanted_by |= {name: lines(text) for name, text in config["options.extras_require"].items()}
    everything = resolve_for_all([each for part in wanted_by.values() for each in part], options)
    check_pythons(everything.values())
    parts: dict[str, list[Release]] = {}
    known: set[str] = set()
    for name, part in wanted_by.items():
        needed = closure(part, everything) - known
        known |= needed
        parts[name] = [(each, everything[each]["version"]) for each in sorted(needed)]
    return parts


def lines(text: str) -> list[str]:
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def resolve_for_all(requirements: Sequence[str], options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The same as `resolve`, of releases that every release of PYTHONS may install."""
    refused: list[str] = []
    while True:
        found = resolve([*requirements, *refused], options)
        newer = [f"{name}!={each['version']}" for name, each in found.items() if not is_for_all(each)]
        if not newer:
            return found
        refused += newer


def is_for_all(metadata: dict[str, Any]) -> bool:
    allowed = SpecifierSet(metadata.get("requires_python") or "")
    return all(allowed.contains(f"{python}.0") for python in PYTHONS)


def resolve(requirements: Sequence[str], options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What pip would install for the requirements into an empty place: the metadata of each, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        subprocess.run([*command, "--report", report, *options, *requirements], check=True)
        found = json.loads(report.read_text())["install"]
    return {canonicalize_name(each["metadata"]["name"]): each["metadata"] for each in found}


def closure(requirements: Iterable[str], everything: dict[str, dict[str, Any]]) -> set[str]:
    """The names that the requirements need, with all that those need in turn, on any of PYTHONS."""
    needed: set[str] = set()
    waiting = [Requirement(each) for each in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in everything and (name not in needed or requirement.extras):
            needed.add(name)
            waiting += [each for python in PYTHONS for each in needs(everything[name], requirement.extras, python)]
    return needed


def needs(metadata: dict[str, Any], extras: Iterable[str], python: str) -> Iterator[Requirement]:
    """What a release needs on a Python of this machine's kind."""
    for each in map(Requirement, metadata.get("requires_dist", [])):
        place = {"python_version": python, "python_full_version": f"{python}.0"}
        if each.marker is None or any(each.marker.evaluate({**place, "extra": extra}) for extra in ("", *extras)):
            yield each


def check_pythons(everything: Iterable[dict[str, Any]]) -> None:
    """End with an error when some Python needs a release that pip did not find necessary for this one."""
    found = {canonicalize_name(metadata["name"]): metadata for metadata in everything}
    for metadata in found.values():
        for python in PYTHONS:
            for each in needs(metadata, (), python):
                if canonicalize_name(each.name) not in found:
                    sys.exit(f"{metadata['name']} needs {each.name} on Python {python}: name it in setup.cfg, too")


def hashes_of(release: Release) -> list[str]:
    """The hashes of all files of a release, from the package index that pip asks."""
    name, version = release
    address = f"{index()}/{name}/"
    request = urllib.request.Request(address, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    found = sorted(file["hashes"]["sha256"] for file in files if version_of(file["filename"]) == version)
    if not found:
        sys.exit(f"{address} has no file of {name} {version}")
    return found


def version_of(filename: str) -> str | None:
    try:
        if filename.endswith(".whl"):
            return str(parse_wheel_filename(filename)[1])
        return str(parse_sdist_filename(filename)[1])
    except ValueError:  # an egg, an installer
        return None


def index() -> str:
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (os.environ.get("PIP_INDEX_URL") or said or "https://pypi.org/simple").rstrip("/")


if __name__ == "__main__":
    main(sys.argv[1:])
