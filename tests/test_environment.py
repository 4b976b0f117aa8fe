"""scripts/environment in a checkout of its own: a project without dependencies whose build answers to the test."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import zipfile

import pytest

from pipeline.config import ROOT

# The interpreter behind this virtual environment, by its full name: fakes stand before it on the PATH.
PYTHON = getattr(sys, "_base_executable", sys.executable)

# An in-tree build backend, so that pip installs without a package index. It counts its calls, and where a pipe named
# `gate` exists it stands still until the test opens the other end.
BACKEND = """
import os, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with open("builds", "a") as log:
        log.write("build\\n")
    if os.path.exists("gate"):
        open("gate", "w").close()
        open("gate", "w").close()
    name = "example-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("example-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: example\\nVersion: 1.0\\n")
        tags = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr("example-1.0.dist-info/WHEEL", tags)
        wheel.writestr("example-1.0.dist-info/RECORD", "")
    return name
"""


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with a space in its name, scripts/environment, and a project that builds without network."""
    root = tmp_path / "a checkout"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "environment", root / "scripts")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (root / "backend.py").write_text(BACKEND)
    (root / "setup.cfg").write_text("[metadata]\nname = example\n")
    return root


def command(checkout: pathlib.Path, script: str) -> list[str]:
    return ["bash", "-c", f'. "$1/scripts/environment"\n{script}', "scripts/example", str(checkout)]


