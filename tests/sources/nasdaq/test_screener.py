"""The screener client against a loopback HTTP server: each text form, and each way in which an answer can be wrong."""

import collections
import contextlib
import datetime as dt
import email.utils
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import luigi
import pytest

from pipeline import calendar
from pipeline.errors import (
    ListingRefusedError,
    ListingTooShortError,
    ListingUnavailableError,
    ListingUnreadableError,
)
from pipeline.sources.nasdaq.screener import NasdaqScreener, listing_session
from pipeline.sources.nasdaq.text import number, text

FRIDAY = dt.date(2024, 2, 16)
APPLE = {
    "symbol": "AAPL", "name": "Apple Inc. Common Stock", "lastsale": "$182.31", "netchange": "-1.55",
    "pctchange": "-0.843%",
    "volume": "49700778", "marketCap": "2815209325110.00", "country": "United States", "ipoyear": "1980",
    "industry": "Computer Manufacturing", "sector": "Technology", "url": "/market-activity/stocks/aapl",
}  # fmt: skip
TABLE_FIELDS = ("symbol", "name", "lastsale", "netchange", "pctchange", "marketCap", "url")


class Screener:
    """What the server answers: `rows`, `asof`, and scripted answers that come before (status, body, headers)."""

    def __init__(self, *rows):
        self.rows = list(rows)
        self.asof = "Last price as of Feb 16, 2024"
        self.total = None
        self.has_download = True
        self.scripted = collections.deque()
        self.asked = []

    def answer(self, path, headers):
        query = {key: value[0] for key, value in parse_qs(urlsplit(path).query).items()}
        self.asked.append((query, headers))
        if self.scripted:
            return self.scripted.popleft()
        data = self.download() if self.has_download and query.get("download") == "true" else self.table(query)
        return 200, json.dumps({"data": data, "message": None, "status": {"rCode": 200}}).encode(), {}

    def download(self):
        return {"asOf": None, "headers": {}, "rows": self.rows}

    def table(self, query):
        start = int(query["offset"])
        rows = [row for row in self.rows if isinstance(row, dict)][start : start + int(query["limit"])]
        page = [{key: row.get(key) for key in TABLE_FIELDS} for row in rows]
        total = f"{len(self.rows):,}" if self.total is None else self.total
        return {"filters": None, "table": {"asOf": None, "rows": page}, "totalrecords": total, "asof": self.asof}


@contextlib.contextmanager
def setting(section, name, value):
    config = luigi.configuration.get_config()
    before = config.get(section, name, None)
    config.set(section, name, str(value))
    try:
        yield
    finally:
        if before is None:
            config.remove_option(section, name)
        else:
            config.set(section, name, before)


@pytest.fixture
def screener():
    """A screener of one company on a free port, which the settings point to; one symbol is enough for it."""
    served = Screener(APPLE)

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def do_GET(self):
            answer = served.answer(self.path, self.headers)
            if answer is None:  # close the connection without a word
                return
            status, body, headers = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with (
            setting("nasdaq", "base_url", f"http://127.0.0.1:{server.server_address[1]}/"),
            setting("nasdaq", "min_symbols", 1),
            setting("nasdaq", "retries", 2),
        ):
            yield served
        server.shutdown()
        thread.join()


def ask(pauses=None):
    """The listing, with the pauses between attempts written down instead of waited for."""
    return NasdaqScreener(sleep=[].append if pauses is None else pauses.append).listing(FRIDAY)


# --- what is asked, and what is read ---------------------------------------------------------------------------------


def test_reads_the_download_and_dates_it_by_the_table(screener):
    listing = ask()
    company = listing.companies[0]
    assert listing.session == FRIDAY
    assert (company.symbol, company.name) == ("AAPL", "Apple Inc. Common Stock")
    assert (company.sector, company.industry, company.country) == (
        "Technology",
        "Computer Manufacturing",
        "United States",
    )
    assert (company.market_cap, company.ipo_year, company.volume) == (2815209325110.0, 1980, 49700778)
    assert (company.last_sale, company.net_change) == (182.31, -1.55)


