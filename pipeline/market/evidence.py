"""What speaks for and against answers: temporary tables, all made and dropped here.

    with Evidence(connection, folder, requests) as evidence:
        judge(evidence)           # verdicts.py
        store_answers(evidence)   # load.py

Each step adds its table, and the next ones read it by its name:

| table | one row for | made by |
|---|---|---|
| `requests` | each request: symbol, first, last, not_before | here |
| `received` | each bar of the symbols in the folder's batches (sources/answers.py has the columns) | here |
| `answers` | each request that has an answer: the newest usable one that covers it, else the newest failure | here |
| `answered_bars` | each bar of those answers, with a date | here |
| `judged_bars` | each answered bar that has prices, with the `rule` that it breaks | validation.py |
| `overlap` | each good bar that is stored, too: both closes, and their ratio `factor` | adjustment.py |
| `facts` | each answer: what the witnesses say of it | facts.py |
| `verdicts` | each answer: verdict, reason, factor | verdicts.py |
| `bar_changes` | each bar of `stock_data` that is about to change | history.py |
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline import calendar
from pipeline.database.temporary import Temporary
from pipeline.sources.protocol import BarRequest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ANSWER_COLUMNS = """
    symbol VARCHAR, asked_from DATE, asked_to DATE, status VARCHAR, reason VARCHAR, fetched_at TIMESTAMPTZ, date DATE,
    open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume BIGINT, dividend DOUBLE, split_ratio DOUBLE
"""


class Evidence(Temporary):
    """The answers of a folder to requests, and the tables that the judgement of them needs (see above)."""

    def __init__(self, connection: DuckDBPyConnection, folder: pathlib.Path, requests: Sequence[BarRequest]) -> None:
        super().__init__(connection)
        self._take_requests(requests)
        self._take_answers(folder)

    def __enter__(self) -> Evidence:
        return self

    def _take_requests(self, requests: Sequence[BarRequest]) -> None:
        columns: dict[str, list[Any]] = {
            name: [getattr(request, name) for request in requests] for name in ("symbol", "first", "last", "not_before")
        }
        self.make(
            "requests",
            """
            SELECT unnest($symbol::VARCHAR[]) AS symbol, unnest($first::DATE[]) AS first, unnest($last::DATE[]) AS last,
                   unnest($not_before::TIMESTAMPTZ[]) AS not_before
            """,
            columns,
        )
        self.make("calendar_sessions", "SELECT unnest($days::DATE[]) AS date", {"days": list(calendar.sessions())})

    def _take_answers(self, folder: pathlib.Path) -> None:
        from pipeline.sources.answers import batch_files

        files = [str(path) for path in batch_files(folder)]
        if files:
            self.make(
                "received", "SELECT a.* FROM read_parquet($files) a SEMI JOIN requests USING (symbol)", {"files": files}
            )
        else:
            self._made["received"] = None
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE received ({_ANSWER_COLUMNS})")
        self.choose_answers()

    def choose_answers(self) -> None:
        """Make `answers` and `answered_bars` of `received`: of several answers the newest usable one counts.

        An answer that was received before its request's `not_before` is none.
        """
        self.make(
            "answers",
            """
            SELECT DISTINCT ON (a.symbol) a.symbol, a.asked_from, a.asked_to, a.status, a.reason, a.fetched_at
            FROM received a JOIN requests r
              ON a.symbol = r.symbol AND (a.status <> 'ok' OR (a.asked_from <= r.first AND a.asked_to >= r.last))
             AND (r.not_before IS NULL OR a.fetched_at >= r.not_before)
            ORDER BY a.symbol, a.status = 'failed', a.fetched_at DESC, a.asked_from
            """,
        )
        self.make(
            "answered_bars",
            """
            SELECT r.* FROM received r JOIN answers a USING (symbol, asked_from, asked_to, fetched_at)
            WHERE a.status = 'ok' AND r.date IS NOT NULL
            """,
        )
