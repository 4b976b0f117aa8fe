"""Readers of the replica while one after the other is published, one of them killed in the middle."""

from __future__ import annotations

import datetime as dt
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from pipeline.database.connection import writing
from pipeline.database.replica import manifest_path, publish, replica_path
from tests.support.runs import stray_files

READERS, PUBLICATIONS, KILLED = 16, 200, 100
DAY = dt.date(2024, 2, 16)

#: As docs/analysis.md tells programs to read. Ends when it is told to, with how often it has read.
READER = """
    import duckdb, json, os, pathlib, select, sys
    os.nice(15)  # so many of them would keep the one that publishes from its work
    folder, reads, seen = pathlib.Path(sys.argv[1]), 0, 0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.3)[0]:
        manifest = json.loads((folder / "manifest.json").read_text())
        with duckdb.connect(str(folder / manifest["file"]), read_only=True) as connection:
            (bars,) = connection.execute("SELECT count(*) FROM stock_data").fetchone()
        with duckdb.connect(str(folder / "stock_data_replica.duckdb"), read_only=True) as connection:
            (others,) = connection.execute("SELECT count(*) FROM stock_data").fetchone()
        assert bars == manifest["rows"]["stock_data"], (bars, manifest)
        assert others >= bars >= seen, (others, bars, seen)
        reads, seen = reads + 1, bars
    print(reads)
"""

#: A publication by another process, which dies between the rename of the replica and that of the manifest.
DIES = """
    import os, signal, sys, datetime
    import pipeline  # first: it reads config/luigi.cfg
    from luigi.configuration import get_config
    get_config().set("storage", "data_dir", sys.argv[1])
    from pipeline.database import replica
    replica.write_text = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    replica.publish(datetime.date(2024, 2, 16))
"""


def python(source: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def publish_one_more(number: int) -> None:
    with writing() as connection:
        connection.execute(
            "INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at) "
            "VALUES (?, ?, 1, 1, 1, 1, 1, now())",
            [f"S{number}", DAY],
        )
    publish(DAY)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_reader_ever_sees_a_file_that_is_not_the_manifests(data_dir: pathlib.Path) -> None:
    publish_one_more(0)
    readers = [python(READER, str(replica_path().parent)) for _ in range(READERS)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    for number in range(1, PUBLICATIONS):
        publish_one_more(number)
        if number == KILLED:
            before = manifest_path().read_text()
            dead = python(DIES, str(data_dir))
            assert dead.wait(timeout=120) == -signal.SIGKILL, dead.stderr and dead.stderr.read()
            assert manifest_path().read_text() == before
    answers = [reader.communicate("stop\n", timeout=120) for reader in readers]
    assert [errors for _, errors in answers if errors] == []
    assert min(int(said) for said, _ in answers) >= 3
    manifest = json.loads(manifest_path().read_text())
    assert manifest["rows"]["stock_data"] == PUBLICATIONS
    assert os.path.samefile(replica_path(), replica_path().parent / manifest["file"])
    assert stray_files(data_dir) == []
