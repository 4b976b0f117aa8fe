"""The folder of Parquet and CSV files as a source: written with DuckDB and by hand, and against its documentation."""

import datetime as dt
import gzip
import logging
import os
import pathlib
import re
import time

import duckdb
import luigi
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.config import ROOT
from pipeline.errors import FilesSourceError, ListingUnavailableError
from pipeline.sources.answers import ANSWER_SCHEMA, batch_files
from pipeline.sources.files.source import FilesSource
from pipeline.sources.files.tables import TABLES
from pipeline.sources.protocol import BarRequest, Company

FIRST, LAST = dt.date(2024, 2, 15), dt.date(2024, 2, 16)
BARS = """symbol,date,open,high,low,close,volume
AAPL,2024-02-15,183.55,184.49,181.35,183.86,65434500
AAPL,2024-02-16,183.42,184.85,181.67,182.31,49701400
NA,2024-02-16,1.7,1.95,1.66,1.94,195574
"""
LISTING = """symbol,name,market_cap
AAPL,Apple Inc. Common Stock,2815209325110
"""


@pytest.fixture
def vendor(tmp_path):
    config = luigi.configuration.get_config()
    before = config.get("files", "path", None)
    config.set("files", "path", str(tmp_path))
    (tmp_path / "listings").mkdir()
    (tmp_path / "bars").mkdir()
    yield tmp_path
    if before is None:
        config.remove_option("files", "path")
    else:
        config.set("files", "path", before)


def put(vendor, name, text):
    (vendor / name).write_text(text, encoding="utf-8")


def put_parquet(vendor, name, query):
    duckdb.execute(f"COPY ({query}) TO '{vendor / name}' (FORMAT parquet)")


def listed(session=LAST):
    return {company.symbol: company for company in FilesSource().listing(session).companies}


def collected(vendor, *requests):
    folder = vendor / "raw"
    FilesSource().collect([BarRequest(*request) for request in requests], folder, lambda *step: None)
    return [row for path in batch_files(folder) for row in pq.read_table(path).to_pylist()]


# --- listings --------------------------------------------------------------------------------------------------------


def test_reads_a_listing_with_tickers_that_look_like_values(vendor):
    put(
        vendor,
        "listings/all.csv",
        'symbol,name,market_cap\nNA,Nano Labs,54075890\nTRUE,TrueCar,300\nNAN,"Nan, Inc.",\nON,,0.00\n',
    )
    assert listed() == {
        "NA": Company("NA", "Nano Labs", market_cap=54075890.0),
        "TRUE": Company("TRUE", "TrueCar", market_cap=300.0),
        "NAN": Company("NAN", "Nan, Inc."),
        "ON": Company("ON", "ON"),
    }


def test_a_listing_without_dates_is_the_present_one(vendor, clock):
    """What was listed on a past session it does not say: there it is a later listing, and is called one."""
    put(vendor, "listings/all.csv", LISTING)
    clock(2024, 2, 20, 18, 0)
    for session in (FIRST, LAST, dt.date(2024, 2, 20)):
        assert FilesSource().listing(session).session == dt.date(2024, 2, 20)
    assert not FilesSource().keeps_listings
    put(vendor, "listings/dated.csv", LISTING.replace("cap", "cap,date").replace("110", "110,2024-02-15"))
    assert FilesSource().keeps_listings


def test_a_listing_has_the_companies_of_the_configured_exchanges(vendor, settings, caplog):
    rows = ("A,A,1,NYSE", "B,B,1,nasdaq", "C,C,1,", "D,D,1,Amex", "E,E,1,nasdaq", "E,E,1,nyse")
    put(vendor, "listings/all.csv", "\n".join(["symbol,name,market_cap,exchange", *rows]))
    caplog.set_level(logging.INFO, "pipeline")
    assert {symbol: company.exchange for symbol, company in listed().items()} == {"B": "nasdaq", "C": "nasdaq"}
    assert caplog.messages == ["3 companies of amex, nyse are left out: [market] exchanges = nasdaq"]
    settings("market", exchanges="nyse,nasdaq")
    assert {symbol: company.exchange for symbol, company in listed().items()} == {
        "A": "nyse", "B": "nasdaq", "C": "nyse", "E": "nyse",
    }  # fmt: skip


