"""Luigi's SparkSubmitTask, such that a job ends with its task, its errors say why, and nothing of ours leaks into it.

`[spark]` is the section that Luigi documents; all its settings hold.
"""

from __future__ import annotations

import contextlib
import html
import logging
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO, ClassVar
from urllib.parse import urlsplit

from luigi.contrib.spark import SparkSubmitTask
from luigi.interface import core
from luigi.rpc import RPCError

from pipeline.config import spark_runtime, storage
from pipeline.errors import SparkCrashError, SparkJobError
from pipeline.host.processes import end_group, new_session
from pipeline.host.scratch import scratch_folder
from pipeline.indicators.spark import home as spark_home
from pipeline.indicators.spark.java import java_runtime
from pipeline.indicators.spark.output import JobOutput

logger = logging.getLogger("pipeline")

#: What a job gets of our environment. Everything else stays here: the rest is where passwords and tokens are.
PASSED_ON = frozenset(
    ["PATH", "HOME", "USER", "LOGNAME", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"]
    + [
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ]
    + [
        "SPARK_CONF_DIR",
        "HADOOP_CONF_DIR",
        "YARN_CONF_DIR",
        "HADOOP_USER_NAME",
        "HADOOP_HOME",
        "KRB5_CONFIG",
        "KRB5CCNAME",
    ]
    # Where object storage is, and the files that its keys are in; not the keys.
    + [
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ]
)

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (LOOPBACK, "localhost")


class SparkJob(SparkSubmitTask):
    """A task that runs its `app` by `spark-submit`: its own `run` calls `submit`, once or more often.

    The job runs in a process group of its own, which ends when this process does, when the task is interrupted, or
    after `[spark_runtime] timeout_minutes`. Its output is in `logs/TASK_ID.log`; it reports by lines that start with
    `@progress PERCENT` or `@error`.
    """

    # Luigi declares them as None.
    name: str = ""  # type: ignore[assignment]
    app: str = ""  # type: ignore[assignment]

    # Plain attributes: as parameters they would be columns of the scheduler's page.
    capture_output = False
    stream_for_searching_tracking_url = "none"

    #: Seconds between SIGTERM and SIGKILL, for Spark to leave its cluster.
    grace: ClassVar[float] = 10.0

    _options: tuple[str, ...] = ()
    _home: pathlib.Path  # known once a job is submitted
    _scratch: pathlib.Path | None = None
    _java_options: tuple[str, ...] = ()

    def submit(self, app_options: Sequence[str]) -> None:
        """Run the job with these arguments, to its end. Raises SparkJobError, or JavaNotFoundError before it starts."""
        spark_home.check_user()
        java = java_runtime()
        self._options = tuple(map(str, app_options))
        with scratch_folder("spark") as self._scratch:
            self._home, is_new = spark_home.local_home() if self._is_local else (spark_home.installed(), True)
            is_awaited = sys.stderr.isatty()  # by somebody at a terminal; a timer's run has the quarter of a minute
            archive = spark_home.ClassArchive(java, self._home, self._scratch, record=not is_new and not is_awaited)
            self._java_options = (*spark_home.logging_option(), *archive.options())
            environment = {**self.program_environment(), "JAVA_HOME": str(java.home)}
            try:
                self._run(environment)
            except SparkJobError as error:
                if not archive.is_suspect(error):
                    raise
                logger.warning("%s; once more, without an archive of Java's classes", str(error).splitlines()[0])
                archive.delete()
                self._java_options = tuple(spark_home.logging_option())
                self._run(environment)
            else:
                archive.keep()

    def run(self) -> None:
        """For a task that is nothing but its job."""
        self.submit(self.app_options())

    def app_options(self) -> list[str]:
        return list(self._options)

    @property
    def timeout(self) -> float:
        """Seconds that the job may take."""
        return spark_runtime().timeout_minutes * 60.0

    @property
    def log_path(self) -> pathlib.Path:
        return storage().root / "logs" / f"{self.task_id}.log"

    # --- what spark-submit is called with ------------------------------------------------------------------------

    @property
    def master(self) -> str:
        return super().master or "local[*]"

    @property
    def executor_memory(self) -> str:
        return super().executor_memory or "2g"

    @property
    def executor_cores(self) -> str:
        return super().executor_cores or "2"

    @property
    def py_files(self) -> list[str]:
        shipped = [] if self._is_local else map(str, spark_home.MODULES)  # here they are in modules/
        return [*shipped, *(super().py_files or [])]

    @property
    def spark_submit(self) -> str:
        configured = super().spark_submit
        return configured if self._is_own_spark else str(spark_home.installed() / "bin" / configured)

    @property
    def conf(self) -> dict[str, str]:
        """Ours, and over them those of `[spark] conf`."""
        ours = {
            "spark.sql.adaptive.enabled": "true",
            "spark.ui.enabled": str(self._page_is_linked).lower(),
            "spark.ui.showConsoleProgress": "false",
            # The page shows what a job does; nobody ends it there, or looks into its memory.
            "spark.ui.killEnabled": "false",
            "spark.ui.threadDumpsEnabled": "false",
            "spark.ui.heapHistogramEnabled": "false",
        }
        if self._is_local:  # Spark makes the secret itself, which other users of this machine do not have
            ours["spark.authenticate"] = "true"
        if self._is_on_loopback:
            ours |= {"spark.driver.bindAddress": LOOPBACK, "spark.driver.host": LOOPBACK}
        return ours | (super().conf or {})

    @property
    def _page_is_linked(self) -> bool:
        """Whether Spark's page is wanted, and there is a scheduler's page that leads to it."""
        return bool(spark_runtime().ui and self.set_tracking_url and not core().local_scheduler)

    @property
    def driver_java_options(self) -> str:
        """Where it leaves its files, and how it starts; the operator's options take the place of our tuning."""
        options = [f"-Djava.io.tmpdir={self._scratch}", *self._java_options]
        # The launcher splits them like a shell that knows double quotes only.
        quoted = [f'"{option}"' if " " in option else option for option in options]
        return " ".join([*quoted, super().driver_java_options or spark_home.SHORT_LIVED])

    def get_environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in PASSED_ON}
        ours = {
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LAUNCHER_OPTS": spark_home.SHORT_LIVED,
            "SPARK_JOB_SUBMITTER": str(os.getpid()),
            "TMPDIR": str(self._scratch),
            "LC_ALL": "C.UTF-8",  # in others Java opens no file whose path has letters that they lack
            "OPENBLAS_NUM_THREADS": "1",  # which numpy starts at its import, and nothing here has any use for
        }
        if self._is_local:
            ours["PYTHONPATH"] = str(self._home / "modules")
        if not self._is_own_spark:
            ours["SPARK_HOME"] = str(self._home)
        elif "SPARK_HOME" in os.environ:
            ours["SPARK_HOME"] = os.environ["SPARK_HOME"]
        if self._is_on_loopback:
            ours["SPARK_LOCAL_IP"] = LOOPBACK
        # On Kubernetes they would be the executors' folders, too.
        if not self.master.startswith("k8s:"):
            ours["SPARK_LOCAL_DIRS"] = str(self._scratch)
        return kept | ours

    @property
    def _is_local(self) -> bool:
        return self.master.startswith("local")

    @property
    def _is_on_loopback(self) -> bool:
        """Whether all of Spark is on this machine, so that the driver need not, and does not, listen to others."""
        master = urlsplit(self.master)
        return self._is_local or (master.scheme == "spark" and master.hostname in LOOPBACK_NAMES)

    @property
    def _is_own_spark(self) -> bool:
        """Whether `[spark] spark-submit` names another Spark than the installed pyspark."""
        return super().spark_submit != "spark-submit"

    # --- the run -------------------------------------------------------------------------------------------------

    def _run(self, environment: dict[str, str]) -> None:
        command = [str(argument) for argument in self.program_args()]
        if shutil.which(command[0]) is None:
            raise SparkJobError(f"[spark] spark-submit = {command[0]}: there is no such program")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        # Not the whole command: the settings in [spark] conf may be secret.
        logger.info("spark-submit %s; its output: %s", shlex.join([str(self.app), *self.app_options()]), self.log_path)
        with self.log_path.open("a", encoding="utf-8") as log, _interruptible():
            code, output = self._run_group(command, environment, log)
        if code != 0:
            kind = SparkCrashError if code is not None and code < 0 else SparkJobError
            raise kind(f"the Spark job {self._ending(code)}; its output is in {self.log_path}\n{output}")

    def _run_group(self, command: list[str], environment: dict[str, str], log: IO[str]) -> tuple[int | None, str]:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=self._scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=new_session(),
        )
        assert process.stdout is not None
        output = JobOutput(process.stdout, log, self, LOOPBACK if self._is_on_loopback else socket.getfqdn())
        code: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=self.timeout)
        finally:
            end_group(process, self.grace)
            output.finish()
        return code, output.explanation()

    def _ending(self, code: int | None) -> str:
        if code is None:
            return f"did not end within {self.timeout / 60:g} minutes ([spark_runtime] timeout_minutes) and was stopped"
        return f"was killed by signal {-code}" if code < 0 else f"failed (exit code {code})"

    # --- what the scheduler shows; its callbacks exist only while Luigi runs the task -----------------------------

    def found_page(self, url: str) -> None:
        if self.set_tracking_url:
            with _unreported():
                self.set_tracking_url(url)

    def progressed(self, percent: int, text: str) -> None:
        with _unreported():
            if self.set_progress_percentage:
                self.set_progress_percentage(percent)
            if self.set_status_message and text:
                # The scheduler's page takes a status message for HTML.
                self.set_status_message(html.escape(text))


@contextlib.contextmanager
def _unreported() -> Iterator[None]:
    """A scheduler that does not answer costs the report, not the job."""
    try:
        yield
    except RPCError as error:
        logger.warning("the scheduler was not told of the job's progress: %s", error)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt, the one exception Luigi lets end a task process, so that clean-up runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