def test_keeps_the_download_as_it_was_received(screener):
    assert json.loads(ask().raw)["data"] == screener.download()


def test_asks_for_nasdaq_alone_as_a_browser_would(screener):
    ask()
    (first, _), (second, headers) = screener.asked
    assert first["exchange"] == second["exchange"] == "nasdaq"
    assert "download" not in first and first["limit"] == "25"
    assert second["download"] == "true"
    assert headers["User-Agent"].startswith("Mozilla/5.0")


def company_of(screener, **fields):
    screener.rows = [APPLE | fields]
    return ask().companies[0]


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        ({"lastsale": "$1,120.00"}, "last_sale", 1120.0),
        ({"lastsale": ""}, "last_sale", None),
        ({"lastsale": "N/A"}, "last_sale", None),
        ({"netchange": "UNCH"}, "net_change", 0.0),
        ({"netchange": "-0.0054"}, "net_change", -0.0054),
        ({"marketCap": ""}, "market_cap", None),
        ({"marketCap": "0.00"}, "market_cap", None),
        ({"marketCap": "3,015,209,325,110"}, "market_cap", 3015209325110.0),
        ({"volume": "5,368,709,120"}, "volume", 5368709120),
        ({"volume": "0"}, "volume", 0),
        ({"ipoyear": ""}, "ipo_year", None),
        ({"ipoyear": "0"}, "ipo_year", None),
        ({"sector": "  Technology "}, "sector", "Technology"),
        ({"sector": "N/A"}, "sector", None),
        ({"industry": None}, "industry", None),
        ({"name": "Marriott &amp; Sons&#39; Common Stock "}, "name", "Marriott & Sons' Common Stock"),
        ({"symbol": "NA"}, "symbol", "NA"),
        ({"symbol": "TRUE"}, "symbol", "TRUE"),
        ({"symbol": " ON  "}, "symbol", "ON"),
        ({"symbol": "BRK/A"}, "symbol", "BRK/A"),
        ({"symbol": "ABR^D"}, "symbol", "ABR^D"),
    ],
)
def test_types_the_text_fields(screener, fields, attribute, value):
    assert getattr(company_of(screener, **fields), attribute) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("-1.424%", -1.424),
        ("+0.5%", 0.5),
        ("$-0.35", -0.35),
        ("-$0.35", -0.35),
        (".5", 0.5),
        (7, 7.0),
        (None, None),
        ("--", None),
    ],
)
def test_reads_numbers(written, value):
    assert number(written) == value


@pytest.mark.parametrize("written", ["nan", "inf", "1e5", "12 apples", "-$-3", "0x1F", "1.2.3", "$"])
def test_takes_nothing_else_for_a_number(written):
    with pytest.raises(ValueError):
        number(written)


def test_an_empty_text_is_missing_and_a_ticker_is_not():
    assert text("  ") is None
    assert text("NA") == "NA"


def test_the_first_of_a_repeated_symbol_counts(screener, caplog):
    screener.rows = [APPLE, APPLE | {"name": "Another"}, APPLE | {"symbol": " "}]
    with caplog.at_level("INFO", "pipeline"):
        listing = ask()
    assert [company.name for company in listing.companies] == ["Apple Inc. Common Stock"]
    assert "repeats 1 symbol(s), and 1 row(s) have none" in caplog.text


def test_reads_the_pages_of_the_table_where_there_is_no_download(screener):
    screener.has_download = False
    screener.rows = [APPLE | {"symbol": f"S{number}", "marketCap": "1,000,000"} for number in range(2500)]
    listing = ask()
    assert [company.symbol for company in listing.companies] == [f"S{number}" for number in range(2500)]
    assert listing.companies[0].market_cap == 1e6
    assert listing.companies[0].sector is None and listing.companies[0].volume is None
    assert len(listing.raw.splitlines()) == 3


