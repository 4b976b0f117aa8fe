"""Spark job: the indicators of bucketed bars.

    spark-submit --py-files kernel.py,processes.py job.py INPUT OUTPUT --indicators rsi_14,macd

On one machine a PYTHONPATH that has the two modules does as well, and is faster.

INPUT holds Parquet files of kernel.INPUT_SCHEMA, directly or below `bucket=*/`; each symbol is in one of them.
OUTPUT gets one `part-NNNN.parquet` (kernel.OUTPUT_SCHEMA) a file, in the order of their paths, and at the end
`_SUCCESS.json` with the row counts. Both are absolute paths or URLs that every worker sees.

Spark hands out the names of the files, and the workers read and write them with Arrow: the rows never pass through the
JVM. Lines for the caller on stdout: `@progress PERCENT TEXT`, and `@error TEXT` for an input that cannot be used.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import processes
from pyspark import AccumulatorParam, SparkContext, TaskContext

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

#: Share of the progress bar that stands for the start of Spark.
STARTED = 10


@dataclasses.dataclass(frozen=True)
class Bucket:
    """One input file, the file that its values go to, and the indicators that are wanted."""

    source: str
    target: str
    indicators: tuple[str, ...]


class Result(NamedTuple):
    """What became of a bucket: its rows, or what is wrong with its file."""

    bucket: Bucket
    rows: int = 0
    error: str = ""


class Finished(AccumulatorParam[int]):
    """Counts finished buckets; Spark adds to it in the driver as each one ends, which is when the driver speaks."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.driver = os.getpid()

    def zero(self, value: int) -> int:
        return 0

    def addInPlace(self, value1: int, value2: int) -> int:
        done = value1 + value2
        if done and os.getpid() == self.driver:
            percent = STARTED + (100 - STARTED) * done // self.total
            say(f"@progress {percent} indicators of {done} of {self.total} files computed")
        return done


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def without_frames() -> Iterator[None]:
    """Import as if pandas and polars were not installed.

    PySpark and TA-Lib would load them to accept frames and series, which there are none of here, and that takes half a
    second in every process.
    """
    hidden = [name for name in ("pandas", "polars") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# --- in the workers ----------------------------------------------------------------------------------------------


def compute_bucket(bucket: Bucket) -> Result:
    """Read, compute, write. A file that cannot be used is a result: asking for it again would not help."""
    kernel = _kernel()
    import pyarrow as pa
    import pyarrow.parquet as pq

    filesystem, source = locate(bucket.source)
    try:
        with filesystem.open_input_file(source) as file:
            values = kernel.compute(pq.ParquetFile(file).read(), bucket.indicators)
    except (pa.ArrowInvalid, kernel.BarsError) as error:
        return Result(bucket, error=f"{bucket.source}: {error}")
    sink = pa.BufferOutputStream()
    pq.write_table(values, sink, compression="zstd")
    put(bucket.target, sink.getvalue())
    return Result(bucket, rows=values.num_rows)


def _kernel() -> ModuleType:
    """The module that was sent along; imported in the workers, because the driver has no use for it."""
    with without_frames():
        import kernel
    return kernel


# --- files, wherever they are ------------------------------------------------------------------------------------


def locate(path: str) -> tuple[FileSystem, str]:
    """The file system of a URL or an absolute path, and the path on it."""
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(path)


def put(path: str, content: object) -> None:
    """Write a file that appears whole or not at all. Not synced: after a power cut the job runs again."""
    filesystem, target = locate(path)
    context = TaskContext.get()
    attempt = context.taskAttemptId() if context else "driver"
    folder, name = target.rsplit("/", 1)
    temporary = f"{folder}/.{name}.{attempt}.partial"
    with filesystem.open_output_stream(temporary) as stream:
        stream.write(content)
    filesystem.move(temporary, target)


def input_files(folder: str) -> list[str]:
    """The Parquet files directly in a folder and in its `bucket=*` folders, sorted, in the form that `locate` takes."""
    from pyarrow.fs import FileSelector

    filesystem, path = locate(folder)
    prefix = folder.rstrip("/")
    root = path.rstrip("/")
    found = (info.path[len(root) :] for info in filesystem.get_file_info(FileSelector(path, recursive=True)))
    return sorted(prefix + name for name in found if name.endswith(".parquet") and _is_bucket(name))


def _is_bucket(name: str) -> bool:
    *folders, file = name.strip("/").split("/")
    return not file.startswith((".", "_")) and (not folders or (len(folders) == 1 and folders[0].startswith("bucket=")))


def clear(folder: str) -> None:
    """Have an empty output folder: what an earlier attempt left must not pass for this one's."""
    filesystem, path = locate(folder)
    filesystem.create_dir(path, recursive=True)
    filesystem.delete_dir_contents(path)


# --- in the driver -----------------------------------------------------------------------------------------------


def prepare(arguments: argparse.Namespace) -> list[str]:
    """The input files; an empty output folder, when there are any."""
    sources = input_files(arguments.input)
    if sources:
        clear(arguments.output)
    return sources


def main(arguments: argparse.Namespace, sc: SparkContext, sources: list[str]) -> int:
    if not sources:
        say(f"@error no Parquet file in {arguments.input}")
        return 1
    names = tuple(arguments.indicators.split(","))
    buckets = [Bucket(source, f"{arguments.output}/part-{i:04d}.parquet", names) for i, source in enumerate(sources)]
    say(f"@progress {STARTED} computing the indicators of {len(buckets)} files")
    results = run(sc, buckets)
    errors = [result.error for result in results if result.error]
    if errors:
        say(f"@error {len(errors)} of {len(buckets)} input files cannot be used: {'; '.join(errors[:3])}")
        return 1
    files = {os.path.basename(result.bucket.target): result.rows for result in results}
    summary = {"files": files, "rows": sum(files.values()), "indicators": names}
    put(f"{arguments.output}/_SUCCESS.json", json.dumps(summary, indent=1).encode())
    return 0


def run(sc: SparkContext, buckets: list[Bucket]) -> list[Result]:
    """Compute every bucket in a task of its own; the results in the order of the buckets."""
    finished = sc.accumulator(0, Finished(len(buckets)))

    def task(part: Iterable[Bucket]) -> Iterator[Result]:
        for bucket in part:
            yield compute_bucket(bucket)
            finished.add(1)

    return sc.parallelize(buckets, len(buckets)).mapPartitions(task).collect()


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compute indicators of bucketed bars on Spark.")
    parser.add_argument("input", help="folder of the bars, an absolute path or a URL")
    parser.add_argument("output", type=lambda path: path.rstrip("/"), help="folder of the values; emptied first")
    parser.add_argument("--indicators", required=True, help="names of the indicators, with commas between them")
    return parser.parse_args(arguments)


def leave(code: int) -> NoReturn:
    """End at once, with the files written. The JVM stops the context when it sees this process end; `sc.stop()` would
    wait a second here for PySpark's accumulator server, and the interpreter's own way out another one for the JVM."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    # Nothing may go on writing when the JVM that runs this script is killed, or the process that wanted it. (On a
    # cluster that one may be on another machine; then it is no concern of ours.)
    processes.die_with_parent(signal.SIGKILL)
    if "SPARK_JOB_SUBMITTER" in os.environ:
        processes.die_with(int(os.environ["SPARK_JOB_SUBMITTER"]), signal.SIGKILL)
    _arguments = parse(sys.argv[1:])
    with ThreadPoolExecutor(1) as _pool:
        _sources = _pool.submit(prepare, _arguments)  # loads Arrow while the JVM makes the context
        with without_frames():
            _sc = SparkContext.getOrCreate()
        leave(main(_arguments, _sc, _sources.result()))
