"""The simulated market: its laws by property tests, its character by counting, its scans against TA-Lib."""

import collections
import datetime as dt
import math
import random

import luigi
import numpy as np
import pyarrow.parquet as pq
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import calendar
from pipeline.errors import ConfigurationError, ListingUnavailableError
from pipeline.sources.answers import ANSWER_SCHEMA, batch_files
from pipeline.sources.protocol import BarRequest
from pipeline.sources.simulated.companies import roster, seats_by_ticker
from pipeline.sources.simulated.market import simulated_year
from pipeline.sources.simulated.source import FIRST_SESSION, SimulatedSource

DAY = dt.date(2024, 2, 20)
PRICES = ("open", "high", "low", "close")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def market_of(companies, seed=7):
    config = luigi.configuration.get_config()
    kept = {name: config.get("simulated", name, None) for name in ("companies", "seed")}
    config.set("simulated", "companies", str(companies))
    config.set("simulated", "seed", str(seed))
    try:
        return SimulatedSource()
    finally:
        for name, value in kept.items():
            if value is None:
                config.remove_option("simulated", name)
            else:
                config.set("simulated", name, value)


@pytest.fixture(scope="module")
def market():
    return market_of(600)


@pytest.fixture(scope="module")
def year_of_bars(market):
    """The answers to all symbols listed on DAY for the 420 sessions up to it, as one table."""
    first = calendar.session_before(DAY, 419)
    return market.answer([BarRequest(company.symbol, first, DAY) for company in market.listing(DAY).companies])


def rows_of(source, symbol, first, last):
    """Date -> bar, without what says when and for which range it was asked."""
    asked = ("fetched_at", "asked_from", "asked_to")
    rows = source.answer([BarRequest(symbol, first, last)]).drop(list(asked)).to_pylist()
    return {row["date"]: row for row in rows if row["date"]}


SMALL = market_of(48)
symbols = st.sampled_from(sorted(SMALL.seats))
days = st.dates(dt.date(2004, 6, 1), dt.date(2008, 6, 1))


# --- the laws --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(symbols, st.lists(days, min_size=4, max_size=4).map(sorted))
def test_a_range_is_the_slice_of_a_longer_one_on_the_basis_of_its_own_end(symbol, four):
    start, first, last, end = four
    whole, part = rows_of(SMALL, symbol, start, end), rows_of(SMALL, symbol, first, last)
    assert list(part) == [day for day in whole if first <= day <= last]
    later = math.prod(row["split_ratio"] or 1.0 for day, row in whole.items() if day > last)
    for day, row in part.items():
        for field in (*PRICES, "dividend"):
            expected = whole[day][field]
            assert row[field] == (expected if expected is None else pytest.approx(expected * later, rel=1e-12))
        assert row["split_ratio"] == whole[day]["split_ratio"]
        if row["volume"] is not None:
            assert abs(row["volume"] - whole[day]["volume"] / later) <= 1 + 1 / later


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(symbols, days), min_size=2, max_size=5, unique=True), st.randoms())
def test_the_order_of_questions_does_not_matter(questions, shuffle):
    def ask(ordered):
        simulated_year.cache_clear()
        return {q: rows_of(SMALL, q[0], q[1] - dt.timedelta(days=40), q[1]) for q in ordered}

    reordered = list(questions)
    shuffle.shuffle(reordered)
    assert ask(questions) == ask(reordered)


def test_a_company_does_not_depend_on_the_number_of_companies(market):
    few = market_of(48)
    first = dt.date(2023, 11, 1)
    for symbol in ("NA", "TRUE", "ON", *list(few.seats)[-4:]):
        assert rows_of(few, symbol, first, DAY) == rows_of(market, symbol, first, DAY)
    assert {c.symbol for c in few.listing(DAY).companies} <= {c.symbol for c in market.listing(DAY).companies}


def test_another_seed_is_another_market():
    one, other = (rows_of(market_of(48, seed), "NA", dt.date(2024, 1, 2), DAY) for seed in (1, 2))
    assert one != other