# --- which session it is of ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_of", "session"),
    [
        (dt.date(2024, 2, 16), dt.date(2024, 2, 16)),
        (dt.date(2024, 2, 19), dt.date(2024, 2, 16)),  # a holiday
        (dt.date(2024, 2, 24), dt.date(2024, 2, 20)),  # after the latest settled session
        (None, dt.date(2024, 2, 20)),
    ],
)
def test_the_listing_belongs_to_a_settled_session(as_of, session):
    def latest_until(day):
        return max(s for s in (dt.date(2024, 2, 15), dt.date(2024, 2, 16), dt.date(2024, 2, 20)) if s <= day)

    assert listing_session(as_of, dt.date(2024, 2, 20), latest_until) == session


@pytest.mark.parametrize("asof", [None, "", "Last price as of today", "Last price as of Feb 31, 2024"])
def test_an_unreadable_date_means_the_latest_settled_session(screener, monkeypatch, asof):
    monkeypatch.setattr(calendar, "now", lambda: dt.datetime(2024, 2, 21, 12, tzinfo=dt.UTC))
    screener.asof = asof
    assert ask().session == dt.date(2024, 2, 20)


@pytest.mark.parametrize("asof", ["Last price as of Monday, February 19, 2024", "Data as of Feb 18, 2024"])
def test_a_day_without_a_session_means_the_one_before(screener, asof):
    screener.asof = asof
    assert ask().session == FRIDAY


# --- each failure its own error --------------------------------------------------------------------------------------


def envelope(**content):
    return 200, json.dumps(content).encode(), {"Content-Type": "application/json"}


def test_a_refusal_inside_http_200(screener):
    status = {"rCode": 400, "bCodeMessage": [{"code": 1001, "errorMessage": "Something went wrong."}]}
    screener.scripted.append(envelope(data=None, status=status))
    with pytest.raises(ListingRefusedError, match="rCode 400: Something went wrong"):
        ask()
    assert len(screener.asked) == 1


def test_a_refusal_without_a_reason(screener):
    screener.scripted.append(envelope(data=None, status=None))
    with pytest.raises(ListingRefusedError, match="it gave no message"):
        ask()


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Access Denied</body></html>",
        b'{"data": {"table": {"rows": [{"symbol": "AA',
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b'{"status": {"rCode": 200}}',
        b'{"data": [], "status": {"rCode": 200}}',
    ],
)
def test_an_answer_that_is_no_envelope(screener, body):
    screener.scripted.append((200, body, {"Content-Type": "text/html"}))
    with pytest.raises(ListingUnreadableError):
        ask()
    assert len(screener.asked) == 1  # asking again at once would not help


def test_an_error_page_is_quoted_by_its_beginning_only(screener):
    screener.scripted.append((200, b"<html>" + b"x" * 5000, {"Content-Type": "text/html"}))
    with pytest.raises(ListingUnreadableError, match="5,006 bytes of text/html") as caught:
        ask()
    assert len(str(caught.value)) < 400


def test_rows_without_a_key_name_the_nearest(screener):
    screener.rows = [{key.replace("marketCap", "marketCapital"): value for key, value in APPLE.items()}]
    with pytest.raises(ListingUnreadableError, match=r"lack the key 'marketCap' \(nearest: marketCapital\)"):
        ask()


def test_a_row_that_is_no_object(screener):
    screener.rows = [APPLE, ["MSFT"]]
    with pytest.raises(ListingUnreadableError, match="no object but list"):
        ask()


def test_an_answer_without_any_rows_key(screener):
    screener.scripted.extend([envelope(data={"asof": None}), envelope(data={"lines": []})])
    with pytest.raises(ListingUnreadableError, match="neither data.rows nor data.table.rows, but data with lines"):
        ask()


def test_a_few_unreadable_values_are_missing_and_said(screener, caplog):
    screener.rows = [APPLE | {"symbol": f"S{i}"} for i in range(200)] + [APPLE | {"lastsale": "call us"}]
    assert ask().companies[-1].last_sale is None
    assert "1 value(s) of lastsale are unreadable" in caplog.text


