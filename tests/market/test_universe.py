"""Which listing serves a session, and whose bars it needs."""

import datetime as dt

import pytest

from pipeline.market.universe import expected_symbols, snapshot_dates, snapshot_for


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(f"2024-02-{text}")


@pytest.fixture
def connection(tables, data_dir):
    return tables


def list_companies(connection, date, **caps):
    for symbol, cap in caps.items():
        connection.execute(
            "INSERT INTO symbol_snapshots (date, symbol, name, market_cap) VALUES (?, ?, ?, ?)",
            [date, symbol, f"{symbol} Inc.", cap],
        )


@pytest.mark.parametrize(
    ("stored", "session", "chosen"),
    [
        (["14", "16", "20"], "16", "16"),  # its own
        (["14", "20", "21"], "16", "20"),  # the nearest later one
        (["15"], "16", "15"),  # one session older
        (["14"], "16", None),  # two sessions older
        (["16"], "20", "16"),  # one session older across a weekend and a holiday
        (["15", "21"], "16", "21"),  # a later one before an older one, even when the older one is nearer
        ([], "16", None),
    ],
)
def test_the_snapshot_that_serves_a_session(connection, stored, session, chosen):
    for date in stored:
        list_companies(connection, day(date), AAA=1e9)
    assert snapshot_for(connection, day(session)) == (chosen and day(chosen))
    assert snapshot_dates(connection) == {day(date) for date in stored}


def test_an_older_listing_is_used_when_the_setting_allows_it(connection, settings):
    list_companies(connection, day("14"), AAA=1e9)
    settings("quality", max_listing_age=2)
    assert snapshot_for(connection, day("16")) == day("14")


def test_expected_are_the_companies_above_the_limit_largest_first(connection):
    list_companies(connection, day("15"), GONE=9e12)
    list_companies(connection, day("16"), BBB=2e9, AAA=2e9, LARGE=3e12, LIMIT=1e8, ABOVE=1e8 + 1, SMALL=9e7, NA=None)
    connection.execute("INSERT INTO session_universe (date, snapshot_date) VALUES (?, ?)", [day("14"), day("16")])
    assert expected_symbols(connection, day("14")) == ["LARGE", "AAA", "BBB", "ABOVE"]
    assert expected_symbols(connection, day("16")) == []  # nothing was decided for it
