"""What a source answered for a batch of symbols, kept as one Parquet file a batch in `raw/`.

A batch file has one row for each bar that was received, and one row with a null `date` for a symbol without bars. The
columns `symbol` to `fetched_at` describe the answer and repeat on each row of the symbol; `status` is

* `ok`: the source knows the symbol (with or without bars in the range asked for),
* `unknown`: the source has no such symbol,
* `failed`: no usable answer after all retries; `reason` says the last error.

Prices are in dollars, adjusted for splits up to the moment of the answer and not for dividends; volume in shares on
the same basis; `dividend` in dollars a share; `split_ratio` new shares for one old share (4.0 for 4:1): null, not 0, on
a session without one. A session that the source lists without values has null prices.

Pages carry checksums. A batch that cannot be read whole is set aside under another name, and its symbols are asked for
again: running the command again is always right.
"""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.host.files import atomic_path, set_aside

if TYPE_CHECKING:
    from pipeline.sources.protocol import BarRequest

#: What reading a file that is cut off, changed, or of another kind raises.
DAMAGE = (pa.ArrowException, OSError, KeyError)

ANSWER_SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("asked_from", pa.date32()),
        ("asked_to", pa.date32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("fetched_at", pa.timestamp("us", tz="UTC")),
        ("date", pa.date32()),
        ("open", pa.float64()),
        ("high", pa.float64()),
        ("low", pa.float64()),
        ("close", pa.float64()),
        ("volume", pa.int64()),
        ("dividend", pa.float64()),
        ("split_ratio", pa.float64()),
    ]
)


def batch_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The landed batches of a folder, oldest number first."""
    return sorted(folder.glob("batch-*.parquet"))


def batch_names(folder: pathlib.Path) -> Iterator[str]:
    """Names for new batches (`batch-0001`, ...), after those that the folder has already."""
    landed = batch_files(folder)
    number = int(landed[-1].stem.split("-")[1]) if landed else 0
    while True:
        number += 1
        yield f"batch-{number:04d}"


def land_batch(path: pathlib.Path, answers: pa.Table) -> None:
    """Write a batch under its final name, whole or not at all."""
    with atomic_path(path) as temporary:
        pq.write_table(answers.cast(ANSWER_SCHEMA), temporary, compression="zstd", write_page_checksum=True)


def set_aside_damaged(folder: pathlib.Path) -> int:
    """Put the batches of a folder that cannot be read whole out of the way, one line of the log each; their number."""
    damaged = [path for path in batch_files(folder) if not is_whole(path)]
    for path in damaged:
        set_aside(path)
    return len(damaged)


def is_whole(path: pathlib.Path) -> bool:
    """Whether a batch can be read to its end, and has the columns of one. Raises PermissionError."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.select(ANSWER_SCHEMA.names).cast(ANSWER_SCHEMA)
    except PermissionError:
        raise
    except DAMAGE:
        return False
    return True


def has_answers(folder: pathlib.Path) -> bool:
    """Whether the source has answered for any symbol, by what the folder's batches hold."""
    return any(
        "ok" in pq.read_table(path, columns=["status"])["status"].unique().to_pylist() for path in batch_files(folder)
    )


def unanswered(folder: pathlib.Path, requests: Sequence[BarRequest]) -> list[BarRequest]:
    """The requests, in their order, that no landed batch of the folder answers.

    An answer counts when the source knew what to say (`ok`, `unknown`), it spans the dates wanted, and it was not
    received before the moment from which on the request takes answers.
    """
    spans: dict[str, list[tuple[dt.date, dt.date, dt.datetime]]] = {}
    facts = ["symbol", "asked_from", "asked_to", "status", "fetched_at"]
    for path in batch_files(folder):
        for row in pq.read_table(path, columns=facts).group_by(facts).aggregate([]).to_pylist():
            if row["status"] != "failed":
                spans.setdefault(row["symbol"], []).append((row["asked_from"], row["asked_to"], row["fetched_at"]))
    return [
        request for request in requests if not any(_serves(request, *span) for span in spans.get(request.symbol, ()))
    ]


def _serves(request: BarRequest, first: dt.date, last: dt.date, fetched_at: dt.datetime) -> bool:
    is_new_enough = request.not_before is None or fetched_at >= request.not_before
    return is_new_enough and first <= request.first and request.last <= last