def test_a_seed_may_be_any_whole_number():
    assert market_of(5, -1).listing(DAY).companies != market_of(5, 2**70).listing(DAY).companies


def test_the_same_numbers_on_every_machine():
    """Written down once; a different value means that stored simulated markets no longer agree with the code."""
    bar = rows_of(market_of(48, 20240220), "NA", DAY, DAY)[DAY]
    assert [bar[field] for field in (*PRICES, "volume")] == [9.04, 9.18, 8.99, 9.14, 2501494]


def splits_between(source, first, last):
    table = source.answer([BarRequest(symbol, first, last) for symbol in source.seats])
    return table.filter(table["split_ratio"].is_valid()).select(["symbol", "date", "split_ratio"]).to_pylist()


def test_a_split_restates_the_history_before_it_as_at_yahoo():
    splits = splits_between(SMALL, dt.date(2004, 1, 2), dt.date(2012, 12, 31))
    assert {split["split_ratio"] > 1 for split in splits} == {True, False}
    for split in splits:
        symbol, day, ratio = split.values()
        first = calendar.session_before(day, 30)
        before = rows_of(SMALL, symbol, first, calendar.session_before(day))
        after = rows_of(SMALL, symbol, first, day)
        told = [row for row in before.values() if row["close"] is not None]
        assert told
        for row in told:
            assert after[row["date"]]["close"] == pytest.approx(row["close"] / ratio, rel=1e-12)
            assert after[row["date"]]["volume"] == pytest.approx(row["volume"] * ratio, abs=1)
        assert [date for date, row in after.items() if row["split_ratio"]] == [day]
        # on the new basis the split leaves no jump
        assert 0.6 < after[day]["open"] / [row["close"] for row in after.values() if row["close"]][-2] < 1.6


# --- bars ------------------------------------------------------------------------------------------------------------


def test_every_bar_is_consistent(year_of_bars):
    bars = year_of_bars.filter(year_of_bars["close"].is_valid())
    opening, high, low, close = (bars[field].to_numpy() for field in PRICES)
    assert (low > 0).all() and (bars["volume"].to_numpy() >= 0).all()
    assert (low <= np.minimum(opening, close)).all() and (high >= np.maximum(opening, close)).all()


def test_the_newest_session_is_quoted_in_whole_cents(year_of_bars):
    close = year_of_bars.filter(year_of_bars["close"].is_valid())
    newest = np.array(
        [c for c, d in zip(close["close"].to_pylist(), close["date"].to_pylist(), strict=True) if d == DAY]
    )
    assert len(newest) > 500
    assert (newest == np.round(newest, 2)).all()


def test_the_answers_have_the_schema_and_only_sessions(year_of_bars):
    assert year_of_bars.schema == ANSWER_SCHEMA
    assert set(year_of_bars["date"].to_pylist()) - {None} <= set(calendar.sessions())


def test_the_market_has_what_real_ones_have(market, year_of_bars):
    rows = year_of_bars.select(["symbol", "status", "date", "close", "volume", "dividend", "split_ratio"]).to_pylist()
    asked = len({row["symbol"] for row in rows})
    unknown = [row["symbol"] for row in rows if row["status"] == "unknown"]
    assert 0.005 < len(unknown) / asked < 0.02
    nulls = [row for row in rows if row["date"] and row["close"] is None]
    assert 1 <= len(nulls) < len(rows) / 2000
    assert all(row["volume"] is None for row in nulls)
    splits = [row["split_ratio"] for row in rows if row["split_ratio"]]
    assert 20 < len(splits) < 120 and min(splits) < 1 < max(splits)
    assert sum(1 for row in rows if row["dividend"]) > 500
    sessions = calendar.sessions_between(calendar.session_before(DAY, 419), DAY)
    missing = collections.Counter()
    halted = set()
    dates = collections.defaultdict(set)
    for row in rows:
        dates[row["symbol"]].add(row["date"])
    for symbol, traded in dates.items():
        gaps = "".join("." if session in traded else "x" for session in sessions).strip("x")
        missing[symbol] = gaps.count("x")
        if "xxxxxx" in gaps:
            halted.add(symbol)
    assert sum(1 for count in missing.values() if count > 40) > 30  # thin
    assert len(halted) > 10


