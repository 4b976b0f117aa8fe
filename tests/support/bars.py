"""Bars in the database of a test, made and counted."""

from __future__ import annotations

import datetime as dt
import pathlib

from pipeline.database.connection import reading, writing

DAY = dt.date(2024, 2, 16)


def add_bars(count: int, day: dt.date = DAY) -> None:
    """A bar of that day for each of the symbols S0, S1 ..."""
    with writing() as connection:
        connection.execute(
            "INSERT INTO stock_data (symbol, date, open, high, low, close, volume, fetched_at) "
            "SELECT 'S' || i, ?, 1, 1, 1, 1, 1, now() FROM range(?) t(i)",
            [day, count],
        )


def bars_in(path: pathlib.Path) -> int:
    """The bars of the database, or of a copy of it."""
    with reading(path) as connection:
        return int(connection.execute("SELECT count(*) FROM stock_data").fetchall()[0][0])