def test_many_unreadable_values_are_a_changed_format(screener):
    screener.rows = [APPLE | {"symbol": f"S{i}", "marketCap": "2.8T"} for i in range(100)]
    with pytest.raises(
        ListingUnreadableError, match=r"marketCap could not be read in 100 of 100 rows \(first: S0: '2.8T'"
    ):
        ask()


@pytest.mark.parametrize("rows", [0, 2])
def test_too_short_a_list(screener, rows):
    screener.rows = [APPLE | {"symbol": f"S{i}"} for i in range(rows)]
    with setting("nasdaq", "min_symbols", 3), pytest.raises(ListingTooShortError, match=f"lists {rows} symbols"):
        ask()


def test_a_list_shorter_than_its_own_count(screener):
    screener.total = "4,119"
    with pytest.raises(ListingUnreadableError, match="sent 1 rows and counts 4,119"):
        ask()


def test_a_list_that_does_not_say_its_count_is_taken(screener, caplog):
    screener.total = ""
    assert len(ask().companies) == 1
    assert "does not say how many" in caplog.text


# --- retries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_asks_again_after_a_failure_that_may_pass(screener, status):
    screener.scripted.extend([(status, b"", {})] * 2)
    pauses = []
    assert len(ask(pauses).companies) == 1
    assert 1 <= pauses[0] <= 2 <= pauses[1] <= 3


def test_asks_again_when_the_connection_breaks(screener):
    screener.scripted.append(None)
    assert len(ask().companies) == 1


def test_asks_again_when_the_body_ends_early(screener):
    screener.scripted.append((200, b'{"data"', {"Content-Length": "5000"}))
    assert len(ask().companies) == 1


