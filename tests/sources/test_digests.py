"""Digests of bars: any change of any value, also one that two rows share, gives another one."""

from __future__ import annotations

import duckdb
import pytest

from pipeline.sources.digests import digest_query

BARS = """
    SELECT 'AAA' AS symbol, DATE '2024-01-02' + n::INTEGER AS date, 10.0 + n AS open, 12.0 + n AS high, 9.0 AS low,
           11.0 AS close, 1000 + n AS volume, NULL::DOUBLE AS dividend, NULL::DOUBLE AS split_ratio
    FROM range(20) t(n)
"""


def digest(replaced: str = "symbol") -> int:
    query = digest_query(f"(SELECT * REPLACE ({replaced}{'' if ' AS ' in replaced else ' AS symbol'}) FROM ({BARS}))")
    ((_, _, found),) = duckdb.sql(query).fetchall()
    return int(found)


@pytest.mark.parametrize(
    "change",
    [
        "close + 0.01 AS close",
        "CASE WHEN volume < 1002 THEN volume + 1 ELSE volume END AS volume",
        "CASE WHEN volume < 1002 THEN 0.2 END AS dividend",
        "CASE WHEN volume < 1002 THEN 4 END AS split_ratio",
        "4 AS split_ratio",
    ],
)
def test_a_value_that_differs_in_two_rows_or_all_gives_another_digest(change: str) -> None:
    assert digest(change) != digest()


def test_an_event_that_is_moved_gives_another_digest() -> None:
    moved = [f"CASE WHEN volume = {1000 + n} THEN 4 END AS split_ratio" for n in (3, 5)]
    assert digest(moved[0]) != digest(moved[1])


def test_no_event_has_one_digest_however_it_is_spelled() -> None:
    assert digest("0 AS dividend") == digest("0 AS split_ratio") == digest("1 AS split_ratio") == digest()
