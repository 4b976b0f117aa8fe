"""Listings of several exchanges in the tables: each judged on its own, and symbols that move between them."""

from __future__ import annotations

import datetime as dt
import shutil

import pytest

from pipeline.database.connection import writing
from pipeline.errors import ListingCapsError, ListingJumpedError, ListingShrunkError
from pipeline.market import listing_checks
from pipeline.market.listing_checks import check_listing
from pipeline.market.listings import received, store
from pipeline.sources.protocol import Company, Listing
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.prices import CollectPrices
from pipeline.tasks.symbols import CollectSymbols
from tests.conftest import forget
from tests.support.collecting import ask, collect
from tests.support.runs import run_here
from tests.support.small_market import SmallMarket

D16, D20 = dt.date(2024, 2, 16), dt.date(2024, 2, 20)
FIRST, SECOND = dt.date(2024, 2, 15), dt.date(2024, 2, 16)


def listing(session: dt.date, **counts: int) -> Listing:
    companies = [
        Company(f"{exchange[:2].upper()}{number}", "Inc.", market_cap=1e9, exchange=exchange)
        for exchange, count in counts.items()
        for number in range(count)
    ]
    return Listing(session, tuple(companies), b"{}")


@pytest.fixture
def connection(tables, data_dir):
    return tables


def test_an_exchange_that_shrank_does_not_hide_behind_the_others(connection, settings):
    settings("market", exchanges="nasdaq,amex")
    store(connection, listing(FIRST, nasdaq=1000, amex=10))
    check_listing(connection, listing(SECOND, nasdaq=1000, amex=8))
    with pytest.raises(ListingShrunkError, match="listing of NYSE American of 2024-02-16 has 7 symbols, 30% fewer"):
        check_listing(connection, listing(SECOND, nasdaq=1000, amex=7))


def test_an_exchange_that_is_missing_is_one_that_shrank(connection, settings):
    settings("market", exchanges="nasdaq,amex")
    store(connection, listing(FIRST, nasdaq=1000, amex=10))
    with pytest.raises(ListingShrunkError, match="has 0 symbols"):
        check_listing(connection, listing(SECOND, nasdaq=1000))


def test_an_exchange_may_be_added_and_taken_away_by_the_setting(connection, settings):
    store(connection, listing(FIRST, nasdaq=10))
    settings("market", exchanges="nasdaq,nyse")
    check_listing(connection, listing(SECOND, nasdaq=10, nyse=30))
    store(connection, listing(SECOND, nasdaq=10, nyse=30))
    settings("market", exchanges="nasdaq")
    check_listing(connection, listing(dt.date(2024, 2, 20), nasdaq=10))


def test_where_a_symbol_moved_is_a_view(connection):
    store(connection, Listing(FIRST, (Company("AAA", "A Inc.", exchange="nyse"),), b""))
    store(connection, Listing(SECOND, (Company("AAA", "A Inc.", exchange="nasdaq"),), b""))
    moves = connection.execute("SELECT date, moved_from, exchange FROM symbol_moves ORDER BY date").fetchall()
    assert moves == [(FIRST, None, "nyse"), (SECOND, "nyse", "nasdaq")]
    assert connection.execute("SELECT exchange FROM nasdaq_symbols").fetchall() == [("nasdaq",)]


def test_a_listing_that_is_stored_anew_takes_back_what_it_had_said(connection):
    """The order, and how often each was stored before, do not count."""
    both, one = (Company("AAA", "A Inc."), Company("BBB", "B Inc.")), (Company("AAA", "A Inc."),)

    def seen(symbol: str) -> list[tuple[object, ...]]:
        query = "SELECT first_seen, last_seen, is_active FROM nasdaq_symbols WHERE symbol = ?"
        return connection.execute(query, [symbol]).fetchall()

    store(connection, Listing(FIRST, both, b""))
    store(connection, Listing(SECOND, both, b""))
    store(connection, Listing(D20, both, b""))
    assert seen("BBB") == [(FIRST, D20, True)]
    store(connection, Listing(D20, one, b""))
    assert seen("AAA") == [(FIRST, D20, True)]
    assert seen("BBB") == [(FIRST, SECOND, False)]
    store(connection, Listing(FIRST, one, b""))
    assert seen("BBB") == [(SECOND, SECOND, False)]
    store(connection, Listing(SECOND, one, b""))
    assert seen("BBB") == []
    store(connection, Listing(FIRST, both, b""))
    assert seen("BBB") == [(FIRST, FIRST, False)]