def test_a_symbol_that_never_was_is_unknown(market):
    (row,) = market.answer([BarRequest("GOOG", DAY, DAY)]).to_pylist()
    assert (row["status"], row["date"], row["asked_to"]) == ("unknown", None, DAY)


def test_bars_start_with_the_market(market):
    assert min(rows_of(market, "NA", dt.date(1990, 1, 2), dt.date(2000, 2, 1))) == FIRST_SESSION
    (row,) = market.answer([BarRequest("NA", dt.date(1990, 1, 2), dt.date(1999, 12, 31))]).to_pylist()
    assert (row["status"], row["date"]) == ("ok", None)


# --- listings --------------------------------------------------------------------------------------------------------


def test_a_listing_is_of_its_session(market):
    listing = market.listing(DAY)
    assert listing.session == DAY
    found = {company.symbol: company for company in listing.companies}
    assert len(found) == len(listing.companies) > 560
    assert {"NA", "TRUE", "ON"} <= set(found)
    caps = sorted(company.market_cap for company in listing.companies if company.market_cap)
    assert caps[0] < 1e8 and caps[-1] > 2e11
    assert 0.6 < sum(cap > 1e8 for cap in caps) / len(caps) < 0.9
    assert {c.country for c in listing.companies} > {"United States"}
    derived = [c for c in listing.companies if c.name.split()[-1] in ("Warrant", "Unit", "Right")]
    assert len(derived) > 20
    for company in derived:
        assert company.market_cap is None
        assert company.symbol[:-1] in found and company.symbol[-1] in "WUR"
        assert found[company.symbol[:-1]].name.removesuffix(" Common Stock") == company.name.rsplit(" ", 1)[0]


@pytest.mark.parametrize("session", [FIRST_SESSION, dt.date(2000, 1, 4), dt.date(2024, 1, 2), DAY])
def test_a_listing_agrees_with_the_bars(market, session):
    for company in market.listing(session).companies[:100]:
        bars = rows_of(market, company.symbol, session, session)
        if bars and bars[session]["close"] is not None:
            assert (company.last_sale, company.volume) == (bars[session]["close"], bars[session]["volume"])
        elif not bars and market.seats[company.symbol][0] % 100 != 37:
            assert company.volume == 0


def test_net_change_leads_back_to_the_last_sale_before(market):
    before = {company.symbol: company for company in market.listing(calendar.session_before(DAY)).companies}
    now = [company for company in market.listing(DAY).companies if company.volume and company.symbol in before]
    agreeing = [c for c in now if c.last_sale - c.net_change == pytest.approx(before[c.symbol].last_sale, abs=1e-6)]
    assert len(agreeing) > 0.99 * len(now)


def test_market_caps_move_with_prices_and_not_with_splits(market):
    (split, *_) = splits_between(market, dt.date(2024, 1, 2), DAY)
    symbol, day, _ = split.values()
    caps = [
        {c.symbol: c.market_cap for c in market.listing(s).companies}[symbol]
        for s in (calendar.session_before(day), day)
    ]
    assert 0.6 < caps[1] / caps[0] < 1.6


def test_companies_come_and_go(market):
    old, new = (market.listing(session) for session in (dt.date(2019, 2, 20), DAY))
    gone = {c.symbol for c in old.companies} - {c.symbol for c in new.companies}
    came = {c.symbol: c for c in new.companies if c.symbol not in {c.symbol for c in old.companies}}
    assert len(gone) > 30 and len(came) > 30
    table = market.answer([BarRequest(symbol, dt.date(2018, 1, 2), DAY) for symbol in (*gone, *came)])
    traded = collections.defaultdict(list)
    for symbol, day in zip(table["symbol"].to_pylist(), table["date"].to_pylist(), strict=True):
        traded[symbol] += [day] if day else []
    assert all(
        2019 <= came[symbol].ipo_year <= min(days).year for symbol, days in traded.items() if days and symbol in came
    )
    assert all(
        min(days) < dt.date(2019, 2, 20) < max(days) < DAY for symbol, days in traded.items() if days and symbol in gone
    )
    assert sum(1 for days in traded.values() if days) > 0.95 * len(traded)