def test_an_exchange_that_there_is_not_is_refused(vendor):
    put(vendor, "listings/all.csv", "symbol,name,market_cap,exchange\nSAP,SAP SE,1,Frankfurt\n")
    with pytest.raises(FilesSourceError, match="the exchange 'Frankfurt', of SAP; there are nasdaq, nyse, amex"):
        listed()


@pytest.mark.parametrize(
    ("session", "of", "names"),
    [
        (dt.date(2024, 2, 14), dt.date(2024, 2, 14), ["old", "always"]),
        (dt.date(2024, 2, 15), dt.date(2024, 2, 14), ["old", "always"]),
        (dt.date(2024, 2, 16), dt.date(2024, 2, 16), ["new", "always"]),
        (dt.date(2024, 3, 1), dt.date(2024, 2, 16), ["new", "always"]),
        (dt.date(2024, 2, 13), dt.date(2024, 2, 13), ["undated", "always"]),
    ],
)
def test_a_session_uses_the_newest_listing_that_is_not_later(vendor, session, of, names):
    put(vendor, "listings/z.csv", "symbol,name,market_cap\nAAPL,undated,1\nMSFT,always,2\n")
    put(vendor, "listings/a.csv", "symbol,name,market_cap,date\nAAPL,old,1,2024-02-14\nAAPL,new,1,2024-02-16\n")
    listing = FilesSource().listing(session)
    assert listing.session == of
    assert [company.name for company in sorted(listing.companies, key=lambda c: c.symbol)] == names


def test_a_listing_of_a_day_off_is_of_the_session_before(vendor):
    put(vendor, "listings/a.csv", "symbol,name,market_cap,date\nAAPL,Apple,1,2024-02-18\n")
    assert FilesSource().listing(dt.date(2024, 2, 20)).session == dt.date(2024, 2, 16)


def test_of_two_files_the_later_name_counts(vendor):
    put(vendor, "listings/1.csv", LISTING)
    put(vendor, "listings/2.csv", LISTING.replace("Apple Inc.", "Apple Corrected"))
    put(vendor, "listings/.3.csv", LISTING.replace("Apple Inc.", "Half Wri"))
    assert listed()["AAPL"].name == "Apple Corrected Common Stock"


def test_reads_all_columns_of_a_parquet_listing(vendor):
    put_parquet(
        vendor,
        "listings/all.parquet",
        "SELECT 'AAPL' AS Symbol, 'Apple' AS NAME, 2.8e12 AS Market_Cap, TIMESTAMP '2024-02-16 00:00:00' AS date, "
        "'Technology' AS sector, 'Computers' AS industry, 'United States' AS country, 1980.0 AS ipo_year, "
        "182.31 AS last_sale, -1.55 AS net_change, 5368709120.0 AS volume, 'ignored' AS extra "
        "UNION ALL SELECT NULL, 'no symbol', 'NaN', NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL",
    )
    expected = Company(
        "AAPL", "Apple", "Technology", "Computers", "United States", 2.8e12, 1980, 182.31, -1.55, 5368709120
    )
    assert listed() == {"AAPL": expected}


def test_no_listing_early_enough(vendor):
    put(vendor, "listings/a.csv", "symbol,name,market_cap,date\nAAPL,Apple,1,2024-02-16\n")
    with pytest.raises(
        ListingUnavailableError, match="no listing for 2024-02-15 or earlier: the first one there is of 2024-02-16"
    ):
        FilesSource().listing(FIRST)


# --- bars ------------------------------------------------------------------------------------------------------------