def test_a_listing_kept_before_there_were_exchanges_is_nasdaqs(data_dir):
    import pyarrow.parquet as pq

    from pipeline.market.listings import as_table, folder_of

    folder_of(FIRST).mkdir(parents=True)
    old = as_table(listing(FIRST, nasdaq=1)).drop_columns("exchange")
    pq.write_table(old, folder_of(FIRST) / "20240215T220000.000000Z.parquet")
    assert [company.exchange for company in received(FIRST).companies] == ["nasdaq"]


def test_a_symbol_that_moves_keeps_its_history(here: SmallMarket, settings, monkeypatch):
    settings("market", exchanges="nasdaq,nyse")
    here.as_of = FIRST
    assert run_here(DailyPipeline(date=FIRST))
    here.requests.clear()
    here.as_of, here.exchanges = SECOND, {"S05": "nyse"}
    assert run_here(DailyPipeline(date=SECOND))
    with writing() as connection:
        bars = connection.execute("SELECT count(*) FROM stock_data WHERE symbol = 'S05'").fetchone()
        others = connection.execute("SELECT count(*) FROM stock_data WHERE symbol = 'S06'").fetchone()
        (kept,) = connection.execute("SELECT count(*) FROM closed_histories").fetchone()
        states = connection.execute("SELECT state FROM price_coverage WHERE symbol = 'S05' ORDER BY date").fetchall()
        (where,) = connection.execute("SELECT exchange FROM nasdaq_symbols WHERE symbol = 'S05'").fetchone()
    assert bars == others
    assert kept == 0
    assert states == [("stored",), ("stored",)]
    assert where == "nyse"
    assert here.requests["S05"] == 1, "no history is asked for anew"


def caps(session: dt.date, large: int, small: int = 0, unknown: int = 0) -> Listing:
    known = [1e9] * large + [5e7] * small + [None] * unknown
    return Listing(session, tuple(Company(f"S{n}", "Inc.", market_cap=cap) for n, cap in enumerate(known)), b"")


@pytest.mark.parametrize(
    ("before", "now", "is_believed"),
    [
        (58, 4, False), (4, 58, False), (58, 0, False),
        (200, 170, True), (200, 169, False), (200, 230, True), (200, 231, False),
        (3, 8, True), (3, 9, False), (6, 1, True), (8, 2, False),
    ],
)  # fmt: skip
def test_the_number_of_companies_above_the_limit_may_not_jump(connection, before, now, is_believed):
    store(connection, caps(FIRST, before, small=300 - before))
    arriving = caps(SECOND, now, small=300 - now)
    if is_believed:
        check_listing(connection, arriving)
    else:
        with pytest.raises(ListingJumpedError, match=f"has {now} companies above .*, after {before} on {FIRST}"):
            check_listing(connection, arriving)


@pytest.mark.parametrize(("left", "is_believed"), [(75, True), (74, False), (200, True)])
def test_a_listing_may_lose_a_share_of_its_symbols_and_no_more(connection, settings, left, is_believed):
    """A quarter here: a number that a computer's fractions meet."""
    settings("quality", max_universe_shrink=0.25)
    store(connection, caps(FIRST, 0, small=100))
    if is_believed:
        check_listing(connection, caps(SECOND, 0, small=left))
    else:
        with pytest.raises(ListingShrunkError, match=f"has {left} symbols, 26% fewer than the 100 of {FIRST}"):
            check_listing(connection, caps(SECOND, 0, small=left))