@pytest.mark.parametrize("day", [dt.date(2024, 2, 19), dt.date(1999, 12, 31)])
def test_no_listing_without_a_session(market, day):
    with pytest.raises(ListingUnavailableError, match=f"no session {day}; the nearest"):
        market.listing(day)


def test_tickers_are_unique():
    seats = seats_by_ticker(1, 5000)
    assert len(seats) == len(set(seats.values())) == 3750 + 1250 * 16
    assert len(roster(1, 5000)) == 5000


@pytest.mark.parametrize("companies", [0, 5001])
def test_the_number_of_companies_is_bounded(companies):
    with pytest.raises(ConfigurationError, match=f"companies = {companies}"):
        market_of(companies)


# --- collecting ------------------------------------------------------------------------------------------------------


def requests_for(source, count):
    chosen = [company.symbol for company in source.listing(DAY).companies][:count]
    return [BarRequest(symbol, dt.date(2024, 2, 1), DAY) for symbol in chosen]


def test_lands_batches_of_a_hundred(market, tmp_path):
    steps = []
    requests = requests_for(market, 230)
    market.collect(requests, tmp_path, lambda done, total, text: steps.append((done, total, text)))
    files = batch_files(tmp_path)
    assert [path.name for path in files] == ["batch-0001.parquet", "batch-0002.parquet", "batch-0003.parquet"]
    assert steps == [(done, 230, f"{done} of 230 symbols") for done in (100, 200, 230)]
    landed = [symbol for path in files for symbol in dict.fromkeys(pq.read_table(path)["symbol"].to_pylist())]
    assert landed == [request.symbol for request in requests]
    assert all(pq.read_schema(path) == ANSWER_SCHEMA for path in files)


def test_asks_nothing_twice(market, tmp_path):
    requests = requests_for(market, 150)
    market.collect(requests[:100], tmp_path, lambda *step: None)
    (first,) = batch_files(tmp_path)
    content = first.read_bytes()
    market.collect(random.Random(1).sample(requests, 150), tmp_path, lambda *step: None)
    market.collect(requests, tmp_path, lambda *step: None)
    assert first.read_bytes() == content
    _, second = batch_files(tmp_path)
    assert set(pq.read_table(second)["symbol"].to_pylist()) == {request.symbol for request in requests[100:]}


# --- the scans have something to find --------------------------------------------------------------------------------


def test_each_scan_finds_something_on_most_days(market, year_of_bars):
    caps = {company.symbol: company.market_cap or 0 for company in market.listing(DAY).companies}
    found = [collections.Counter(), collections.Counter(), collections.Counter()]
    table = year_of_bars.filter(year_of_bars["close"].is_valid())
    frame = table.select(["symbol", "date", "open", "close", "volume"]).to_pandas()
    for symbol, bars in frame.groupby("symbol", sort=False):
        opening, close, volume = (bars[field].to_numpy(float) for field in ("open", "close", "volume"))
        if caps[symbol] <= 1e8 or len(close) < 60:
            continue
        average = np.concatenate([[np.nan], talib.SMA(volume, 30)[:-1]])
        oversold = (talib.RSI(close, 14) < 30) & (volume > 1.5 * average) & (caps[symbol] > 5e8)
        touches = (close <= 1.02 * talib.BBANDS(close, 20, 2, 2)[2]) & (caps[symbol] > 1e9)
        breakout = (volume > 3 * average) & (close > 1.02 * opening)
        for counter, scan in zip(found, (oversold, touches, breakout), strict=True):
            counter.update(bars["date"].to_numpy()[scan].tolist())
    sessions = calendar.sessions_between(calendar.session_before(DAY, 250), DAY)
    for counter in found:
        assert sum(1 for session in sessions if counter[session]) > 0.8 * len(sessions)