def test_collects_the_range_asked_for(vendor):
    put(vendor, "bars/all.csv", BARS)
    rows = collected(vendor, ("AAPL", LAST, LAST), ("NA", FIRST, LAST))
    facts = [(row["symbol"], row["date"], row["close"], row["volume"], row["status"]) for row in rows]
    assert facts == [("AAPL", LAST, 182.31, 49701400, "ok"), ("NA", LAST, 1.94, 195574, "ok")]
    assert [(row["asked_from"], row["asked_to"]) for row in rows] == [(LAST, LAST), (FIRST, LAST)]


def test_every_request_has_an_answer(vendor):
    put(vendor, "bars/all.csv", BARS)
    rows = collected(vendor, ("NA", FIRST, FIRST), ("GONE", FIRST, LAST))
    assert [(row["symbol"], row["status"], row["date"]) for row in rows] == [
        ("NA", "ok", None),
        ("GONE", "unknown", None),
    ]
    assert rows[1]["reason"] == "the files have no bar of this symbol"


def test_lands_batches_in_the_order_asked_and_nothing_twice(vendor):
    put_parquet(
        vendor,
        "bars/all.parquet",
        "SELECT 'S' || s AS symbol, DATE '2024-02-01' + d::INT AS date, "
        "1.0 AS open, 2.0 AS high, 0.5 AS low, s + d / 100 AS close, "
        "3000000000 AS volume FROM range(150) a(s), range(10) b(d)",
    )
    requests = [(f"S{number}", dt.date(2024, 2, 3), dt.date(2024, 2, 5)) for number in reversed(range(150))]
    rows = collected(vendor, *requests)
    assert [row["symbol"] for row in rows[::3]] == [request[0] for request in requests]
    assert [row["close"] for row in rows[:3]] == [149.02, 149.03, 149.04]
    assert rows[0]["volume"] == 3_000_000_000
    files = batch_files(vendor / "raw")
    assert len(files) == 2 and pq.read_schema(files[0]) == ANSWER_SCHEMA
    assert collected(vendor, *requests) == rows


def test_dividends_splits_and_empty_sessions(vendor):
    put(
        vendor,
        "bars/all.csv",
        "symbol,date,open,high,low,close,volume,dividend,split_ratio\n"
        "COO,2024-02-15,,,,,,0.03,\nCOO,2024-02-16,93.1,94.3,92.3,93.8,1200000,,4\n",
    )
    empty, split = collected(vendor, ("COO", FIRST, LAST))
    assert (empty["date"], empty["close"], empty["volume"], empty["dividend"], empty["split_ratio"]) == (
        FIRST,
        None,
        None,
        0.03,
        None,
    )
    assert (split["close"], split["dividend"], split["split_ratio"]) == (93.8, None, 4.0)


@pytest.mark.parametrize(("dividend", "ratio"), [("", ""), ("0", "0"), ("0.0", "1"), ("0", "1.0")])
def test_what_stands_for_no_event_is_none(vendor, dividend, ratio):
    put(
        vendor,
        "bars/all.csv",
        "symbol,date,open,high,low,close,volume,dividend,split_ratio\n"
        f"COO,2024-02-16,93.1,94.3,92.3,93.8,1200000,{dividend},{ratio}\n",
    )
    (bar,) = collected(vendor, ("COO", LAST, LAST))
    assert (bar["close"], bar["dividend"], bar["split_ratio"]) == (93.8, None, None)


@pytest.fixture(params=["America/New_York", "Asia/Seoul", "UTC"])
def host_zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def moments(vendor, zone, hour):
    """A file whose dates are moments of a zone, as pandas writes them."""
    times = pd.to_datetime(["2024-02-15", "2024-02-16"]).tz_localize(zone) + pd.Timedelta(hours=hour)
    prices = dict.fromkeys(("open", "high", "low", "close"), [1.0, 2.0])
    frame = pd.DataFrame({"symbol": "NA", "date": times, **prices, "volume": [10, 20]})
    frame.to_parquet(vendor / "bars" / "all.parquet", index=False)


