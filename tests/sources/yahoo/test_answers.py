"""One question at a time: real yfinance against a loopback server, a test for each fault of the source."""

from __future__ import annotations

import datetime as dt
import email.utils
import time
from collections.abc import Iterator

import pytest

from pipeline.retry_after import seconds_of
from pipeline.sources.yahoo.chart import PassingFailure, check, parsed
from pipeline.sources.yahoo.pacing import Pace, pace_file
from pipeline.sources.yahoo.worker import Asker, Settings
from tests.support.fake_market import FakeMarket, Fault, bar, opening

FIRST, LAST = dt.date(2024, 2, 12), dt.date(2024, 2, 16)
DAYS = [dt.date(2024, 2, day) for day in range(12, 17)]


@pytest.fixture
def market() -> Iterator[FakeMarket]:
    with FakeMarket(["AAA", "BRK-B", "NA", "TRUE", "ON", "NAN"]) as server:
        yield server


def asker(market: FakeMarket, **changes: float) -> Asker:
    values = {
        "requests_per_second": 1000.0,
        "timeout": 5.0,
        "max_bytes": 4_000_000,
        "retry_budget": 60.0,
        "backoff": 0.01,
        "threads": 2,
    } | changes
    settings = Settings(base_url=market.url, **values)  # type: ignore[arg-type]
    file = pace_file(settings.requests_per_second)
    made = Asker(settings, Pace(file.fileno(), settings.requests_per_second))
    made.pace_file = file  # type: ignore[attr-defined]  # open as long as the asker lives
    return made


def ask(market: FakeMarket, symbol: str = "AAA", retries: int = 4, **changes: float) -> dict:
    return asker(market, **changes).answer(symbol, FIRST, LAST, retries)


def test_bars_arrive_as_the_source_has_them_for_one_request(market):
    answer = ask(market)
    assert (answer["status"], answer["reason"]) == ("ok", None)
    assert (answer["asked_from"], answer["asked_to"]) == ("2024-02-12", "2024-02-16")
    bars = answer["bars"]
    assert bars["date"] == [day.isoformat() for day in DAYS]
    rows = list(zip(*(bars[name] for name in ("open", "high", "low", "close", "volume")), strict=True))
    assert rows == [bar("AAA", day) for day in DAYS]
    assert max(row[4] for row in rows) > 2**31
    assert bars["dividend"] == bars["split_ratio"] == [None] * 5
    assert (market.total, market.others) == (1, [])


def test_no_answer_stays_in_memory(market):
    made = asker(market)
    for symbol in ("AAA", "NONE"):
        made.answer(symbol, FIRST, LAST, 0)
    assert made.data.cache_get.cache_info().currsize == 0


@pytest.mark.parametrize("symbol", ["BRK.B", "BRK/B"])
def test_share_classes_are_asked_with_a_dash_and_answered_as_asked(market, symbol):
    answer = ask(market, symbol)
    assert (answer["symbol"], answer["status"]) == (symbol, "ok")
    assert market.requests == {"BRK-B": 1}


@pytest.mark.parametrize("symbol", ["NA", "TRUE", "ON", "NAN"])
def test_tickers_that_look_like_values_stay_text(market, symbol):
    answer = ask(market, symbol)
    assert (answer["symbol"], answer["status"], len(answer["bars"]["date"])) == (symbol, "ok", 5)


def test_a_symbol_cannot_change_the_question(market):
    answer = ask(market, "../AAA?x=1#")
    assert (answer["symbol"], answer["status"]) == ("../AAA?x=1#", "unknown")
    assert market.requests.keys().isdisjoint({"AAA"})


def test_split_and_dividend_stand_on_their_session(market):
    market.splits["AAA"] = {DAYS[1]: (4, 1), DAYS[3]: (1, 8)}
    market.dividends["AAA"] = {DAYS[2]: 0.24}
    bars = ask(market)["bars"]
    assert bars["split_ratio"] == [None, 4.0, None, 0.125, None]
    assert bars["dividend"] == [None, None, 0.24, None, None]


def test_a_null_session_is_a_row_without_values(market):
    market.faults["AAA"] = Fault("null")
    bars = ask(market)["bars"]
    assert bars["date"][-1] == "2024-02-16"
    assert [bars[name][-1] for name in ("open", "high", "low", "close", "volume")] == [None] * 5
    assert bars["close"][:-1] == [bar("AAA", day)[3] for day in DAYS[:-1]]


def test_a_live_row_after_the_range_does_not_enter(market):
    market.faults["AAA"] = Fault("live")
    assert ask(market)["bars"]["date"] == [day.isoformat() for day in DAYS]


