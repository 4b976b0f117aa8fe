"""A real standalone Spark cluster on loopback, of the installed pyspark: one master, and workers of one core each."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import psutil

from pipeline.indicators.spark import home as spark_home
from pipeline.indicators.spark.java import java_runtime
from tests.support.runs import wait_until

#: What the daemons say of their ports, which the system chooses: no other program can take one in between.
MASTER = re.compile(r"Starting Spark master at (spark://\S+)")
PAGE = re.compile(r"Successfully started service '(?:MasterUI|WorkerUI)' on port (\d+)")


class Cluster:
    """`master` is what `[spark] master` takes; `folders` are the workers' own, with a folder for each application.

    The daemons, and so what they start, have nothing of our environment but what is `given`.
    """

    def __init__(self, folder: pathlib.Path, workers: int, given: Mapping[str, str]) -> None:
        self.folder = folder
        self._given = given
        self.folders = [folder / f"worker-{number}" for number in range(workers)]
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            self._start()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        master = self._daemon("master", "master.Master", "--port", "0", "--webui-port", "0")
        self.master = self._told(master, MASTER)
        self.page = f"http://127.0.0.1:{self._told(master, PAGE)}"
        for folder in self.folders:
            options = ("--webui-port", "0", "--cores", "1", "--memory", "1g", "--work-dir", str(folder))
            self._daemon(folder.name, "worker.Worker", *options, self.master)
        wait_until(self._is_up, master)

    def _is_up(self) -> bool:
        try:
            return self.state()["aliveworkers"] == len(self.folders)
        except (
            urllib.error.HTTPError,
            json.JSONDecodeError,
        ):  # the page answers before its JSON is there, by 404 or a page
            return False

    def _daemon(self, name: str, program: str, *options: str) -> subprocess.Popen[bytes]:
        environment = {
            **self._given,
            "PATH": os.environ["PATH"],
            "JAVA_HOME": str(java_runtime().home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": spark_home.SHORT_LIVED,
            "SPARK_LAUNCHER_OPTS": spark_home.SHORT_LIVED,
        }
        command = [spark_home.installed() / "bin" / "spark-class", f"org.apache.spark.deploy.{program}"]
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("wb") as log:
            daemon = subprocess.Popen(
                [*command, "--host", "127.0.0.1", *options], cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        self._daemons.append(daemon)
        return daemon

    def _told(self, master: subprocess.Popen[bytes], pattern: re.Pattern[str]) -> str:
        log = self.folder / "master.log"
        wait_until(lambda: pattern.search(log.read_text()), master)
        found = pattern.search(log.read_text())
        assert found
        return found[1]

    def state(self) -> dict[str, Any]:
        """What the master says of its workers and applications."""
        with urllib.request.urlopen(f"{self.page}/json/", timeout=10) as answer:
            return json.load(answer)

    def await_idle(self) -> None:
        """Return when the master has no application and no core in use."""
        wait_until(lambda: not (self.state()["activeapps"] or self.state()["coresused"]), self._daemons[0], seconds=30)

    def executors(self) -> list[psutil.Process]:
        """Everything that runs for applications: the processes below the workers.

        Each daemon also has a zombie, of the shell that it was before it became Java.
        """
        below = [child for daemon in self._daemons[1:] for child in psutil.Process(daemon.pid).children(recursive=True)]
        return [process for process in below if process.status() != psutil.STATUS_ZOMBIE]

    def stop(self) -> list[int]:
        """End the daemons by SIGTERM, workers first; their exit codes. Once stopped, nothing more happens."""
        for daemon in reversed(self._daemons):
            daemon.terminate()
        try:
            return [daemon.wait(timeout=30) for daemon in self._daemons]
        finally:
            for daemon in self._daemons:
                daemon.kill()
            self._daemons = []
