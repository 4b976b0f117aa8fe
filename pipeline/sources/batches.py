"""Collecting from a source that answers a whole batch at once, as files and the simulated market do."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import pyarrow as pa

from pipeline.sources.answers import ANSWER_SCHEMA, batch_names, land_batch, unanswered
from pipeline.sources.protocol import BarRequest, Progress

BATCH_SIZE = 100

AnswerBatch = Callable[[Sequence[BarRequest]], pa.Table]


def collect_in_batches(
    requests: Sequence[BarRequest], folder: pathlib.Path, progress: Progress, answer: AnswerBatch
) -> None:
    """Land the answers of all requests that the folder does not answer yet, a batch file for BATCH_SIZE symbols.

    `answer` makes of a batch a table of ANSWER_SCHEMA with at least one row a request.
    """
    open_requests = unanswered(folder, requests)
    names = batch_names(folder)
    total, done = len(requests), len(requests) - len(open_requests)
    for start in range(0, len(open_requests), BATCH_SIZE):
        batch = open_requests[start : start + BATCH_SIZE]
        land_batch(folder / f"{next(names)}.parquet", answer(batch))
        done += len(batch)
        progress(done, total, f"{done:,} of {total:,} symbols")


def repeated(value: object, name: str, count: int) -> pa.Array:
    """`count` times the same value in a column of ANSWER_SCHEMA."""
    return pa.repeat(pa.scalar(value, ANSWER_SCHEMA.field(name).type), count)