def test_midnights_of_utc_are_dates_wherever_this_host_is(vendor, host_zone):
    moments(vendor, "UTC", 0)
    rows = collected(vendor, ("NA", FIRST, LAST))
    assert [(row["date"], row["close"]) for row in rows] == [(FIRST, 1.0), (LAST, 2.0)]


@pytest.mark.parametrize(("zone", "hour"), [("America/New_York", 0), ("America/New_York", 16), ("UTC", 21)])
def test_other_moments_are_no_dates(vendor, host_zone, zone, hour):
    moments(vendor, zone, hour)
    with pytest.raises(FilesSourceError, match=r"all.parquet.*the column date has times of day with a time zone"):
        collected(vendor, ("NA", FIRST, LAST))


def test_packed_files_and_names_in_capitals_are_read_and_others_named(vendor, caplog):
    put(vendor, "bars/1.CSV", BARS)
    (vendor / "bars" / "2.csv.gz").write_bytes(gzip.compress(BARS.replace("182.31", "182.39").encode()))
    for name in ("bars/3.xlsx", "bars/4.csv.bz2", "bars/.5.csv"):
        put(vendor, name, "nothing to read")
    with caplog.at_level(logging.WARNING, "pipeline"):
        rows = collected(vendor, ("AAPL", FIRST, LAST))
    assert [row["close"] for row in rows] == [183.86, 182.39]
    assert [message.split(" is passed over")[0] for message in caplog.messages] == [
        str(vendor / "bars" / "3.xlsx"),
        str(vendor / "bars" / "4.csv.bz2"),
    ]


def test_a_later_file_corrects_a_bar(vendor):
    put(vendor, "bars/2024.csv", BARS)
    put_parquet(
        vendor,
        "bars/2024-correction.parquet",
        "SELECT 'NA' AS symbol, DATE '2024-02-16' AS date, "
        "9.0 AS open, 9.0 AS high, 9.0 AS low, 9.0 AS close, 9 AS volume",
    )
    assert [row["close"] for row in collected(vendor, ("NA", FIRST, LAST))] == [1.94]  # "-" sorts before "."
    (vendor / "raw" / "batch-0001.parquet").unlink()
    (vendor / "bars" / "2024-correction.parquet").rename(vendor / "bars" / "2024_correction.parquet")
    assert [row["close"] for row in collected(vendor, ("NA", FIRST, LAST), ("AAPL", LAST, LAST))] == [9.0, 182.31]


def test_two_bars_of_a_day_in_one_file(vendor):
    put(vendor, "bars/all.csv", BARS + "NA,2024-02-16,1,1,1,1,1\n")
    with pytest.raises(FilesSourceError, match=r"bars/all.csv has 2 bars of NA on 2024-02-16"):
        collected(vendor, ("NA", FIRST, LAST))


# --- what can be wrong -----------------------------------------------------------------------------------------------


def test_a_missing_folder(vendor):
    (vendor / "bars").rmdir()
    with pytest.raises(FilesSourceError, match=r"there is no folder .*/bars; \[files\] path"):
        collected(vendor, ("NA", FIRST, LAST))


def test_an_empty_folder(vendor):
    put(vendor, "listings/all.xlsx", "")
    with pytest.raises(FilesSourceError, match=r"listings has no file that ends in .parquet or .csv"):
        listed()


@pytest.mark.parametrize("column", ["symbol", "name", "market_cap"])
def test_a_missing_column_of_a_listing(vendor, column):
    put(vendor, "listings/all.csv", LISTING.replace(column, f"{column}s"))
    with pytest.raises(FilesSourceError, match=rf"all.csv lacks the column {column} \(nearest: {column}s\)"):
        listed()


@pytest.mark.parametrize("column", ["symbol", "date", "open", "high", "low", "close", "volume"])
def test_a_missing_column_of_the_bars(vendor, column):
    put(vendor, "bars/1.csv", BARS)
    put(vendor, "bars/2.csv", BARS.replace(column, f"x_{column}", 1))
    with pytest.raises(FilesSourceError, match=rf"2.csv lacks the column {column} \(nearest: x_{column}\)"):
        collected(vendor, ("NA", FIRST, LAST))