def test_gives_up_after_the_retries(screener):
    screener.scripted.extend([(503, b"", {})] * 3)
    with pytest.raises(ListingUnavailableError, match="HTTP 503; tried up to 3 times"):
        ask()
    assert len(screener.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_does_not_repeat_what_will_not_pass(screener, status):
    screener.scripted.append((status, b"<html>no</html>", {}))
    with pytest.raises(ListingUnavailableError, match=f"HTTP {status}"):
        ask()
    assert len(screener.asked) == 1


def test_waits_as_long_as_the_server_asks(screener, monkeypatch):
    monkeypatch.setattr(calendar, "now", lambda: dt.datetime(2024, 2, 21, 12, tzinfo=dt.UTC))
    in_nine_seconds = email.utils.format_datetime(dt.datetime(2024, 2, 21, 12, 0, 9, tzinfo=dt.UTC), usegmt=True)
    screener.scripted.extend([(429, b"", {"Retry-After": "7"}), (503, b"", {"Retry-After": in_nine_seconds})])
    pauses = []
    ask(pauses)
    assert pauses == [7.0, 9.0]


def test_does_not_wait_for_hours(screener):
    screener.scripted.append((429, b"", {"Retry-After": "7200"}))
    pauses = []
    with pytest.raises(ListingUnavailableError, match="HTTP 429 and asks to wait 7200 s"):
        ask(pauses)
    assert pauses == []


def test_an_address_that_nobody_serves():
    with (
        setting("nasdaq", "base_url", "http://127.0.0.1:9"),
        pytest.raises(ListingUnavailableError, match="gave no answer"),
    ):
        ask()


def test_an_address_that_is_none():
    with (
        setting("nasdaq", "base_url", "api.nasdaq.com"),
        pytest.raises(ListingUnavailableError, match="address is none"),
    ):
        ask()


def test_a_server_that_stays_silent(screener):
    released = threading.Event()
    answer = screener.answer
    screener.answer = lambda path, headers: released.wait(10) and answer(path, headers)
    with (
        setting("nasdaq", "timeout", 0.05),
        pytest.raises(ListingUnavailableError, match="no whole answer within 0.05 s"),
    ):
        ask()
    released.set()


# --- rows that no company has, and answers without measure ------------------------------------------------------------

ODD = [
    {"volume": "9" * 30},
    {"volume": int("9" * 30)},
    {"volume": int("9" * 399)},
    {"marketCap": "9" * 400},
    {"marketCap": "1,000,000,000,000,001"},
    {"ipoyear": "99999999999"},
    {"ipoyear": "1599"},
    {"ipoyear": "2200"},
    {"symbol": "../../etc/passwd"},
    {"symbol": "A\x1b[2J"},
    {"symbol": "\ud83d"},
    {"symbol": "A" * 21},
    {"symbol": {"A": 1}},
    {"symbol": True},
    {"name": ["Apple"]},
    {"sector": {"name": "Technology"}},
]


@pytest.mark.parametrize("fields", ODD, ids=str)
def test_an_odd_row_is_refused_and_counted_and_the_others_are_taken(screener, caplog, fields):
    listed(screener, 100)
    screener.rows[7] |= fields
    assert [company.symbol for company in ask().companies] == [f"S{n:03d}" for n in range(100) if n != 7]
    assert "1 row(s) are refused" in caplog.text


@pytest.mark.parametrize("row", [None, 1, "AAPL", ["AAPL"], {}, {"symbol": "S007"}], ids=str)
def test_what_is_no_row_is_refused_and_counted(screener, caplog, row):
    listed(screener, 100)
    screener.rows[7] = row
    screener.total = "100"
    assert len(ask().companies) == 99
    assert "1 row(s) are refused" in caplog.text


def test_a_number_of_thousands_of_digits_costs_its_row_alone(screener, caplog):
    """Python reads no such number, which would make the whole answer one that is no JSON."""
    listed(screener, 100)
    body = json.dumps({"data": screener.download()}).replace('"49700778"', "9" * 5000, 1).encode()
    screener.scripted.extend([envelope(data=screener.table({"offset": 0, "limit": 25})), (200, body, {})])
    assert len(ask().companies) == 99
    assert "1 row(s) are refused" in caplog.text


@pytest.mark.parametrize(("faults", "is_taken"), [(2, True), (3, False)])
def test_a_hundredth_of_the_rows_may_be_odd(screener, faults, is_taken):
    listed(screener, 200, ipoyear="99999", faults=faults)
    if is_taken:
        assert len(ask().companies) == 198
    else:
        with pytest.raises(ListingUnreadableError, match=r"rows could not be read in 3 of 200 rows \(first: S000: "):
            ask()


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        ({"marketCap": "1,000,000,000,000,000"}, "market_cap", 1e15),
        ({"ipoyear": "1600"}, "ipo_year", 1600),
        ({"ipoyear": "2199"}, "ipo_year", 2199),
        ({"symbol": "A" * 20}, "symbol", "A" * 20),
        ({"name": "Half \ud83d Inc."}, "name", "Half \ufffd Inc."),
        (
            {"name": "\x1b]52;c;cm0=\x07Evil\u202e Inc.\n2024 ERROR forged"},
            "name", "]52;c;cm0=Evil Inc. 2024 ERROR forged",
        ),
        ({"name": "&#27;[2J Inc."}, "name", "[2J Inc."),
        ({"name": "x" * 5000}, "name", "x" * 500),
        ({"sector": "\u2066Tech\x9b"}, "sector", "Tech"),
    ],
)  # fmt: skip
def test_what_a_company_may_be(screener, fields, attribute, value):
    assert getattr(company_of(screener, **fields), attribute) == value


@pytest.mark.parametrize("total", ["9" * 400, "99999999999999999999", "-", "many", [], {}, "nan", True])
def test_a_count_that_none_can_be_is_none(screener, caplog, total):
    screener.total = total
    assert len(ask().companies) == 1
    assert "does not say how many" in caplog.text


@pytest.mark.parametrize("body", [b"[" * 5_000_000, b'{"data":' * 1_000_000, b'{"data": ' + b"9" * 5000 + b"}"])
def test_what_is_nested_or_long_beyond_measure_is_an_error_of_ours(screener, body):
    screener.scripted.append((200, body, {}))
    with pytest.raises(ListingUnreadableError):
        ask()