def test_a_range_without_sessions_is_ok_without_bars(market):
    market.faults["AAA"] = Fault("empty")
    answer = ask(market)
    assert (answer["status"], answer["bars"], market.total) == ("ok", {}, 1)


def test_a_range_before_the_listing_is_ok_without_bars(market):
    market.faults["AAA"] = Fault("400")
    answer = ask(market)
    assert (answer["status"], answer["bars"], market.total) == ("ok", {}, 1)
    assert answer["reason"].startswith("Data doesn't exist for startDate")


def test_an_unknown_symbol_is_asked_once(market):
    answer = ask(market, "GONE")
    assert (answer["status"], market.total) == ("unknown", 1)
    assert answer["reason"] == "No data found, symbol may be delisted"


@pytest.mark.parametrize("status", ["401", "403", "422"])
def test_a_refusal_is_not_repeated(market, status):
    market.faults["AAA"] = Fault(status)
    answer = ask(market)
    assert (answer["status"], market.total) == ("failed", 1)
    assert answer["reason"] == f"HTTP {status} after 1 attempt"


@pytest.mark.parametrize("kind", ["500", "503", "garbage", "html", "reset"])
def test_what_may_pass_is_asked_again(market, kind):
    market.faults["AAA"] = Fault(kind, times=2)
    answer = ask(market)
    assert (answer["status"], len(answer["bars"]["date"]), market.total) == ("ok", 5, 3)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("500", "HTTP 500 after 5 attempts"),
        ("garbage", "HTTP 200 without a chart (an error page, or a broken answer) after 5 attempts"),
        ("html", "HTTP 200 without a chart (an error page, or a broken answer) after 5 attempts"),
        ("reset", "no answer (ConnectionError) after 5 attempts"),
    ],
)
def test_the_last_reason_is_kept_when_all_attempts_fail(market, kind, reason):
    market.faults["AAA"] = Fault(kind)
    answer = ask(market)
    assert (answer["status"], answer["reason"], answer["bars"]) == ("failed", reason, {})
    assert market.total == 5


def test_a_hanging_server_costs_the_timeout_only(market):
    market.faults["AAA"] = Fault("hang", times=1)
    started = time.monotonic()
    answer = ask(market, timeout=0.3)
    assert (answer["status"], market.total) == ("ok", 2)
    assert 0.3 <= time.monotonic() - started < 3


def test_a_symbol_gets_no_more_than_its_budget(market):
    market.faults["AAA"] = Fault("hang")
    answer = ask(market, retries=50, timeout=0.2, retry_budget=0.7)
    assert answer["status"] == "failed"
    assert answer["reason"].startswith("no whole answer within 0.2 s after")
    assert 2 <= market.total <= 4


def test_no_server_at_all(market):
    market.__exit__()
    answer = ask(market, retries=1)
    assert (answer["status"], answer["reason"]) == ("failed", "no answer (ConnectionError) after 2 attempts")


def test_429_is_asked_again_after_a_pause_at_a_lower_pace(market):
    market.faults["AAA"] = Fault("429", times=1)
    made = asker(market)
    started = time.monotonic()
    answer = made.answer("AAA", FIRST, LAST, 4)
    assert (answer["status"], market.total) == ("ok", 2)
    assert time.monotonic() - started >= 1
    assert made.session.pace.rate < 1000


def test_retry_after_is_obeyed_by_everyone(market):
    market.faults["AAA"] = Fault("429", times=1, retry_after="2")
    made = asker(market)
    assert made.answer("AAA", FIRST, LAST, 0)["reason"] == "HTTP 429 after 1 attempt"
    limited = time.monotonic()
    assert made.answer("ON", FIRST, LAST, 0)["status"] == "ok"
    assert time.monotonic() - limited >= 1.9


@pytest.mark.parametrize(
    ("pause", "reason"), [("2", "HTTP 429 after 1 attempt"), ("3", "HTTP 429, Retry-After 3 s after 1 attempt")]
)
def test_a_retry_after_of_the_whole_budget_may_pass(market, pause, reason):
    market.faults["AAA"] = Fault("429", retry_after=pause)
    assert ask(market, retries=0, retry_budget=2.0)["reason"] == reason


def test_a_retry_after_beyond_the_budget_fails_at_once(market):
    market.faults["AAA"] = Fault("429", retry_after="3600")
    answer = ask(market, retry_budget=0.5)
    assert (answer["status"], market.total) == ("failed", 1)
    assert answer["reason"] == "HTTP 429, Retry-After 3600 s after 1 attempt"


