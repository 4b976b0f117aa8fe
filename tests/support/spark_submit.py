"""Stands in for `spark-submit` where a test is about other things: the job's own code, file by file, without a JVM."""

from __future__ import annotations

import importlib
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def stand_in(folder: pathlib.Path) -> pathlib.Path:
    """A program for `[spark] spark-submit`, made in `folder`."""
    program = folder / "spark-submit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n')
    program.chmod(0o755)
    return program


def compute_here(job: object, arguments: list[str]) -> None:
    """The indicators of the files, in this process: `SparkJob.submit` without a job."""
    import pyarrow.parquet as pq

    from pipeline.indicators import kernel

    folder, output = pathlib.Path(arguments[0]), pathlib.Path(arguments[1])
    output.mkdir(parents=True)
    names = arguments[arguments.index("--indicators") + 1].split(",")
    for number, path in enumerate(sorted(folder.rglob("*.parquet"))):
        pq.write_table(kernel.compute(pq.ParquetFile(path).read(), names), output / f"part-{number:04d}.parquet")


class Context:
    """What the job asks of a SparkContext."""

    def accumulator(self, value: int, parameter: Any) -> Accumulator:
        return Accumulator(value, parameter)

    def parallelize(self, items: Iterable[Any], parts: int) -> Items:
        return Items(items)


class Accumulator:
    def __init__(self, value: int, parameter: Any) -> None:
        self.value, self.parameter = value, parameter

    def add(self, more: int) -> None:
        self.value = self.parameter.addInPlace(self.value, more)


class Items:
    def __init__(self, items: Iterable[Any]) -> None:
        self.items = items

    def mapPartitions(self, task: Callable[[Iterable[Any]], Iterator[Any]]) -> Items:
        return Items(task(self.items))

    def collect(self) -> list[Any]:
        return list(self.items)


def main(words: list[str]) -> int:
    place = next(place for place, word in enumerate(words) if word.endswith("job.py"))
    sys.path.insert(0, str(pathlib.Path(words[place]).parent))
    job = importlib.import_module("job")
    arguments = job.parse(words[place + 1 :])
    return job.main(arguments, Context(), job.prepare(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
