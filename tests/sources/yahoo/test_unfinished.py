from __future__ import annotations

import datetime as dt
import json
import logging

import pyarrow.parquet as pq
import pytest

from pipeline.sources.answers import ANSWER_SCHEMA, unanswered
from pipeline.sources.protocol import BarRequest
from pipeline.sources.yahoo.unfinished import Journal, salvage

FIRST, LAST = dt.date(2024, 2, 15), dt.date(2024, 2, 16)


def record(symbol: str, status: str = "ok", days: int = 2, first: dt.date = FIRST) -> dict:
    bars = {
        "date": ["2024-02-15", "2024-02-16"], "open": [1.5, None], "high": [2.0, None], "low": [1.0, None],
        "close": [1.1, None], "volume": [2**33, None], "dividend": [None, 0.24], "split_ratio": [4.0, None],
    }  # fmt: skip
    return {
        "symbol": symbol, "asked_from": first.isoformat(), "asked_to": LAST.isoformat(), "status": status,
        "reason": None if status == "ok" else "HTTP 500 after 5 attempts", "fetched_at": "2024-02-16T22:00:00.5+00:00",
        "bars": bars if days else {},
    }  # fmt: skip


def write(folder, *records, name: str = "batch-0001") -> Journal:
    journal = Journal(folder, name)
    for entry in records:
        journal.append(entry)
    return journal


def test_a_batch_lands_with_a_row_a_bar_and_one_for_a_symbol_without(tmp_path):
    write(tmp_path, record("NA"), record("GONE", "unknown", days=0)).land()
    assert [path.name for path in tmp_path.iterdir()] == ["batch-0001.parquet"]
    table = pq.read_table(tmp_path / "batch-0001.parquet")
    assert table.schema == ANSWER_SCHEMA
    first, second, third = table.to_pylist()
    facts = {"symbol": "NA", "asked_from": FIRST, "asked_to": LAST, "status": "ok", "reason": None}
    moment = dt.datetime(2024, 2, 16, 22, 0, 0, 500_000, dt.UTC)
    assert first == facts | {
        "fetched_at": moment, "date": FIRST, "open": 1.5, "high": 2.0, "low": 1.0, "close": 1.1, "volume": 2**33,
        "dividend": None, "split_ratio": 4.0,
    }  # fmt: skip
    assert (second["date"], second["close"], second["volume"], second["dividend"]) == (LAST, None, None, 0.24)
    assert (third["symbol"], third["status"], third["date"], third["reason"]) == (
        "GONE",
        "unknown",
        None,
        "HTTP 500 after 5 attempts",
    )


def test_a_run_that_was_stopped_and_taken_for_killed_lands_its_batch_when_it_goes_on(tmp_path):
    journal = write(tmp_path, record("AAA"), name="batch-0007")
    assert salvage(tmp_path) == 1
    journal.append(record("BBB"))
    journal.land()
    assert [path.name for path in tmp_path.iterdir()] == ["batch-0007.parquet"]
    assert {row["symbol"] for row in pq.read_table(tmp_path / "batch-0007.parquet").to_pylist()} == {"AAA", "BBB"}


def test_complete_lines_of_a_cut_journal_are_salvaged(tmp_path):
    journal = write(tmp_path, record("AAA"), record("BBB"), record("CCC"), name="batch-0007")
    journal.close()
    journal.path.write_bytes(journal.path.read_bytes()[:-20])
    assert salvage(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["batch-0007.parquet"]
    assert set(pq.read_table(tmp_path / "batch-0007.parquet")["symbol"].to_pylist()) == {"AAA", "BBB"}


def test_a_journal_without_a_complete_line_only_goes(tmp_path):
    journal = write(tmp_path)
    journal.path.write_bytes(b'{"symbol": "AAA"')
    assert (salvage(tmp_path), list(tmp_path.iterdir())) == (0, [])


def test_killed_between_landing_and_removing_the_journal(tmp_path):
    journal = write(tmp_path, record("AAA"))
    kept = journal.path.read_bytes()
    journal.land()
    journal.path.write_bytes(kept)
    landed = journal.target.read_bytes()
    assert salvage(tmp_path) == 0
    assert list(tmp_path.iterdir()) == [journal.target]
    assert journal.target.read_bytes() == landed


def test_only_answers_that_say_something_about_all_of_the_range_count(tmp_path):
    write(tmp_path, record("AAA"), record("BAD", "failed", days=0), record("GONE", "unknown", days=0)).land()
    requests = [BarRequest(symbol, FIRST, LAST) for symbol in ("NEW", "AAA", "BAD", "GONE")]
    assert [request.symbol for request in unanswered(tmp_path, requests)] == ["NEW", "BAD"]
    earlier = [
        BarRequest("AAA", FIRST - dt.timedelta(days=1), LAST),
        BarRequest("AAA", FIRST, LAST + dt.timedelta(days=1)),
    ]
    assert unanswered(tmp_path, earlier) == earlier
    write(tmp_path, record("AAA", first=dt.date(2023, 1, 3)), record("BAD"), name="batch-0002").land()
    assert unanswered(tmp_path, earlier) == earlier[1:]
    assert [request.symbol for request in unanswered(tmp_path, requests)] == ["NEW"]


def test_a_folder_that_does_not_exist_answers_nothing(tmp_path):
    request = BarRequest("AAA", FIRST, LAST)
    assert unanswered(tmp_path / "none", [request]) == [request]
    assert salvage(tmp_path / "none") == 0


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\xff garbage",
        b"[]",
        b"null",
        b'{"symbol": "BBB"}',
        json.dumps(record("BBB") | {"bars": "none"}).encode(),
        json.dumps(record("BBB") | {"bars": {"date": ["2024-02-15"]}}).encode(),
        json.dumps(record("BBB") | {"asked_from": "yesterday"}).encode(),
        json.dumps(record("BBB") | {"symbol": None}).encode(),
        json.dumps(record("BBB") | {"status": "fine"}).encode(),
        json.dumps(record("BBB") | {"reason": "\ud83d"}).encode(),
        json.dumps(record("BBB")).replace("8589934592", "9" * 400).encode(),
        b"[" * 1_000_000,
    ],
)
def test_a_line_that_is_no_answer_costs_only_itself(tmp_path, line, caplog):
    journal = write(tmp_path, record("AAA"))
    journal._file.write(line + b"\n")
    journal.append(record("CCC"))
    journal.close()
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert salvage(tmp_path) == 2
    assert set(pq.read_table(tmp_path / "batch-0001.parquet")["symbol"].to_pylist()) == {"AAA", "CCC"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "batch-0001.jsonl.partial.damaged",
        "batch-0001.parquet",
    ]
    assert [entry.getMessage() for entry in caplog.records] == [
        f"{journal.path} is damaged and set aside; what it answered is asked for again"
    ]
    assert salvage(tmp_path) == 0


def test_a_journal_of_nothing_but_damage_does_not_stop_a_run(tmp_path):
    (tmp_path / "batch-0001.jsonl.partial").write_bytes(b"\x00" * 5000 + b"\n")
    assert salvage(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["batch-0001.jsonl.partial.damaged"]
