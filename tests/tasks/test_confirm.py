"""Provisional bars become final, what was found with them is amended: by the morning's task or the next day's run."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.database.connection import reading, writing
from pipeline.database.replica import replica_path
from pipeline.errors import NotFinalError, UnconfirmedError
from pipeline.report.places import report_path
from pipeline.tasks.base import SessionTask
from pipeline.tasks.confirm import ConfirmSession
from pipeline.tasks.daily import DailyPipeline
from pipeline.tasks.indicators import ComputeIndicators
from pipeline.tasks.lake import PublishLake
from pipeline.tasks.notify import NotifySuccess
from pipeline.tasks.redis_sync import RedisWatchlistSync
from pipeline.tasks.replica import ReplicateDatabase
from pipeline.tasks.report import GenerateReport
from pipeline.tasks.watchlist import ScanWatchlist
from tests.conftest import forget
from tests.feed.test_signals import triggers
from tests.support.beginnings import Begun
from tests.support.fake_market import Fault
from tests.support.mornings import BUSY, rules
from tests.support.runs import assert_same, results, run_here
from tests.support.small_market import LAST, SESSIONS, THIN, Bar, SmallMarket

if TYPE_CHECKING:
    from redis import Redis

BEFORE = SESSIONS[SESSIONS.index(LAST) - 1]


@pytest.fixture
def evening(
    here: SmallMarket, clock: Callable[..., None], settings: Callable[..., None], tmp_path: Path
) -> SmallMarket:
    """Two hours after the close of LAST, whose volumes are not all there yet; one rule decides by volume alone."""
    settings("scans", **rules(tmp_path))
    here.early = {LAST}
    clock(LAST.year, LAST.month, LAST.day, 18, 0)
    return here


@pytest.fixture
def collected(evening: SmallMarket, data_dir: Path, begun: Begun) -> SmallMarket:
    """The same, with the evening's run done."""
    begun("the evening", data_dir, lambda: run_here(DailyPipeline(date=LAST)))
    return evening


@pytest.fixture
def day_before(evening: SmallMarket, clock: Callable[..., None], data_dir: Path, begun: Begun) -> SmallMarket:
    """The evening of LAST, with the run of the evening before done."""
    evening.as_of, evening.early = BEFORE, {BEFORE}
    clock(BEFORE.year, BEFORE.month, BEFORE.day, 18, 0)
    begun("the evening before", data_dir, lambda: run_here(DailyPipeline(date=BEFORE)))
    evening.as_of, evening.early = LAST, {LAST}
    clock(LAST.year, LAST.month, LAST.day, 18, 0)
    return evening


def ask(query: str, *values: object) -> list[tuple[object, ...]]:
    with reading() as connection:
        return connection.execute(query, list(values)).fetchall()


def on_list(session: dt.date) -> set[tuple[object, ...]]:
    return set(ask("SELECT symbol, scan_reason FROM daily_watchlist WHERE scan_date = ?", session))


def next_morning(market: SmallMarket, clock: Callable[..., None]) -> None:
    market.early = set()
    morning = LAST + dt.timedelta(days=1)
    clock(morning.year, morning.month, morning.day, 7, 0)
    forget()


def assert_final(market: SmallMarket, session: dt.date) -> None:
    stored = ask("SELECT symbol, close, volume, is_final FROM stock_data WHERE date = ?", session)
    assert stored
    for symbol, close, volume, is_final in stored:
        bar = market.bar(str(symbol).replace("/", "-"), session)
        assert (close, volume, is_final) == (pytest.approx(bar[3]), bar[4], True)


