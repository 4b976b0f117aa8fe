"""When a stored history is that of something else than its symbol stands for now."""

from __future__ import annotations

import datetime as dt
import pathlib

import pytest

from pipeline.database.connection import writing
from pipeline.market.succession import close_ended

BEFORE, DAY = dt.date(2024, 2, 15), dt.date(2024, 2, 16)
NAME = "Alpha Holdings Inc. Common Stock"


def is_closed(name: str, previous_close: float) -> bool:
    """AAA was NAME and closed at 100; on DAY it is listed under `name`, with this close of the session before."""
    with writing() as connection:
        connection.execute(
            "INSERT INTO price_ranges BY NAME SELECT 'AAA' AS symbol, ? AS first_asked, ? AS last_asked",
            [BEFORE, BEFORE],
        )
        connection.execute(
            """
            INSERT INTO stock_data BY NAME
            SELECT 'AAA' AS symbol, ?::DATE AS date, 100 AS open, 100 AS high, 100 AS low, 100 AS close, 1 AS volume,
                   now() AS fetched_at
            """,
            [BEFORE],
        )
        connection.execute(
            """
            INSERT INTO symbol_snapshots BY NAME
            SELECT unnest(?::DATE[]) AS date, 'AAA' AS symbol, unnest(?) AS name, unnest(?::DOUBLE[]) AS last_sale,
                   1.0 AS net_change
            """,
            [[BEFORE, DAY], [NAME, name], [101.0, previous_close + 1]],
        )
        connection.execute(
            "INSERT INTO session_universe BY NAME SELECT ?::DATE AS date, ?::DATE AS snapshot_date", [DAY, DAY]
        )
        closed = close_ended(connection, DAY)
        assert (connection.execute("SELECT count(*) FROM stock_data").fetchone() == (0,)) == bool(closed)
    return bool(closed)


@pytest.mark.parametrize(
    ("name", "is_another"),
    [
        (NAME, False),
        (NAME.upper(), False),
        ("Beta Holdings Inc. Common Stock", False),  # by Jaro and Winkler 0.914 alike
        ("Halo Welding Common Stock", False),  # 0.764
        ("Global Building Corp. Common Stock", True),  # 0.744
        ("Zenith Gold Trust Units", True),
    ],
)
def test_a_name_is_another_companys_when_it_is_little_alike(
    data_dir: pathlib.Path, name: str, is_another: bool
) -> None:
    assert is_closed(name, 10.0) is is_another


@pytest.mark.parametrize(
    ("previous_close", "is_another"), [(100.0, False), (159.9, False), (160.1, True), (62.6, False), (62.4, True)]
)
def test_a_price_goes_on_up_to_a_factor_of_1_6(data_dir: pathlib.Path, previous_close: float, is_another: bool) -> None:
    assert is_closed("Zenith Gold Trust Units", previous_close) is is_another
