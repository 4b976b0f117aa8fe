"""The files that make a job start fast, and those that it leaves."""

from __future__ import annotations

import pathlib
import sys

import pytest

from pipeline.errors import SparkCrashError, SparkJobError
from pipeline.indicators.spark import home as spark_home
from pipeline.indicators.spark.java import Runtime, java_runtime


def test_local_home_has_spark_but_not_its_python(data_dir):
    home, is_new = spark_home.local_home()
    assert is_new
    assert (home / "bin" / "spark-submit").is_file()
    assert list((home / "jars").glob("spark-core_*.jar"))
    assert not (home / "python").exists()
    assert {path.resolve() for path in (home / "modules").iterdir()} == set(spark_home.MODULES)
    assert spark_home.local_home() == (home, False)
    assert [path.name for path in home.parent.iterdir()] == [home.name]


@pytest.mark.parametrize(
    ("version", "recorded", "used"),
    [("17.0.15", "ArchiveClassesAtExit", "SharedArchiveFile"), ("25.0.2", "AOTCacheOutput", "AOTCache")],
)
def test_archive_is_recorded_once_and_then_used(tmp_path, version, recorded, used):
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    java = Runtime(pathlib.Path("/java"), version)

    def archive(record: bool = True) -> spark_home.ClassArchive:
        return spark_home.ClassArchive(java, home, scratch, record=record)

    assert archive(record=False).options() == []
    (home / "java-16-old.classes").touch()
    recording = archive()
    option, quiet = recording.options()
    assert option.startswith(f"-XX:{recorded}={scratch}")
    assert quiet == "-Xlog:disable"
    recording.keep()  # Java wrote nothing: nothing to keep
    assert [path.name for path in home.iterdir()] == ["java-16-old.classes"]
    pathlib.Path(option.partition("=")[2]).write_text("classes")
    recording.keep()
    (kept,) = home.iterdir()
    assert archive().options() == [f"-XX:{used}={kept}", "-Xlog:disable"]


@pytest.mark.parametrize(("is_awaited", "is_recorded"), [(False, True), (True, False)])
def test_nobody_at_a_terminal_waits_for_the_archive(data_dir, tmp_path, monkeypatch, is_awaited, is_recorded):
    from pipeline.indicators.spark.submit import SparkJob

    class Job(SparkJob):
        name = "job"
        app = "job.py"

    asked = []
    monkeypatch.setattr(spark_home, "local_home", lambda: (tmp_path, False))
    monkeypatch.setattr(SparkJob, "_run", lambda job, environment: asked.extend(job._java_options))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_awaited)
    Job().submit([])
    assert any("AtExit=" in option or "AOTCacheOutput=" in option for option in asked) is is_recorded


@pytest.mark.parametrize(
    ("is_there", "record", "error", "is_done_again"),
    [
        (True, True, SparkCrashError, True),
        (True, True, SparkJobError, False),
        (False, True, SparkJobError, True),
        (False, False, SparkCrashError, False),
    ],
)
def test_what_the_archive_may_have_broken_is_done_once_more_without(
    data_dir, tmp_path, monkeypatch, is_there, record, error, is_done_again
):
    from pipeline.indicators.spark.submit import SparkJob

    class Job(SparkJob):
        name = "job"
        app = "job.py"

    runs = []

    def run(job, environment):
        runs.append([option for option in job._java_options if option.startswith("-XX:")])
        for option in runs[-1]:
            pathlib.Path(option.partition("=")[2]).touch()
        raise error("the Spark job was killed by signal 6\nits output")

    java = java_runtime()
    home, _ = spark_home.local_home()
    if is_there:
        archive = spark_home.ClassArchive(java, home, tmp_path, record=True)
        pathlib.Path(archive.options()[0].partition("=")[2]).touch()
        archive.keep()
    monkeypatch.setattr(spark_home, "local_home", lambda: (home, not record))
    monkeypatch.setattr(SparkJob, "_run", run)
    with pytest.raises(SparkJobError, match="signal 6"):
        Job().submit([])
    assert [len(options) for options in runs] == [int(is_there or record)] + [0] * is_done_again
    assert len(list(home.glob("java-*"))) == int(is_there and not is_done_again)


def test_a_user_without_a_name_is_told_so_before_spark_is_started(monkeypatch):
    spark_home.check_user()
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    with pytest.raises(SparkJobError, match="user id 2147483641 has no name on this machine"):
        spark_home.check_user()