def test_retry_after_is_a_number_or_a_date():
    assert seconds_of("7") == 7
    assert seconds_of(None) is seconds_of("soon") is None
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    assert 28 < (seconds_of(email.utils.format_datetime(later, usegmt=True)) or 0) <= 30
    assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_404_that_is_not_yahoos_does_not_make_the_symbol_unknown(market):
    """A proxy's page, or a wrong base_url, would otherwise empty the universe."""
    made = asker(market)
    made.session.base = f"{market.url}/elsewhere"
    answer = made.answer("AAA", FIRST, LAST, 4)
    assert (answer["status"], answer["reason"]) == ("failed", "HTTP 404 after 1 attempt")


@pytest.fixture
def told(market, monkeypatch):
    """A function that has the market tell its charts with a change, and asks for one of them, once."""

    def ask_for(change):
        chart = market.chart

        def changed(*asked):
            answer = chart(*asked)
            change(answer["chart"]["result"][0])
            return answer

        monkeypatch.setattr(market, "chart", changed)
        return ask(market, retries=0)

    return ask_for


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("symbol", "ZZZ", "the chart is that of ZZZ"),
        ("symbol", None, "the chart is that of None"),
        ("currency", "GBp", "the chart has currency GBp, not USD"),
        ("dataGranularity", "1wk", "the chart has dataGranularity 1wk, not 1d"),
        (
            "exchangeTimezoneName", "Europe/London",
            "the chart has exchangeTimezoneName Europe/London, not America/New_York",
        ),
    ],
)  # fmt: skip
def test_a_chart_of_something_else_is_no_answer(told, name, value, reason):
    answer = told(lambda result: result["meta"].update({name: value}))
    assert (answer["status"], answer["reason"], answer["bars"]) == ("failed", f"{reason} after 1 attempt", {})


def test_a_chart_of_something_else_is_asked_for_again(market, monkeypatch):
    chart, others = market.chart, iter(["ZZZ", "AAA"])

    def first_another(*asked):
        answer = chart(*asked)
        answer["chart"]["result"][0]["meta"]["symbol"] = next(others)
        return answer

    monkeypatch.setattr(market, "chart", first_another)
    assert ask(market)["status"] == "ok"
    assert market.total == 2


@pytest.mark.parametrize(
    ("volume", "stored"),
    [(None, None), (0, 0), (10**400, 2**53), (1e30, 2**53), (float("nan"), 2**53), ("many", 2**53), (-5, -5)],
)
def test_a_volume_is_what_the_chart_says_or_none(told, volume, stored):
    """None beside prices is missing, not 0; one that is no number of shares is as large as no rule lets pass."""

    def change(result):
        result["indicators"]["quote"][0]["volume"][1] = volume

    volumes = told(change)["bars"]["volume"]
    assert volumes == [*(bar("AAA", day)[4] if day != DAYS[1] else stored for day in DAYS)]


def test_a_price_of_400_digits_is_no_number_and_spoils_nothing_else(told):
    def change(result):
        result["indicators"]["quote"][0]["close"][1] = 10**400

    closes = told(change)["bars"]["close"]
    assert closes == [bar("AAA", day)[3] if day != DAYS[1] else float("inf") for day in DAYS]


def test_a_split_that_is_told_twice_is_one(told):
    at = opening(DAYS[2])
    event = {"numerator": 4, "denominator": 1, "splitRatio": "4:1"}
    answer = told(lambda result: result.update(
        events={"splits": {"1": {"date": at, **event}, "2": {"date": at + 60, **event}}}))  # fmt: skip
    assert answer["bars"]["split_ratio"] == [None, None, 4.0, None, None]


def test_a_split_into_nothing_is_told_as_it_is(told):
    """And refused by the rule of its name."""
    split = {"1": {"date": opening(DAYS[2]), "numerator": 1, "denominator": 0, "splitRatio": "1:0"}}
    answer = told(lambda result: result.update(events={"splits": split}))
    assert answer["bars"]["split_ratio"][2] == float("inf")


def test_an_answer_nested_without_end_is_no_chart():
    with pytest.raises(PassingFailure, match="without a chart"):
        check(200, parsed(b'{"chart":' * 1_000_000), "AAA", 7)


def test_half_an_emoji_in_an_error_can_be_written_to_a_file(market):
    market.faults["AAA"] = Fault("404", says="No data found \ud83d, symbol may be delisted")
    answer = ask(market)
    assert answer["status"] == "unknown"
    assert answer["reason"].encode()
