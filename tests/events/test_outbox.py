"""Events are there with the rows they tell of, have the shape of their schemas, and lead to the same bars again."""

import datetime as dt
import json
import re

import pytest

from pipeline.config import ROOT
from pipeline.database.connection import reading, writing
from pipeline.database.temporary import Temporary
from pipeline.events import corrections, outbox
from pipeline.events.updates import stage_done
from pipeline.events.watchlists import hits_found, list_amended
from pipeline.market.history import change_bars, delete_histories

DAY = dt.date(2024, 2, 15)
TYPES = {
    "string": str, "integer": int, "number": (int, float), "null": type(None), "object": dict, "array": list,
    "boolean": bool,
}  # fmt: skip


def events():
    with reading() as connection:
        return outbox.behind(connection, "nobody", 10_000)


def assert_fits(value, schema):
    """The part of JSON Schema that the schemas use."""
    if "enum" in schema:
        assert value in schema["enum"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    assert not kinds or isinstance(value, tuple(TYPES[kind] for kind in kinds)), (value, kinds)
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= value.keys()
        for name, each in value.items():
            assert_fits(
                each, schema["properties"][name] if "properties" in schema else schema.get("additionalProperties", {})
            )
    if isinstance(value, list):
        for each in value:
            assert_fits(each, schema["items"])


@pytest.mark.parametrize("kind", outbox.VERSIONS)
def test_each_kind_has_a_schema(kind):
    assert outbox.schema(kind)["type"] == "object"
    with pytest.raises(AssertionError):
        assert_fits({"symbol": 1}, outbox.schema(kind))


def test_the_examples_of_the_page_fit_their_schemas():
    page = (ROOT / "docs" / "events.md").read_text()
    examples = re.findall(r"```json (\S+)\n(.+?)```", page, re.DOTALL)
    assert {kind for kind, _ in examples} == set(outbox.VERSIONS)
    for kind, text in examples:
        body = json.loads(text)
        assert_fits(body, outbox.schema(kind))
        assert body.keys() <= outbox.schema(kind)["properties"].keys()


def test_an_event_that_is_not_committed_is_none(data_dir):
    with pytest.raises(ZeroDivisionError), writing() as connection:
        stage_done(connection, "CollectPrices", "stock_data", DAY)
        1 / 0  # noqa: B018
    with writing():
        pass
    assert events() == []


def test_a_stage_that_is_done_is_told_with_its_rows(data_dir):
    with writing() as connection:
        connection.execute(
            "INSERT INTO price_coverage BY NAME "
            "SELECT ? AS date, 'S' || i AS symbol, if(i < 3, 'stored', 'failed') AS state FROM range(4) t(i)",
            [DAY],
        )
        stage_done(connection, "ComputeIndicators", "technical_indicators", DAY)
    (event,) = events()
    body = json.loads(event.body)
    assert (event.kind, event.key, event.version) == ("table-updates", "ComputeIndicators", 1)
    assert (body["session"], body["counts"], body["coverage"]) == ("2024-02-15", {"technical_indicators": 0}, 0.75)
    assert_fits(body, outbox.schema(event.kind))


def bars_of(connection):
    names = ("open", "high", "low", "close", "volume")
    rows = connection.execute("SELECT symbol, date::VARCHAR, open, high, low, close, volume FROM stock_data").fetchall()
    return {(symbol, date): dict(zip(names, values, strict=True)) for symbol, date, *values in rows}


def change(connection, rows):
    """Carry out changes: symbol, date, change, close."""
    with Temporary(connection) as tables:
        values = ", ".join(
            f"('{symbol}', DATE '{date}', '{kind}', {close or 'NULL'}::DOUBLE)" for symbol, date, kind, close in rows
        )
        tables.make(
            "bar_changes",
            f"""
            SELECT symbol, date, change, close - 1 AS open, close + 1 AS high, close - 2 AS low, close,
                   if(close IS NULL, NULL, 1000)::BIGINT AS volume, now() AS fetched_at,
                   if(change = 'added', NULL, 'because') AS reason, if(change = 'restated', 0.5, NULL)::DOUBLE AS factor
            FROM (VALUES {values}) t(symbol, date, change, close)
            """,
        )
        change_bars(tables)


def replayed(added, told):
    """The bars that corrections make of those that were added, as a reader of the events does it."""
    bars = dict(added)
    for event in told:
        body = json.loads(event.body)
        symbol = body["symbol"]
        if body["change"] == "closed":
            bars = {place: bar for place, bar in bars.items() if place[0] != symbol}
        elif body["change"] == "carried":
            moved = {(symbol, date): bar for (old, date), bar in bars.items() if old == body["old_symbol"]}
            bars = moved | {place: bar for place, bar in bars.items() if place[0] != body["old_symbol"]}
        for each in body.get("bars", ()):
            place = symbol, each["date"]
            assert bars.pop(place) == each["before"]
            if each["after"] is not None:
                bars[place] = each["after"]
    return bars


def test_corrections_and_the_bars_that_were_added_give_the_table(data_dir):
    added = {}

    def add(rows):
        change(connection, [(symbol, date, "added", close) for symbol, date, close in rows])
        before.update(bars_of(connection))

    with writing() as connection:
        before = added
        add(
            [
                ("AAA", "2023-12-28", 10.0),
                ("AAA", "2024-01-03", 11.0),
                ("BBB", "2024-01-03", 50.0),
                ("CCC", "2024-01-03", 7.0),
            ]
        )
        add([("CCC", "2024-01-04", 7.5), ("DDD", "2024-01-04", 3.25)])
    with writing() as connection:
        change(connection, [("AAA", "2024-01-03", "revised", 11.5), ("BBB", "2024-01-03", "deleted", None)])
        change(connection, [("AAA", "2023-12-28", "restated", 5.0), ("AAA", "2024-01-03", "restated", 5.75)])
        delete_histories(connection, ["DDD"], "another company's")
        corrections.history_carried(connection, "CCC", "EEE", DAY, "the same name")
        connection.execute("UPDATE stock_data SET symbol = 'EEE' WHERE symbol = 'CCC'")
    told = events()
    assert {event.kind for event in told} == {"corrections"}
    assert [event.key for event in told] == ["AAA", "BBB", "AAA", "AAA", "DDD", "EEE"]
    for event in told:
        assert_fits(json.loads(event.body), outbox.schema("corrections"))
    with reading() as connection:
        assert replayed(added, told) == bars_of(connection)
        assert len(bars_of(connection)) == 4


def test_a_history_that_is_closed_is_told(data_dir):
    with writing() as connection:
        change(connection, [("AAA", "2024-01-03", "added", 11.0)])
        corrections.history_closed(connection, "AAA", "Old Inc.", DAY, "was Old, is now New")
    (event,) = events()
    body = json.loads(event.body)
    assert (body["change"], body["count"], body["name"]) == ("closed", 1, "Old Inc.")
    assert_fits(body, outbox.schema("corrections"))


def test_hits_are_told_with_the_values_that_fired(data_dir):
    with writing() as connection:
        connection.execute(
            """
            INSERT INTO daily_watchlist BY NAME
            SELECT ? AS scan_date, 'AAA' AS symbol, 'A & B "quoted"' AS name, 2.5e9 AS market_cap,
                   'rsi_oversold' AS scan_reason,
                   1 AS priority, 10.5 AS close_price, 3000000000 AS volume, 28.5 AS rsi_14, 3 AS market_cap_tier
            """,
            [DAY],
        )
        hits_found(connection, DAY)
    (event,) = events()
    body = json.loads(event.body)
    assert (event.key, body["event"], body["scan"], body["values"]["rsi_14"]) == ("AAA", "hit", "rsi_oversold", 28.5)
    assert body["values"]["volume"] == 3_000_000_000 and body["values"]["bb_position"] is None
    assert_fits(body, outbox.schema("watchlist"))


def amend(connection, change, symbol, why):
    connection.execute(
        "INSERT INTO watchlist_amendments BY NAME SELECT ? AS scan_date, ? AS change, ? AS symbol, "
        "'rsi_oversold' AS scan_reason, ? AS reason, now() AS amended_at",
        [DAY, change, symbol, why],
    )


def test_an_amended_list_is_told_once_with_what_came_what_went_and_why(data_dir):
    with writing() as connection:
        amend(connection, "removed", "OLD", "of a scan before")
    with writing() as connection:
        connection.execute(
            "INSERT INTO daily_watchlist BY NAME SELECT ? AS scan_date, 'AAA' AS symbol, 'A' AS name, "
            "2.5e9 AS market_cap, 'rsi_oversold' AS scan_reason, 1 AS priority, 10.5 AS close_price, 7 AS volume, "
            "28.5 AS rsi_14, 3 AS market_cap_tier",
            [DAY],
        )
        amend(connection, "added", "AAA", "final volume")
        amend(connection, "removed", "BBB", "volume 1 instead of 2")
        list_amended(connection, DAY)
    bodies = [json.loads(event.body) for event in events()]
    assert {(body["event"], body["symbol"], body["reason"]) for body in bodies} == {
        ("added", "AAA", "final volume"), ("removed", "BBB", "volume 1 instead of 2"),
    }  # fmt: skip
    assert {body["symbol"]: body["values"] and body["values"]["rsi_14"] for body in bodies} == {
        "AAA": 28.5,
        "BBB": None,
    }
    for body in bodies:
        assert_fits(body, outbox.schema("watchlist"))


def test_an_event_with_a_name_is_written_once(data_dir):
    for _ in range(2):
        with writing() as connection:
            outbox.add_once(connection, "signals", "AAA", "a name", {"event": "trigger"})
    with writing() as connection:
        outbox.add_once(connection, "signals", "AAA", "another name", {"event": "trigger"})
    assert len(events()) == len({event.event_id for event in events()}) == 2


def test_old_events_go_when_every_transport_has_them(data_dir):
    with writing() as connection:
        for number in range(4):
            outbox.add(connection, "signals", "AAA", {"number": number})
        connection.execute(
            "UPDATE outbox SET created_at = TIMESTAMPTZ '2024-01-01 00:00:00+00' "
            "WHERE id < (SELECT max(id) FROM outbox)"
        )
    first, second, third, newest = events()
    moment = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    with writing() as connection:
        outbox.move(connection, "one", third.id)
        outbox.move(connection, "two", first.id)
        assert outbox.trim(connection, moment, ["one", "two"]) == 1
        assert outbox.trim(connection, moment, ["one", "two", "new"]) == 0
        assert outbox.trim(connection, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), ["one"]) == 0
        assert outbox.trim(connection, moment, ["one"]) == 2
    assert events() == [newest]
    assert second.id > first.id
