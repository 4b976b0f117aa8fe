"""The watchlist against a plain rendering of the specification in SQL, over a stored market."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from pipeline.database.connection import writing
from pipeline.errors import ScanError
from pipeline.watchlist.amendments import store_watchlist
from pipeline.watchlist.hits import day_view, find_hits, hits_by_scan, watchlist_rows
from pipeline.watchlist.sandbox import sandbox
from pipeline.watchlist.scans import CheckedScan, Scan, check, configured_scans
from tests.support.stored_market import CRASHED, GONE, LAST, MARKUP, MARKUP_NAME, SESSIONS, fill

BEFORE = SESSIONS[-2]

#: The three scans of the specification and the rule of the smallest priority, written out without any of our code.
PLAIN = """
WITH day AS (
    SELECT symbol, open, close, b.volume, rsi_14, bb_lower, avg_volume_30, market_cap
    FROM stock_data b JOIN technical_indicators USING (symbol, date) JOIN symbol_snapshots USING (symbol, date)
    WHERE date = $day
), found AS (
    (SELECT symbol, 'rsi_oversold' AS scan, 1 AS p FROM day
     WHERE rsi_14 < 30 AND market_cap > 500000000 AND volume > 1.5 * avg_volume_30
     ORDER BY market_cap DESC, symbol LIMIT 20)
    UNION ALL
    (SELECT symbol, 'bollinger_lower_touch', 2 FROM day
     WHERE close <= 1.02 * bb_lower AND market_cap > 1000000000 ORDER BY bb_lower - close DESC, symbol LIMIT 15)
    UNION ALL
    (SELECT symbol, 'high_volume_breakout', 3 FROM day
     WHERE volume > 3 * avg_volume_30 AND close > 1.02 * open ORDER BY volume / avg_volume_30 DESC, symbol LIMIT 10)
)
SELECT symbol, arg_min(scan, p) FROM found GROUP BY symbol ORDER BY symbol
"""


@pytest.fixture
def stored(data_dir: pathlib.Path) -> pathlib.Path:
    with writing() as connection:
        fill(connection, [BEFORE, LAST])
    return data_dir


def scan(**changes: object) -> CheckedScan:
    plain = Scan(name="own", description="", priority=1, condition="true", order="symbol", limit=1000)
    return check((dataclasses.replace(plain, **changes),))[0]  # type: ignore[arg-type]


def found(*declared: CheckedScan) -> dict[str, dict[str, object]]:
    with writing() as connection:
        view = day_view(connection, LAST)
    return {row["symbol"]: row for row in watchlist_rows(view, declared).to_pylist()}


def test_agrees_with_the_specification(stored: pathlib.Path) -> None:
    with writing() as connection:
        view = day_view(connection, LAST)
        rows = watchlist_rows(view, configured_scans())
        store_watchlist(connection, LAST, rows, view)
        store_watchlist(connection, LAST, rows, view)  # replaced, not added
        plain = connection.execute(PLAIN, {"day": LAST}).fetchall()
        kept = connection.execute(
            "SELECT symbol, scan_reason FROM daily_watchlist WHERE scan_date = ? ORDER BY symbol", [LAST]
        ).fetchall()
    assert kept == plain
    assert CRASHED in dict(kept) and len(kept) > 2
    assert sum(hits_by_scan(rows, configured_scans()).values()) == len(kept)


def test_each_hit_keeps_its_rule_and_the_values_that_fired(stored: pathlib.Path) -> None:
    rule = configured_scans()[0]
    hit = found(*configured_scans())[CRASHED]
    values = json.loads(str(hit["fired"]))
    assert (hit["scan_reason"], hit["rule_version"]) == (rule.name, rule.version)
    assert list(values) == ["rsi_14", "market_cap", "volume", "avg_volume_30"]
    assert values["rsi_14"] == hit["rsi_14"] and values["volume"] == hit["volume"]


def test_values_of_the_session_before(stored: pathlib.Path) -> None:
    hits = found(
        scan(condition="prev_close < 0 OR prev_volume IS NOT NULL OR prev_rsi_14 IS NOT NULL OR prev_market_cap > 0")
    )
    with writing() as connection:
        before = connection.execute(
            "SELECT symbol, close, volume, rsi_14 "
            "FROM stock_data JOIN technical_indicators USING (symbol, date) WHERE date = ?",
            [BEFORE],
        ).fetchall()
    assert len(hits) == 39
    for symbol, close, volume, rsi in before:
        fired = json.loads(str(hits[symbol]["fired"]))
        assert (fired["prev_close"], fired["prev_volume"], fired["prev_rsi_14"]) == (close, volume, rsi)


def test_view_of_several_sessions_is_that_of_each(stored: pathlib.Path) -> None:
    with writing() as connection:
        both = day_view(connection, BEFORE, LAST).to_pylist()
        each = day_view(connection, BEFORE).to_pylist() + day_view(connection, LAST).to_pylist()
    key = lambda row: (row["date"], row["symbol"])  # noqa: E731
    assert sorted(both, key=key) == sorted(each, key=key) and len(both) == 78


def test_symbol_that_left_is_not_expected(stored: pathlib.Path) -> None:
    assert GONE not in found(scan())


def test_condition_that_cannot_be_computed_does_not_hold(stored: pathlib.Path) -> None:
    every = found(scan())
    fit = found(scan(condition="ln(close - 60) > 0"))
    assert set(fit) == {symbol for symbol, row in every.items() if float(str(row["close_price"])) > 61}
    assert found(scan(condition="close / (volume - volume) > 1")) == {}


def test_limit_takes_the_first_of_the_order(stored: pathlib.Path) -> None:
    assert list(found(scan(order="market_cap DESC -- the largest", limit=2))) == ["K39", "K38"]


def test_smallest_priority_wins_whatever_the_order_of_the_scans(stored: pathlib.Path) -> None:
    first, second = scan(name="second", priority=2), scan(name="first", priority=1, limit=3)
    assert [row["scan_reason"] for row in found(first, second).values()].count("first") == 3


def test_order_that_fails_on_the_day_names_the_scan(stored: pathlib.Path) -> None:
    with pytest.raises(ScanError, match=r"\[own\].*logarithm"):
        found(scan(order="ln(close - 60)"))


def test_text_from_outside_stays_text(stored: pathlib.Path) -> None:
    hits = found(scan(condition="name LIKE '<script>%'"))
    assert list(hits) == [MARKUP] and hits[MARKUP]["name"] == MARKUP_NAME
    assert json.loads(str(hits[MARKUP]["fired"])) == {"name": MARKUP_NAME}


def test_hits_of_all_scans_are_kept_apart(stored: pathlib.Path) -> None:
    with writing() as connection:
        view = day_view(connection, BEFORE, LAST)
    with sandbox(view) as opened:
        find_hits(opened, [scan(limit=3), scan(name="other", limit=2)])
        counts = opened.execute("SELECT scan, date, count(*) FROM hits GROUP BY ALL ORDER BY ALL").fetchall()
    assert counts == [("other", BEFORE, 2), ("other", LAST, 2), ("own", BEFORE, 3), ("own", LAST, 3)]


@pytest.mark.parametrize(("market_cap", "tier"), [(50e9, 1), (50e9 - 1, 2), (10e9, 2), (10e9 - 1, 3), (None, 3)])
def test_a_tier_begins_at_its_limit(stored: pathlib.Path, market_cap: float | None, tier: int) -> None:
    with writing() as connection:
        connection.execute("UPDATE symbol_snapshots SET market_cap = ? WHERE symbol = ?", [market_cap, CRASHED])
    assert found(scan())[CRASHED]["market_cap_tier"] == tier


def test_a_hit_knows_its_place_what_its_rule_found_and_who_else_found_it(stored: pathlib.Path) -> None:
    first = scan(name="first", order="market_cap DESC", limit=3)
    second = scan(name="second", priority=2, condition="market_cap > 0", order="market_cap", limit=100)
    rows = found(first, second)
    largest = sorted(rows, key=lambda symbol: -float(str(rows[symbol]["market_cap"])))
    assert [(rows[symbol]["place"], rows[symbol]["found"]) for symbol in largest[:3]] == [(1, 39), (2, 39), (3, 39)]
    assert [rows[symbol]["also_found_by"] for symbol in largest[:4]] == [["second"]] * 3 + [[]]
    assert (rows[largest[3]]["scan_reason"], rows[largest[3]]["place"]) == ("second", 36), (
        "its place among all it found"
    )
