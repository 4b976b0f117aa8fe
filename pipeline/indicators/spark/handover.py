"""The folder that a Spark job reads from and writes to, where its workers do not see `data_dir`."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from pipeline.config import absolute, spark_runtime
from pipeline.errors import SparkJobError


@contextlib.contextmanager
def exchanged(folder: pathlib.Path) -> Iterator[str]:
    """The path or URL by which the workers know `folder`: they find `input/` there, and leave `output/`.

    With `[spark_runtime] exchange` that is a copy, made before the job and brought back after it. A copy that a killed
    run left is replaced by the next run of the same sessions. Raises SparkJobError when the place cannot be used.
    """
    from pyarrow.fs import FileSystem, copy_files

    exchange = spark_runtime().exchange
    if not exchange:
        yield str(folder)
        return
    root = exchange.rstrip("/") if "://" in exchange else absolute(exchange)
    place = f"{root}/indicators-{folder.name}"
    with _explained(place):
        filesystem, path = FileSystem.from_uri(place)
        filesystem.create_dir(f"{path}/input", recursive=True)
        filesystem.delete_dir_contents(f"{path}/input")
        copy_files(str(folder / "input"), f"{path}/input", destination_filesystem=filesystem)
    yield place
    with _explained(place):
        (folder / "output").mkdir()
        copy_files(f"{path}/output", str(folder / "output"), source_filesystem=filesystem)
        filesystem.delete_dir(path)


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise SparkJobError(
            f"[spark_runtime] exchange: {place} cannot be used ({error}). It must be an absolute path or a URL such as "
            "s3://bucket/folder that this machine and every worker may write to"
        ) from error