@pytest.mark.parametrize(
    ("good", "bad"),
    [("1.94", "about two"), ("2024-02-16", "16/02/24"), ("2024-02-16", "20240216"), ("195574", "1e400")],
)
def test_a_value_that_cannot_be_read_names_its_file(vendor, good, bad):
    put(vendor, "bars/1.csv", BARS)
    put(vendor, "bars/2.csv", BARS.replace(good, bad))
    with pytest.raises(FilesSourceError, match="2.csv has a value that cannot be read: "):
        collected(vendor, ("NA", FIRST, LAST))


@pytest.mark.parametrize("make", [os.mkfifo, pathlib.Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.timeout(30)
def test_what_is_no_file_is_said_and_not_waited_for(vendor, make):
    put(vendor, "listings/all.csv", LISTING)
    path = vendor / "listings" / "pipe.csv"
    make(path)
    with pytest.raises(FilesSourceError, match="pipe.csv is no file but a folder, a pipe or a device"):
        listed()


@pytest.mark.parametrize("symbol", ["../../etc/passwd", "A\x1b[2J", "A B", "A" * 21, "=1+1"])
def test_a_symbol_that_none_can_be_is_said(vendor, symbol):
    put(vendor, "listings/all.csv", f"{LISTING}{symbol},Odd,1e9\n")
    with pytest.raises(FilesSourceError, match="a symbol that none can be") as caught:
        listed()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("cap", ["inf", "-Infinity"])
def test_a_market_cap_that_is_boundless_is_said(vendor, cap):
    put(vendor, "listings/all.csv", f"{LISTING}MSFT,Microsoft,{cap}\n")
    with pytest.raises(FilesSourceError, match="an infinite market_cap, of MSFT"):
        listed()


def test_a_year_beyond_all_names_its_file(vendor):
    put(vendor, "listings/all.csv", "symbol,name,market_cap,ipo_year\nAAPL,Apple,1e9,99999999999\n")
    with pytest.raises(FilesSourceError, match="all.csv has a value that cannot be read"):
        listed()


def test_a_name_is_cleaned_where_it_enters(vendor):
    put(vendor, "listings/all.csv", "symbol,name,market_cap\nAAPL,Apple \x1b[2J\u202eInc.,1e9\n")
    assert listed()["AAPL"].name == "Apple [2JInc."


def test_a_file_that_is_none(vendor):
    put(vendor, "bars/all.parquet", "not a Parquet file")
    with pytest.raises(FilesSourceError, match="all.parquet cannot be read"):
        collected(vendor, ("NA", FIRST, LAST))


def test_a_quote_in_a_file_name_is_a_part_of_the_name(vendor):
    put(vendor, "bars/vendor's.csv", BARS)
    assert len(collected(vendor, ("AAPL", FIRST, LAST))) == 2


# --- its documentation -----------------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "files-source.md").read_text(encoding="utf-8")
WORDS = {"text": "VARCHAR", "number": "DOUBLE", "whole number": "BIGINT", "year": "INTEGER", "date": "DATE"}


@pytest.mark.parametrize("table", TABLES)
def test_the_documentation_has_every_column(table):
    section = PAGE.split(f"## {table}/")[1].split("\n## ")[0]
    documented = re.findall(r"^\| (\w+) \| ([\w ]+) \| (yes|no) \|", section, re.MULTILINE)
    assert [(name, WORDS[kind], required == "yes") for name, kind, required in documented] == [
        (name, column.type, column.is_required) for name, column in TABLES[table].items()
    ]


def test_the_examples_of_the_documentation_work(vendor: pathlib.Path):
    listing, bars = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    put(vendor, "listings/example.csv", listing)
    put(vendor, "bars/example.csv", bars)
    assert list(listed()) == ["AAPL", "NA"]
    assert [row["close"] for row in collected(vendor, ("AAPL", FIRST, LAST))] == [183.86, 182.31]
