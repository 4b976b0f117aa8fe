"""Our central scheduler as a process of its own, and the file of settings that a run, or it, is started with."""

from __future__ import annotations

import configparser
import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Any

from pipeline.config import ROOT
from tests.support.runs import environment, wait_until


def changed_settings(folder: pathlib.Path, **sections: dict[str, object]) -> dict[str, str]:
    """config/luigi.cfg with other values, as a file in `folder`, and the variable by which a program reads it:

    run_luigi("DailyPipeline", home=folder, **changed_settings(folder, scheduler={"retry_delay": 0}))
    """
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "config" / "luigi.cfg", encoding="utf-8")
    config.read_dict({name: {key: str(value) for key, value in values.items()} for name, values in sections.items()})
    path = folder / "luigi.cfg"
    with path.open("w", encoding="utf-8") as file:
        config.write(file)
    return {"LUIGI_CONFIG_PATH": str(path)}


class Luigid:
    """`python -m pipeline.runs.luigid` on a port of its own, with its state below `folder`; does not retry by itself.

    `settings` is the variable that a run under it needs, which has the sections of its settings, too.
    """

    def __init__(self, folder: pathlib.Path, **sections: dict[str, object]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        sections["scheduler"] = {"retry_delay": 0, **sections.get("scheduler", {})}
        self.settings = changed_settings(folder, core={"scheduler_url": f"{self.url}/"}, **sections)

    def start(self) -> None:
        command = [sys.executable, "-m", "pipeline.runs.luigid", "--port", str(self.port)]
        with (self.folder / "luigid.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(self.folder / "data")],
                cwd=ROOT, env=environment(self.folder, **self.settings), stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self.answers, self.process)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self, signum: int = signal.SIGTERM) -> None:
        self.process.send_signal(signum)
        self.process.wait(timeout=30)

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return answer.read().decode()

    def task(self, family: str) -> dict[str, Any]:
        """The task of this family in whatever state, {} when there is none."""
        tasks = json.loads(self.page("/api/task_list?data=%7B%7D"))["response"]
        return next((task for task in tasks.values() if task["name"] == family), {})