def test_the_morning_after_everything_is_final_and_the_list_amended(
    evening: SmallMarket, clock: Callable[..., None], data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pipeline")
    assert run_here(DailyPipeline(date=LAST))
    assert " provisional; watchlist: " in caplog.text
    assert "AMENDED" not in caplog.text
    caplog.clear()
    assert ask("SELECT DISTINCT is_final FROM stock_data WHERE date = ?", LAST) == [(False,)]
    assert ask("SELECT bool_and(is_final) FROM stock_data WHERE date < ?", LAST) == [(True,)]
    assert ask("SELECT DISTINCT is_final FROM daily_watchlist") == [(False,)]
    assert ask("SELECT count(*) FROM bar_versions") == [(0,)]
    seen = on_list(LAST)
    next_morning(evening, clock)
    asked = evening.total
    assert run_here(ConfirmSession(date=LAST))
    (bars,) = ask("SELECT count(*) FROM stock_data WHERE date = ?", LAST)[0]
    assert evening.total - asked == bars
    assert_final(evening, LAST)
    came, went = on_list(LAST) - seen, seen - on_list(LAST)
    assert came
    changes = ask("SELECT symbol, scan_reason, change FROM watchlist_amendments WHERE scan_date = ?", LAST)
    assert {row[:2] for row in changes if row[2] == "added"} == came
    assert {row[:2] for row in changes if row[2] == "removed"} == went
    assert all(" instead of " in str(reason) for (reason,) in ask("SELECT reason FROM watchlist_amendments"))
    assert ask("SELECT DISTINCT is_final FROM daily_watchlist WHERE scan_date = ?", LAST) == [(True,)]
    assert set(ask("SELECT symbol, scan_reason FROM watchlist_versions")) == seen
    assert ask("SELECT count(*) FROM stale_sessions") == [(0,)]
    assert ask("SELECT count(*) FROM bar_versions WHERE date = ?", LAST) == [(bars,)]
    assert "mended" in report_path(LAST).read_text()
    assert f"AMENDED list of {LAST}: + " in caplog.text
    assert " provisional" not in caplog.text
    asked = evening.total
    assert run_here(ConfirmSession(date=LAST), DailyPipeline(date=LAST))
    assert evening.total == asked


def test_it_gives_what_a_run_of_the_final_bars_gives(
    collected: SmallMarket, clock: Callable[..., None], data_dir: Path, tmp_path: Path, settings: Callable[..., None]
) -> None:
    next_morning(collected, clock)
    assert run_here(ConfirmSession(date=LAST))
    confirmed = results(data_dir)
    settings("storage", data_dir=str(tmp_path / "late"))
    forget()
    assert run_here(DailyPipeline(date=LAST))
    late = results(tmp_path / "late")
    for listed in ("symbol_snapshots", "nasdaq_symbols"):  # the evening's listing had the evening's volumes
        del confirmed[listed], late[listed]
    assert_same(confirmed, late)


def test_bars_that_were_right_in_the_evening_are_final_on_the_list_too_and_for_others(
    evening: SmallMarket, clock: Callable[..., None]
) -> None:
    evening.early = set()
    assert run_here(DailyPipeline(date=LAST))
    seen = on_list(LAST)
    assert seen
    with writing() as connection:
        PublishLake.row(LAST).touch(connection, PublishLake.table)
    next_morning(evening, clock)
    assert run_here(ConfirmSession(date=LAST))
    assert_final(evening, LAST)
    assert on_list(LAST) == seen
    assert ask("SELECT DISTINCT is_final FROM daily_watchlist WHERE scan_date = ?", LAST) == [(True,)]
    with reading(replica_path()) as replica:
        assert replica.execute("SELECT bool_and(is_final) FROM stock_data").fetchone() == (True,)
    assert ask("SELECT count(*) FROM watchlist_amendments") == [(0,)]
    assert not PublishLake.row(LAST).exists()


def test_before_its_time_it_says_when_and_has_not_failed(collected: SmallMarket, clock: Callable[..., None]) -> None:
    clock(LAST.year, LAST.month, LAST.day, 23, 59)
    with pytest.raises(NotFinalError, match=rf"final from {LAST + dt.timedelta(days=1)} 00:00 EST on"):
        ConfirmSession(date=LAST).complete()
    asked = collected.total
    assert not run_here(ConfirmSession(date=LAST))
    assert collected.total == asked
    midnight = LAST + dt.timedelta(days=1)
    clock(midnight.year, midnight.month, midnight.day, 0, 0)
    assert run_here(ConfirmSession(date=LAST))


def test_a_source_that_is_silent_in_the_morning_confirms_nothing(
    collected: SmallMarket, clock: Callable[..., None]
) -> None:
    next_morning(collected, clock)
    silent = [symbol for symbol in collected.symbols if collected.knows(symbol)][:20]
    collected.faults |= dict.fromkeys(silent, Fault("503"))
    (outcome,) = ConfirmSession(date=LAST).process([LAST]).values()
    assert isinstance(outcome, UnconfirmedError)
    named = re.search(r"19 bars are provisional still, of \d+ asked for \((.*), \.\.\.\); what was", str(outcome))
    assert named
    assert set(named[1].split(", ")) < set(silent)
    collected.faults.clear()
    assert run_here(ConfirmSession(date=LAST))
    assert_final(collected, LAST)


@pytest.mark.parametrize("state", ["not_traded", "failed"])
def test_a_bar_that_comes_hours_late_is_asked_for(
    evening: SmallMarket, clock: Callable[..., None], monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    late, days = THIN if state == "not_traded" else "S05", evening.days
    evening.as_of, evening.early = BEFORE, {BEFORE}
    clock(BEFORE.year, BEFORE.month, BEFORE.day, 18, 0)
    with monkeypatch.context() as lagging:
        lagging.setattr(evening, "days", lambda name: [d for d in days(name) if name != late or d < BEFORE])
        assert run_here(DailyPipeline(date=BEFORE))
    monkeypatch.setattr(
        evening, "days", lambda name: [d for d in SESSIONS if d <= BEFORE] if name == late else days(name)
    )
    assert ask("SELECT state FROM price_coverage WHERE date = ? AND symbol = ?", BEFORE, late) == [(state,)]
    next_morning(evening, clock)
    assert run_here(ConfirmSession(date=BEFORE))
    assert_final(evening, BEFORE)
    assert ask("SELECT state, reason FROM price_coverage WHERE date = ? AND symbol = ?", BEFORE, late) == [
        ("stored", "the bar came later")
    ]
    assert ask("SELECT count(*) FROM technical_indicators WHERE date = ? AND symbol = ?", BEFORE, late) == [(1,)]
    assert ask("SELECT count(*) FROM stale_sessions") == [(0,)]


def test_of_a_symbol_that_did_not_trade_the_bars_before_are_put_right(
    evening: SmallMarket, clock: Callable[..., None]
) -> None:
    evening.as_of, evening.early = BEFORE, {BEFORE}
    traded = evening.days(THIN)[-1]
    clock(BEFORE.year, BEFORE.month, BEFORE.day, 18, 0)
    evening.corrections[(THIN, traded)] = 1.001
    assert run_here(DailyPipeline(date=BEFORE))
    assert ask("SELECT state FROM price_coverage WHERE date = ? AND symbol = ?", BEFORE, THIN) == [("not_traded",)]
    evening.corrections.clear()
    next_morning(evening, clock)
    assert run_here(ConfirmSession(date=BEFORE))
    ((close, volume),) = ask("SELECT close, volume FROM stock_data WHERE date = ? AND symbol = ?", traded, THIN)
    assert (close, volume) == (pytest.approx(evening.bar(THIN, traded)[3]), evening.bar(THIN, traded)[4])
    asked = evening.requests[THIN]
    forget()
    assert run_here(ConfirmSession(date=BEFORE))
    assert evening.requests[THIN] == asked


def test_without_it_the_next_days_run_makes_the_session_final_and_amends_it(
    day_before: SmallMarket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pipeline")
    seen = on_list(BEFORE)
    assert run_here(DailyPipeline(date=LAST))
    assert_final(day_before, BEFORE)
    assert ask("SELECT count(*) FROM stale_sessions") == [(0,)]
    changed = set(ask("SELECT symbol, scan_reason FROM watchlist_amendments WHERE scan_date = ?", BEFORE))
    assert changed == seen ^ on_list(BEFORE) != set()
    assert ask("SELECT count(*) FROM watchlist_amendments WHERE scan_date = ?", LAST) == [(0,)]
    assert f"AMENDED list of {BEFORE}: " in caplog.text


def test_without_it_the_next_days_run_says_of_bars_that_were_right_that_they_are_final(
    evening: SmallMarket, clock: Callable[..., None]
) -> None:
    evening.early, evening.as_of = set(), BEFORE
    clock(BEFORE.year, BEFORE.month, BEFORE.day, 18, 0)
    assert run_here(DailyPipeline(date=BEFORE))
    seen = on_list(BEFORE)
    assert seen
    evening.as_of = LAST
    clock(LAST.year, LAST.month, LAST.day, 18, 0)
    forget()
    assert run_here(DailyPipeline(date=LAST))
    finality = "SELECT DISTINCT scan_date, is_final FROM daily_watchlist WHERE scan_date IN (?, ?) ORDER BY ALL"
    assert ask(finality, BEFORE, LAST) == [(BEFORE, True), (LAST, False)]
    assert on_list(BEFORE) == seen
    assert ask("SELECT count(*) FROM watchlist_amendments") == [(0,)]


def test_the_next_days_run_makes_bars_final_of_companies_that_have_become_too_small(
    day_before: SmallMarket, settings: Callable[..., None]
) -> None:
    settings("market", min_market_cap=1e11)
    assert run_here(DailyPipeline(date=LAST))
    small = (
        "SELECT count(*) FROM stock_data "
        "WHERE date = ? AND symbol NOT IN (SELECT symbol FROM stock_data WHERE date = ?)"
    )
    assert ask(small, BEFORE, LAST)[0][0] > 20
    assert_final(day_before, BEFORE)


def test_a_hit_that_others_have_moved_out_of_the_first_of_its_rule_says_so(
    evening: SmallMarket,
    clock: Callable[..., None],
    settings: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "first.toml").write_text(BUSY.replace("2.9e6", "1e6").replace("limit = 1000", "limit = 5"))
    settings("scans", file=str(tmp_path / "first.toml"), extra="")
    late, bar = "S05", evening.bar

    def grown(symbol: str, day: dt.date) -> Bar:
        """In the evening one symbol has a tenth of the volume that makes it the first in the morning."""
        *prices, volume = bar(symbol, day)
        return (*prices, (volume // 10 if day in evening.early else volume * 9) if symbol == late else volume)

    monkeypatch.setattr(evening, "bar", grown)
    assert run_here(DailyPipeline(date=LAST))
    ((last, before),) = ask("SELECT symbol, volume FROM daily_watchlist WHERE scan_date = ? AND place = 5", LAST)
    next_morning(evening, clock)
    assert run_here(ConfirmSession(date=LAST))
    reasons = dict(ask("SELECT symbol, reason FROM watchlist_amendments WHERE scan_date = ?", LAST))
    assert set(reasons) == {late, last}
    assert " instead of " in str(reasons[late]) and "volume " in str(reasons[late])
    assert reasons[last] == "others have moved it out of the first 5: place 6 instead of 5"


STEPS = [
    *(
        (stage, "process", False)
        for stage in (ComputeIndicators, ScanWatchlist, ReplicateDatabase, NotifySuccess, GenerateReport)
    ),
    (ConfirmSession, "_run_again", False),  # the bars are stored, and nothing else
    (ConfirmSession, "_run_again", True),  # everything but its own mark
    *(
        (stage, "process", True) for stage in (ComputeIndicators, ScanWatchlist, ReplicateDatabase)
    ),  # not the marker file
]


#: With all other tests; the rest has the slow lane.
FAST_STEPS = ("ScanWatchlist-before", "ReplicateDatabase-after", "ConfirmSession-before", "ConfirmSession-after")


def step_id(task: type[SessionTask], is_done: bool) -> str:
    return f"{task.__name__}-{'after' if is_done else 'before'}"


@pytest.mark.parametrize(
    ("task", "step", "is_done"),
    [
        pytest.param(*step, id=name, marks=() if name in FAST_STEPS else pytest.mark.slow)
        for step in STEPS
        if (name := step_id(step[0], step[2]))
    ],
)
def test_what_breaks_between_two_steps_is_gone_on_with_by_the_same_command(
    collected: SmallMarket,
    clock: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    task: type[SessionTask],
    step: str,
    is_done: bool,
) -> None:
    next_morning(collected, clock)
    whole = getattr(task, step)

    def cut_off(self: SessionTask, sessions: object) -> None:
        cuts.append(step)
        if is_done:
            whole(self, sessions)
        raise RuntimeError("cut off")

    cuts: list[str] = []
    with monkeypatch.context() as broken:
        broken.setattr(task, step, cut_off)
        run_here(ConfirmSession(date=LAST))  # what it finds done behind the cut, it goes on with by itself
    assert cuts
    forget()
    asked = collected.total
    assert run_here(ConfirmSession(date=LAST))
    assert collected.total == asked
    assert_final(collected, LAST)
    assert ask("SELECT count(*) > 0 FROM watchlist_amendments WHERE scan_date = ?", LAST) == [(True,)]
    assert ask("SELECT count(*) FROM stale_sessions") == [(0,)]


@pytest.mark.redis
def test_the_feed_that_holds_the_session_follows(
    evening: SmallMarket, clock: Callable[..., None], redis: Redis
) -> None:
    assert run_here(RedisWatchlistSync(date=LAST))
    before = triggers(redis)
    assert {trigger["volume_final"] for trigger in before.values()} == {False}
    next_morning(evening, clock)
    assert run_here(ConfirmSession(date=LAST))
    after = triggers(redis)
    assert {trigger["volume_final"] for trigger in after.values()} == {True}
    assert {trigger["symbol"] for trigger in after.values()} == {symbol for symbol, _ in on_list(LAST)}
    assert {trigger["symbol"] for trigger in after.values()} > {trigger["symbol"] for trigger in before.values()}
