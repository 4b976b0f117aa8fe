"""The answers of a batch in the making: a line of JSON each, on disk as soon as it came.

A batch lands as Parquet when it is whole (see answers.py). What a killed process had received until then lies in its
journal, and `salvage` lands it. A record is a dictionary of the columns `symbol` to `fetched_at` (dates in ISO 8601)
and of `bars`, which holds the columns from `date` on as lists of one length.
"""

from __future__ import annotations

import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.host.files import PARTIAL, set_aside
from pipeline.sources.answers import ANSWER_SCHEMA, land_batch

SUFFIX = f".jsonl{PARTIAL}"
FACTS = ("symbol", "asked_from", "asked_to", "status", "reason", "fetched_at")
STATES = ("ok", "unknown", "failed")
BAR_COLUMNS = tuple(name for name in ANSWER_SCHEMA.names if name not in FACTS)

logger = logging.getLogger("pipeline")


class Journal:
    """The journal of the batch `name` of `folder`, from its first answer to its landing."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        self.path = folder / f"{name}{SUFFIX}"
        self.target = folder / f"{name}.parquet"
        self.records: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab")

    def append(self, record: dict[str, Any], line: bytes | None = None) -> None:
        """Keep a record. It outlives this process at once; only a crash of the machine can lose it.

        `line`: the record as the line of JSON that it came as; it may hold more than the record.
        """
        self._file.write(line or json.dumps(record).encode() + b"\n")
        self._file.flush()
        self.records.append(record)

    def land(self) -> None:
        """Land the batch; the journal goes when the batch is safe."""
        self._file.close()
        land_batch(self.target, table_of(self.records))
        self.path.unlink(missing_ok=True)  # another run has salvaged it while this process was stopped

    def close(self) -> None:
        """Leave the journal where it is, for `salvage`."""
        self._file.close()


def salvage(folder: pathlib.Path) -> int:
    """Land what the journals of a killed run hold; return the number of answers.

    A journal with lines that are no answers is set aside; the answers beside them are used.
    """
    salvaged = 0
    for path in sorted(folder.glob(f"batch-*{SUFFIX}")):
        target = path.with_name(path.name.removesuffix(SUFFIX) + ".parquet")
        records, is_damaged = read_journal(path)
        if records and not target.exists():  # with both, the run was killed between landing and removing
            land_batch(target, table_of(records))
            salvaged += len(records)
        if is_damaged:
            set_aside(path)
        else:
            path.unlink()
    if salvaged:
        logger.info("%d answers of an interrupted run are used again", salvaged)
    return salvaged


def read_journal(path: pathlib.Path) -> tuple[list[dict[str, Any]], bool]:
    """The records of a journal, and whether a line is damaged: not the last one, which a kill has cut off."""
    *lines, _ = path.read_bytes().split(b"\n")
    records = [record for line in lines if (record := _record(line)) is not None]
    return records, len(records) < len(lines)


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None when it is no answer that can land."""
    try:
        record = json.loads(line)
        table = table_of([record])
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, pa.ArrowException):
        return None
    has_facts = None not in (record["symbol"], record["asked_from"], record["asked_to"], record["fetched_at"])
    return record if table.num_rows and has_facts and record["status"] in STATES else None


def table_of(records: Sequence[dict[str, Any]]) -> pa.Table:
    """Records as a table of ANSWER_SCHEMA: a row a bar, and one with a null date for a record without bars."""
    columns: dict[str, list[Any]] = {name: [] for name in ANSWER_SCHEMA.names}
    for record in records:
        bars = record["bars"]
        rows = len(bars.get("date", ()))
        for name in FACTS:
            columns[name] += [record[name]] * max(rows, 1)
        for name in BAR_COLUMNS:
            columns[name] += bars[name] if rows else [None]
    return pa.table([_array(columns[field.name], field.type) for field in ANSWER_SCHEMA], schema=ANSWER_SCHEMA)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_temporal(kind):
        return pa.array(values, pa.string()).cast(kind)
    return pa.array(values, kind)
