"""The same job on a real cluster: the same bytes, the work shared, and nothing left there by a run that was ended."""

from __future__ import annotations

import json
import pathlib
import signal

import luigi.configuration
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector

from pipeline.indicators import kernel
from pipeline.indicators.spark.handover import exchanged
from pipeline.indicators.spark.submit import SparkJob
from pipeline.tasks.indicators import ComputeIndicators
from tests.indicators.spark.test_submit import BUSY, Installation
from tests.support.buckets import buckets
from tests.support.cluster import Cluster
from tests.support.runs import wait_until

pytestmark = [pytest.mark.spark, pytest.mark.slow]

BUCKETS, SYMBOLS, SESSIONS = 4, 60, 120

#: An executor a worker; the job begins when both are there, so that neither can do it alone.
SETTINGS = {"executor_cores": "1", "executor_memory": "512m", "driver_memory": "512m"}
BOTH = "spark.scheduler.minRegisteredResourcesRatio=1.0|spark.scheduler.maxRegisteredResourcesWaitingTime=60s"


class Indicators(SparkJob):
    name, app = ComputeIndicators.name, ComputeIndicators.app


@pytest.fixture(scope="module")
def in_buckets(tmp_path_factory):
    """What the environment says of a server of object storage that has the bucket `exchange`; and its files."""
    with buckets("exchange") as server:
        yield server.environment(tmp_path_factory.mktemp("keys")), server.storage


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, in_buckets):
    folder = tmp_path_factory.mktemp("a cluster")
    config = luigi.configuration.get_config()
    before = config.get("storage", "data_dir", None)
    config.set("storage", "data_dir", str(folder / "data"))
    with Cluster(folder / "cluster", workers=2, given=in_buckets[0]) as running:
        yield running
        assert running.stop() == [128 + signal.SIGTERM] * 3
    if before is None:
        config.remove_option("storage", "data_dir")
    else:
        config.set("storage", "data_dir", before)


def write_bars(folder: pathlib.Path) -> None:
    """A random walk a symbol; the last five sessions of each are wanted."""
    random = np.random.default_rng(20240216)
    days = np.datetime64("2024-01-01") + np.arange(SESSIONS)
    folder.mkdir()
    for bucket in range(BUCKETS):
        tables = []
        for number in range(bucket, SYMBOLS, BUCKETS):
            close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, SESSIONS)))
            volume = random.integers(10_000, 2**33, SESSIONS)
            prices = {name: close for name in ("open", "high", "low", "close")}
            wanted = np.arange(SESSIONS) >= SESSIONS - 5
            symbol = [f"S{number:03d}"] * SESSIONS
            columns = {"symbol": symbol, "date": days, **prices, "volume": volume, "wanted": wanted}
            tables.append(pa.table(columns).cast(kernel.INPUT_SCHEMA))
        pq.write_table(pa.concat_tables(tables), folder / f"bucket-{bucket:04d}.parquet")


def events(folder: pathlib.Path, kind: str) -> list[dict]:
    """The events of one kind that Spark itself wrote down."""
    lines = [line for file in folder.rglob("events_*") for line in file.read_text().splitlines()]
    return [event for event in map(json.loads, lines) if event["Event"] == kind]


def test_the_same_bytes_as_on_this_machine_from_both_workers(cluster, data_dir, tmp_path, settings):
    write_bars(tmp_path / "bars")
    arguments = ["--indicators", ",".join(kernel.INDICATORS)]
    settings("spark", master="local[*]", **SETTINGS)
    Indicators().submit([str(tmp_path / "bars"), str(tmp_path / "here"), *arguments])
    history = tmp_path / "history"
    history.mkdir()
    log = f"spark.eventLog.enabled=true|spark.eventLog.dir={history.as_uri()}|spark.eventLog.compress=false"
    settings("spark", master=cluster.master, conf=f"{BOTH}|{log}")
    Indicators().submit([(tmp_path / "bars").as_uri(), (tmp_path / "there").as_uri(), *arguments])

    here = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    there = {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()}
    assert sorted(here) == ["_SUCCESS.json", *(f"part-{bucket:04d}.parquet" for bucket in range(BUCKETS))]
    assert there == here
    assert pq.read_table(tmp_path / "there").num_rows == 5 * SYMBOLS

    (application,) = cluster.state()["completedapps"]
    assert (application["name"], application["state"]) == ("indicators", "FINISHED")
    computed = events(history, "SparkListenerTaskEnd")
    assert len(computed) == BUCKETS
    assert {event["Task End Reason"]["Reason"] for event in computed} == {"Success"}
    busy = {event["Task Info"]["Executor ID"] for event in computed}
    worked = [{path.name for path in (folder / application["id"]).iterdir()} & busy for folder in cluster.folders]
    assert [len(executors) for executors in worked] == [1, 1]
    assert worked[0] != worked[1]


def test_the_same_bytes_from_object_storage(cluster, in_buckets, data_dir, tmp_path, settings, monkeypatch):
    environment, storage = in_buckets
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    arguments = ["--indicators", ",".join(kernel.INDICATORS)]
    for place, master in (("here", "local[*]"), ("there", cluster.master)):
        (tmp_path / place).mkdir()
        write_bars(tmp_path / place / "input")
        settings("spark", master=master, **SETTINGS)
        settings("spark_runtime", exchange="" if place == "here" else "s3://exchange/jobs")
        with exchanged(tmp_path / place) as seen:
            Indicators().submit([f"{seen}/input", f"{seen}/output", *arguments])
            if place == "there":
                written = storage.get_file_info(FileSelector("exchange/jobs", recursive=True))
                assert sum(file.base_name.startswith("part-") for file in written) == BUCKETS
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / place / "output").iterdir()}
        for place in ("here", "there")
    )
    assert len(here) == BUCKETS + 1
    assert there == here
    assert cluster.state()["completedapps"][-1]["state"] == "FINISHED"
    assert not [file for file in storage.get_file_info(FileSelector("exchange", recursive=True)) if file.is_file]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_an_ended_run_leaves_nothing_on_the_cluster(cluster, tmp_path, monkeypatch, signum):
    cluster.await_idle()
    finished = len(cluster.state()["completedapps"])
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    options = "".join(f"{name} = {value}\n" for name, value in SETTINGS.items() if name != "driver_memory")
    installation = Installation(tmp_path)
    run = installation.start(BUSY, workers=2, master=cluster.master, settings=options)
    wait_until((tmp_path / "pids").exists, run)
    family = psutil.Process(run.pid).children(recursive=True) + cluster.executors()
    assert len(cluster.state()["activeapps"]) == 1
    assert sum("java" in process.name() for process in family) == 3  # the driver's, and an executor's of each worker
    run.send_signal(signum)
    run.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    cluster.await_idle()
    assert len(cluster.state()["completedapps"]) == finished + 1
    # After SIGKILL nobody is left to remove the scratch folder; the next run does.
    assert [path for path in installation.left_over() if signum != signal.SIGKILL or "work/spark/" not in path] == []