def test_the_limit_itself_may_be_moved(connection, settings):
    store(connection, caps(FIRST, 60, small=100))
    settings("market", min_market_cap=1e7)
    check_listing(connection, caps(SECOND, 60, small=100))


def test_settings_are_not_read_company_by_company(connection, monkeypatch):
    read: list[None] = []
    settings = listing_checks.market
    monkeypatch.setattr(listing_checks, "market", lambda: (read.append(None), settings())[1])
    counts = [(check_listing(connection, caps(SECOND, large)), len(read))[1] for large in (1, 200)]
    assert counts[1] == 2 * counts[0] > 0


def test_a_listing_without_market_caps_is_refused_though_there_is_nothing_to_compare_it_with(connection):
    check_listing(connection, caps(FIRST, 30, unknown=30))
    with pytest.raises(ListingCapsError, match="capitalisation for 29 of its 60 symbols"):
        check_listing(connection, caps(FIRST, 29, unknown=31))


def test_a_refused_listing_leaves_the_day_undone_and_the_universe_as_it_was(here, monkeypatch):
    """All but four rows lose their market capitalisation for one evening."""
    assert collect(here, D16, task=CollectSymbols)
    screener = here.screener

    def without_caps():
        answer = screener()
        for row in answer["data"]["rows"][4:]:
            row["marketCap"] = ""
        return answer

    monkeypatch.setattr(here, "screener", without_caps)
    assert not collect(here, D20, task=CollectSymbols)
    assert ask("SELECT DISTINCT date FROM symbol_snapshots") == [(D16,)]
    monkeypatch.setattr(here, "screener", screener)
    assert collect(here, D20, task=CollectSymbols)


def test_a_listing_a_day_old_makes_way_for_the_sessions_own(here, clock):
    """The clock is a day ahead for one evening: the run of the next session begins with the listing of this one."""
    clock(2024, 2, 20, 18, 0)
    here.as_of = D16
    assert not run_here(CollectPrices(date=D20)), "the source has no bar of the session"
    assert ask("SELECT snapshot_date FROM session_universe WHERE date = ?", D20) == [(D16,)]
    here.as_of = D20
    assert run_here(CollectPrices(date=D20))
    assert ask("SELECT snapshot_date FROM session_universe WHERE date = ?", D20) == [(D20,)]
    listed = {name for (name,) in ask("SELECT symbol FROM symbol_snapshots WHERE date = ?", D20)}
    covered = {name for (name,) in ask("SELECT symbol FROM price_coverage WHERE date = ?", D20)}
    assert covered <= listed
    assert CollectSymbols(date=D20).marker(D20).read()["snapshot"] == str(D20)


def test_a_range_rebuilt_offline_uses_each_sessions_own_listing(here, data_dir, settings):
    assert collect(here, D16, D20, task=CollectSymbols)
    (data_dir / "stock_data.duckdb").unlink()
    shutil.rmtree(data_dir / "markers")
    forget()
    settings("market", offline="true")
    CollectSymbols(date=(D16, D20)).run()
    assert ask("SELECT date, snapshot_date FROM session_universe ORDER BY date") == [(D16, D16), (D20, D20)]


@pytest.mark.parametrize("content", [b"", b"PAR1 cut", None])
def test_a_damaged_listing_of_raw_is_set_aside_for_the_one_before_it(here, data_dir, settings, content):
    assert collect(here, D16, task=CollectSymbols)
    (good,) = (data_dir / "raw" / "symbols" / str(D16)).glob("*.parquet")
    newer = good.with_name("99999999T000000.parquet")
    newer.write_bytes(good.read_bytes()[:-40] if content is None else content)
    settings("market", offline="true")
    assert len(received(D16).companies) > 50
    assert not newer.exists()
    assert newer.with_name(newer.name + ".damaged").exists()