def run(checkout: pathlib.Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": PYTHON, **variables}
    return subprocess.run(command(checkout, script), env=environment, capture_output=True, text=True)


def builds(checkout: pathlib.Path) -> int:
    return len((checkout / "builds").read_text().splitlines())


def fake(folder: pathlib.Path, name: str, body: str) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_shim_that_does_not_run_is_passed_over(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("python3.13", "python3.12", "python3.11"):
        fake(tmp_path / "shims", name, "echo 'pyenv: command not found' >&2; exit 127")
    fake(tmp_path / "good", "python3.11", f'exec "{PYTHON}" "$@"')
    path = f"{tmp_path}/shims:{tmp_path}/good:/usr/bin:/bin"
    done = run(checkout, 'find_python; "$python" -c "print(1 + 1)"', PYTHON="", PATH=path)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_old_python_is_refused_by_name(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    old = fake(tmp_path / "old", "python3", 'test "$1" = --version && echo "Python 3.8.1" || exit 1')
    done = run(checkout, "environment", PYTHON=str(old))
    assert done.returncode == 1
    assert f"needs Python 3.11, 3.12 or 3.13, found: {old} (Python 3.8.1)" in done.stderr
    assert not (checkout / ".venv").exists()


def test_missing_ensurepip_is_one_line_with_the_command(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    body = f'case "$2" in *ensurepip*) exit 1;; esac; exec "{PYTHON}" "$@"'
    bare = fake(tmp_path / "bare", "python3", body)
    # What lies behind a wrapper is the real interpreter, which has it all; here the wrapper shall count.
    script = 'suitable() { printf "%s\\n" "$1"; }; may_apt() { return 1; }; environment'
    done = run(checkout, script, PYTHON=str(bare))
    package = f"python3.{sys.version_info.minor}-venv"
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"scripts/example: {bare} cannot make a virtual environment; "
        f"run as root: apt-get update && apt-get install -y {package}"
    ]


def test_only_settings_of_the_package_index_are_inherited(checkout: pathlib.Path) -> None:
    foreign = {"PIP_TARGET": "/nowhere", "PIP_USER": "1", "PYTHONPATH": "/nowhere", "VIRTUAL_ENV": "/nowhere",
               "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    kept = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CERT": "/some/ca.crt", "PIP_DEFAULT_TIMEOUT": "7"}
    done = run(checkout, "env", **foreign, **kept)
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert foreign.keys() & seen.keys() == set()
    assert {name: seen.get(name) for name in kept} == kept


@pytest.mark.long
def test_installs_once_and_again_when_something_changed(checkout: pathlib.Path) -> None:
    for _ in range(2):
        assert run(checkout, "environment").returncode == 0
    assert builds(checkout) == 1

    (checkout / "setup.cfg").write_text("[metadata]\nname = example\nversion = 1.0\n")
    (checkout / ".venv" / "kept").touch()
    assert run(checkout, "environment").returncode == 0
    assert builds(checkout) == 2
    assert (checkout / ".venv" / "kept").exists()

    moved = checkout.rename(checkout.with_name("moved"))
    assert run(moved, "environment").returncode == 0
    assert builds(moved) == 3
    assert not (moved / ".venv" / "kept").exists()


@pytest.mark.slow
@pytest.mark.long
def test_killed_installation_starts_anew(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    os.mkfifo(checkout / "gate")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "PYTHON": PYTHON, "TMPDIR": str(temporary)}
    killed = subprocess.Popen(command(checkout, "environment"), env=environment, start_new_session=True)
    with open(checkout / "gate"):  # opens when pip is in the middle of the installation
        os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (checkout / ".venv" / "installed").exists()
    assert list(temporary.iterdir()) == []

    (checkout / "gate").unlink()
    (checkout / ".venv" / "left by the killed one").touch()
    done = run(checkout, "environment")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (checkout / ".venv").iterdir()} >= {"installed", "bin", "pyvenv.cfg"}
    assert not (checkout / ".venv" / "left by the killed one").exists()
    assert not (checkout / ".venv" / "unfinished").exists()


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ([], []),
        (["--date", "2024-02-20", "--workers", "2"], ["2024-02-20"]),
        (["--date=2024-02-20", "--storage-data-dir", "/a b"], ["2024-02-20", "--data-dir", "/a b"]),
        (["--storage-data-dir=demo"], ["--data-dir", "demo"]),
        (["--date"], [""]),
    ],
)
def test_day_and_folder_of_a_run_are_those_of_the_list_after_it(
    checkout: pathlib.Path, given: list[str], where: list[str]
) -> None:
    script = 'shift; named "$@"; printf "%s\\n" ${where[@]+"${where[@]}"}'
    done = subprocess.run([*command(checkout, script), *given], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == (where or [""])


@pytest.mark.parametrize(("no_root", "is_asked"), [("", True), ("1", False)])
def test_what_is_done_as_root_is_said_before_and_can_be_turned_off(
    checkout: pathlib.Path, tmp_path: pathlib.Path, no_root: str, is_asked: bool
) -> None:
    bare = fake(tmp_path / "bare", "python3", f'case "$2" in *ensurepip*) exit 1;; esac; exec "{PYTHON}" "$@"')
    package = f"python3.{sys.version_info.minor}-venv"
    asked = tmp_path / "asked"
    fake(tmp_path / "bin", "apt-get", f'echo "$@" >>"{asked}"; exit 1')
    fake(tmp_path / "bin", "sudo", 'shift; exec "$@"')
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    script = 'suitable() { printf "%s\\n" "$1"; }; environment'
    done = run(checkout, script, PYTHON=str(bare), PATH=path, NO_ROOT=no_root)
    assert done.returncode == 1
    assert asked.exists() == is_asked
    assert (f"Installing as root: apt-get install {package}" in done.stderr) == is_asked
    assert f"run as root: apt-get update && apt-get install -y {package}" in done.stderr


def wheel(folder: pathlib.Path, name: str) -> str:
    """A wheel without contents; its SHA-256."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def constrain(checkout: pathlib.Path, **hashes: str) -> None:
    parts = zip(("build", "base", "test"), hashes.items(), strict=True)
    text = "".join(f"\n# --- {part}\n{name}==1.0 \\\n    --hash=sha256:{value}\n" for part, (name, value) in parts)
    (checkout / "constraints.txt").write_text(text)


def here(checkout: pathlib.Path, name: str) -> bool:
    return bool(list(checkout.glob(f".venv/lib/python*/site-packages/{name}-1.0.dist-info")))


def test_the_releases_of_the_list_are_installed_and_those_of_other_extras_are_not(
    checkout: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    wheels = tmp_path / "wheels"
    constrain(checkout, **{name: wheel(wheels, name) for name in ("alpha", "beta", "gamma")})
    done = run(checkout, "environment", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
    assert done.returncode == 0, done.stderr
    assert [here(checkout, name) for name in ("alpha", "beta", "gamma")] == [True, True, False]
    (checkout / "constraints.txt").write_text((checkout / "constraints.txt").read_text() + "\n")
    assert run(checkout, "installed").returncode != 0  # another list is another environment


@pytest.mark.slow
def test_a_file_with_another_hash_is_not_installed(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    wheels = tmp_path / "wheels"
    hashes = {name: wheel(wheels, name) for name in ("alpha", "beta", "gamma")}
    constrain(checkout, **hashes | {"beta": "0" * 64})
    done = run(checkout, "environment", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
    assert done.returncode == 1 and "HASHES" in done.stderr.upper()
    assert not here(checkout, "beta") and (checkout / ".venv" / "unfinished").exists()
    assert run(checkout, "environment", UNPINNED="1").returncode == 0  # by the ranges of setup.cfg, which has none here
