"""Landed batches that are damaged: whatever happened to them, the next run goes on and asks again."""

from __future__ import annotations

import logging
import pathlib
import random
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.host.files import DAMAGED
from pipeline.sources.answers import ANSWER_SCHEMA, batch_files, land_batch, set_aside_damaged
from tests.support.collecting import ask, collect
from tests.support.fake_market import Fault
from tests.support.judging import answer
from tests.support.runs import results
from tests.support.small_market import SESSIONS, SmallMarket

BEFORE, DAY = SESSIONS[-4], SESSIONS[-3]
DAYS = SESSIONS[-100:]


def truncated(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: pathlib.Path) -> None:
    path.write_bytes(b"")


def overwritten(path: pathlib.Path) -> None:
    path.write_text("<html>disk full</html>")


def of_another_kind(path: pathlib.Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def one_bit_changed(path: pathlib.Path) -> None:
    """In the middle of the pages: what cannot be seen by the file's footer."""
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))


DAMAGES = (truncated, emptied, overwritten, of_another_kind, one_bit_changed)


@pytest.fixture
def batch(tmp_path: pathlib.Path) -> pathlib.Path:
    """A landed batch: 20 symbols over 100 sessions."""
    answers = [answer(f"S{n:02d}", {day: 10.0 + n + place for place, day in enumerate(DAYS)}) for n in range(20)]
    rows = [row for each in answers for row in each.rows]
    path = tmp_path / "batch-0001.parquet"
    land_batch(path, pa.Table.from_pylist(rows, schema=ANSWER_SCHEMA))
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_batch_is_set_aside_with_one_line(
    batch: pathlib.Path, damage: Callable[[pathlib.Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert set_aside_damaged(batch.parent) == 0
    damage(batch)
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert set_aside_damaged(batch.parent) == 1
    assert caplog.messages == [f"{batch} is damaged and set aside; what it answered is asked for again"]
    assert batch_files(batch.parent) == []
    assert batch.with_name(batch.name + DAMAGED).exists()


def test_any_bit_of_a_batch_that_changes_is_noticed_or_changes_nothing(batch: pathlib.Path) -> None:
    whole, wanted = batch.read_bytes(), pq.read_table(batch)
    draw = random.Random(11)
    for _ in range(60):
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        batch.write_bytes(bytes(content))
        if set_aside_damaged(batch.parent) == 0:
            assert pq.read_table(batch).equals(wanted)


def test_what_a_damaged_batch_answered_is_asked_for_again(
    here: SmallMarket, data_dir: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run of DAY fails for want of coverage, its batch is damaged meanwhile, and it is run again."""
    assert collect(here, BEFORE)
    for number in range(1, 9):
        here.faults[f"S{number:02d}"] = Fault("500")
    assert not collect(here, DAY)
    here.faults.clear()
    (path, *_) = batch_files(data_dir / "raw" / "prices" / str(DAY))
    one_bit_changed(path)
    here.requests.clear()
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert collect(here, DAY)
    assert [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()] == [
        f"{path} is damaged and set aside; what it answered is asked for again"
    ]
    stored = ask("SELECT symbol, open, high, low, close, volume FROM stock_data WHERE date = ?", DAY)
    assert len(stored) > 50
    assert {row[0]: row[1:] for row in stored} == {row[0]: here.bar(row[0].replace("/", "-"), DAY) for row in stored}
    assert results(data_dir)["price_coverage"]
