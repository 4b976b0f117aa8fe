"""What `pipeline status` reads: the sessions that are shown, and nothing of the years before."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from pipeline.cli import status
from pipeline.database.connection import writing
from tests.support.runs import mark_done
from tests.support.stored_market import SESSIONS, fill

EARLIER, NEWEST = SESSIONS[-30], SESSIONS[-1]


def test_what_is_not_asked_for_is_not_read(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark_done(EARLIER, NEWEST)
    with writing() as connection:
        fill(connection, [EARLIER, NEWEST])
        connection.execute("UPDATE stock_data SET is_final = false")
    records = status.records
    rows: list[dt.date] = []

    def noting(*query: object, **values: object) -> list[dict[str, object]]:
        found = records(*query, **values)
        rows.extend(row["date"] for row in found if "date" in row)
        return found

    monkeypatch.setattr(status, "records", noting)
    (shown,) = status.Overview().sessions([NEWEST])
    assert shown.symbols["stored"] == shown.provisional == 39
    assert set(rows) == {NEWEST}
    (shown,) = status.Overview().sessions([EARLIER])
    assert shown.symbols["stored"] == shown.provisional == 40