@pytest.mark.parametrize("has_download", [True, False])
@pytest.mark.parametrize(("rows", "is_taken"), [(100, True), (101, False)])
def test_rows_have_a_limit(screener, has_download, rows, is_taken):
    listed(screener, rows)
    screener.has_download = has_download
    with setting("nasdaq", "max_rows", 100):
        if is_taken:
            assert len(ask().companies) == 100
        else:
            with pytest.raises(ListingUnreadableError, match=r"sent 101 rows .* max_rows takes 100"):
                ask()


def test_the_bytes_of_all_answers_together_have_a_limit(screener):
    listed(screener, 3000)
    screener.has_download = False
    sizes = [len(ask().raw)]
    assert sizes[0] > 200_000
    with setting("nasdaq", "max_mb", "0.2"), pytest.raises(ListingUnavailableError, match=r"gave more than 0\.2 MB"):
        ask()


def test_the_seconds_of_all_attempts_together_have_a_limit(screener):
    screener.scripted.extend([(503, b"", {"Retry-After": "6"})] * 3)
    pauses = []
    with setting("nasdaq", "max_seconds", 5), pytest.raises(ListingUnavailableError, match="HTTP 503 and asks to wait"):
        ask(pauses)
    assert pauses == []


def test_pages_that_come_to_no_end_end(screener):
    """A row a page, and a count that is never reached."""
    page = screener.table({"offset": 0, "limit": 1}) | {"totalrecords": "99,999"}
    screener.answer = lambda path, headers: envelope(data=page)
    with setting("nasdaq", "max_rows", 50), pytest.raises(ListingUnreadableError, match="max_rows takes 50"):
        ask()


def test_a_redirection_to_another_host_is_refused(screener):
    screener.scripted.append((302, b"", {"Location": "http://localhost:9/"}))
    with pytest.raises(ListingUnavailableError, match="gave a redirection to another host"):
        ask()
    assert len(screener.asked) == 1


# --- at the edge of each limit ---------------------------------------------------------------------------------------


def listed(screener, count, **faulty):
    """`count` companies, the first of them with other values."""
    screener.rows = [APPLE | {"symbol": f"S{number:03d}"} for number in range(count)]
    for row in screener.rows[: faulty.pop("faults", 1)]:
        row.update(faulty)


@pytest.mark.parametrize(
    ("total", "is_taken"), [(408, True), (409, False), (393, True), (392, False)]
)  # 2 % of 409 are 8.18
def test_a_listing_may_differ_from_the_count_of_its_server_by_a_fiftieth(screener, total, is_taken):
    listed(screener, 400)
    screener.total = f"{total:,}"
    if is_taken:
        assert len(ask().companies) == 400
    else:
        with pytest.raises(ListingUnreadableError, match=f"sent 400 rows and counts {total}"):
            ask()


@pytest.mark.parametrize(("total", "is_taken"), [(25, True), (26, False)])
def test_a_short_listing_may_differ_by_five(screener, total, is_taken):
    listed(screener, 20)
    screener.total = str(total)
    if is_taken:
        assert len(ask().companies) == 20
    else:
        with pytest.raises(ListingUnreadableError, match="truncated"):
            ask()


@pytest.mark.parametrize(("seconds", "pauses"), [(60, [60.0]), (61, None)])
def test_a_pause_of_a_minute_is_waited_and_no_longer_one(screener, seconds, pauses):
    screener.scripted.append((429, b"", {"Retry-After": str(seconds)}))
    waited = []
    if pauses:
        assert ask(waited).companies
        assert waited == pauses
    else:
        with pytest.raises(ListingUnavailableError, match="asks to wait 61 s"):
            ask(waited)
        assert waited == []


@pytest.mark.parametrize(("faults", "is_taken"), [(2, True), (3, False)])
def test_a_hundredth_of_the_values_may_be_unreadable(screener, faults, is_taken):
    listed(screener, 200, lastsale="about ten", faults=faults)
    if is_taken:
        assert sum(company.last_sale is None for company in ask().companies) == faults
    else:
        with pytest.raises(ListingUnreadableError, match="lastsale could not be read in 3 of 200 rows"):
            ask()
