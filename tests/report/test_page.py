"""The report page: what it says, that it needs nothing else, and that what came from outside stays text."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import pathlib
import re
from html.parser import HTMLParser

import duckdb
import pytest

from pipeline.database.connection import reading, writing
from pipeline.host.files import write_text
from pipeline.report.hit_groups import short_name
from pipeline.report.index_page import render_index
from pipeline.report.page import compact, neighbours, render_all
from pipeline.report.places import report_path
from pipeline.watchlist.amendments import store_watchlist
from pipeline.watchlist.hits import day_view, watchlist_rows
from pipeline.watchlist.scans import Scan, check, configured_scans
from tests.support.beginnings import Begun
from tests.support.stored_market import CRASHED, LAST, MARKUP_NAME, SESSIONS, SYMBOLS, bars, fill

BEFORE = SESSIONS[-2]
VOID = {"meta", "br", "img", "input", "link", "hr", "col", "wbr"}


class Page(HTMLParser):
    """Elements as (tag, attributes, text inside)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.feed(html)
        assert not self._open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for number in self._open:
            self.elements[number][2].append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        chosen = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            re.sub(r"\s+", " ", "".join(text)).strip()
            for found, given, text in self.elements
            if found == tag and chosen.items() <= given.items()
        ]

    def rows(self, kind: str) -> list[tuple[dict[str, str], str]]:
        """The rows of the list of a class: their attributes and their text."""
        return [
            (given, re.sub(r"\s+", " ", "".join(text)).strip())
            for found, given, text in self.elements
            if found == "tr" and given.get("class") == kind
        ]

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [given for found, given, _ in self.elements if found == tag]


@pytest.fixture
def stored(data_dir: pathlib.Path, begun: Begun) -> pathlib.Path:
    """Watchlists of two sessions; on the last one every symbol is found."""
    begun("two watchlists", data_dir, make)
    return data_dir


def make() -> bool:
    every = Scan("every", "all of them & <more>", 9, "close > 0", "market_cap DESC", 45)
    with writing() as connection:
        fill(connection, [BEFORE, LAST])
        for session in (BEFORE, LAST):
            scans = [*configured_scans(), *(check((every,)) if session == LAST else ())]
            view = day_view(connection, session)
            store_watchlist(connection, session, watchlist_rows(view, scans), view)
            connection.execute(
                "INSERT INTO table_updates VALUES (?, 'daily_watchlist', now())", [f"ScanWatchlist:{session}"]
            )
        connection.execute(
            "INSERT INTO corporate_actions (symbol, date, kind, value) VALUES ('K01', ?, 'split', 4)", [LAST]
        )
        connection.execute(
            "INSERT INTO rejected_bars (symbol, date, open, high, low, close, volume, rule, rejected_at) "
            "VALUES ('<K02>', ?, 1, 2, 3, 4, 5, '<u>low above high</u>', now())",
            [LAST],
        )
    return True


def page_of(connection: duckdb.DuckDBPyConnection, session: dt.date) -> str:
    return next(render_all(connection, [session]))[1]


@pytest.fixture
def html(stored: pathlib.Path) -> str:
    with reading() as connection:
        return page_of(connection, LAST)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_page_is_the_same_alone_and_among_others(stored: pathlib.Path, clock, monkeypatch, at_once: int) -> None:
    clock(2024, 2, 22, 8)
    monkeypatch.setattr("pipeline.report.page.AT_ONCE", at_once)
    with reading() as connection:
        together = [html for _, html, _ in render_all(connection, [BEFORE, LAST])]
        assert together == [page_of(connection, day) for day in (BEFORE, LAST)]


def test_every_hit_has_a_row_with_a_small_chart_and_a_place_for_a_large_one(html: str) -> None:
    page = Page(html)
    with reading() as connection:
        listed = connection.execute("SELECT symbol, fired FROM daily_watchlist WHERE scan_date = ?", [LAST]).fetchall()
    rows = {given["data-symbol"]: text for given, text in page.rows("hit")}
    details = [text for _, text in page.rows("detail")]
    charts = [given["data-symbol"] for given in page.attributes("div") if given.get("class") == "chart"]
    sparks = [given for given in page.attributes("svg") if given.get("class", "").startswith("spark")]
    assert len(sparks) == len(details) == len(listed) == 39
    assert sorted(rows) == sorted(charts) == sorted(symbol for symbol, _ in listed)
    for symbol, fired in listed:
        assert symbol in rows[symbol]
        detail = details[list(rows).index(symbol)]
        assert all(name in detail for name in json.loads(fired))


def test_hits_stand_under_their_rule_in_its_order_with_what_it_cut(html: str) -> None:
    page = Page(html)
    groups = [text for _, text in page.rows("group")]
    assert [text.split()[0] for text in groups] == ["rsi_oversold", "bollinger_lower_touch", "every"]
    with reading() as connection:
        order = connection.execute(
            "SELECT symbol FROM daily_watchlist WHERE scan_date = ? AND scan_reason = 'every' ORDER BY place", [LAST]
        ).fetchall()
        (found,) = connection.execute(
            "SELECT max(found) FROM daily_watchlist WHERE scan_date = ?", [LAST]
        ).fetchone() or (0,)
    assert [given["data-symbol"] for given, _ in page.rows("hit")][-len(order) :] == [symbol for (symbol,) in order]
    elsewhere = found - len(order)
    assert f"it found {found}, {elsewhere} of them listed under an earlier rule" in groups[-1]


def test_what_a_rule_cut_is_said(stored: pathlib.Path) -> None:
    few = check((Scan("few", "a few", 1, "close > 0", "market_cap DESC", 5),))
    with writing() as connection:
        view = day_view(connection, LAST)
        store_watchlist(connection, LAST, watchlist_rows(view, few), view)
        html = page_of(connection, LAST)
    assert [text for _, text in Page(html).rows("group")][0].startswith(
        "few a rule that has been changed since. 5 shown"
    )
    assert "of 39" in html


def test_a_hit_says_how_long_it_is_listed_and_who_else_found_it(html: str) -> None:
    rows = {given["data-symbol"]: text for given, text in Page(html).rows("hit")}
    with reading() as connection:
        before = {symbol for (symbol,) in connection.execute(
            "SELECT symbol FROM daily_watchlist WHERE scan_date = ?", [BEFORE]
        ).fetchall()}  # fmt: skip
    assert before
    for symbol, text in rows.items():
        assert ("day 2" if symbol in before else "new") in text
    assert "+ every" in rows[CRASHED]
    assert "+ bollinger_lower_touch" in rows[CRASHED]


def test_marks_of_provisional_and_amended_hits_follow_the_tables(stored: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute("ALTER TABLE stock_data ADD COLUMN IF NOT EXISTS is_final BOOLEAN DEFAULT true")
        connection.execute("UPDATE stock_data SET is_final = (symbol <> 'K20') WHERE date = ?", [LAST])
        connection.execute(
            """
            CREATE TABLE IF NOT EXISTS watchlist_amendments (scan_date DATE, symbol VARCHAR, scan_reason VARCHAR,
                change VARCHAR, reason VARCHAR, amended_at TIMESTAMPTZ)
            """
        )
        connection.execute(
            "INSERT INTO watchlist_amendments (scan_date, symbol, scan_reason, change, reason, amended_at) "
            "VALUES (?, 'K21', 'every', 'added', '<i>volume</i> was revised', now())", [LAST],
        )  # fmt: skip
        html = page_of(connection, LAST)
        write_text(report_path(LAST), html)
        index = render_index(connection, {LAST: {"median_change": 0.01, "is_provisional": True}})
    rows = {given["data-symbol"]: text for given, text in Page(html).rows("hit")}
    assert [symbol for symbol, text in rows.items() if "provisional" in text] == ["K20"]
    assert [symbol for symbol, text in rows.items() if "amended" in text] == ["K21"]
    assert "Provisional" in html
    assert "1 bars may still be corrected" in html
    assert "&lt;i&gt;volume&lt;/i&gt; was revised" in html
    (line,) = [text for text in Page(index).texts("tr") if str(LAST) in text]
    assert "amended" in line
    assert "provisional" in line
    assert "+1.0 %" in line


def test_a_rule_shows_what_its_listed_hits_did(stored: pathlib.Path) -> None:
    with writing() as connection:
        assert "Its earlier hits: none yet that are a week old." in page_of(connection, LAST)
        fill_listing(connection, SESSIONS[-60:-2])
        html = page_of(connection, LAST)
    assert re.search(
        r"hits of the last 120 sessions, 5 sessions later: <strong>[+-]\d+\.\d %</strong> against the market", html
    )


def test_text_from_outside_stays_text(html: str) -> None:
    page = Page(html)
    assert "<script>alert" not in html
    assert "<u>" not in html
    assert any(MARKUP_NAME in text for _, text in page.rows("hit"))
    assert any("<u>low above high</u>" in row for row in page.texts("tr"))


def test_the_policy_lets_run_what_the_page_brings_and_nothing_else(html: str) -> None:
    page = Page(html)
    policy = next(given["content"] for given in page.attributes("meta") if "http-equiv" in given)
    allowed = set(re.findall(r"'(sha256-[^']+)'", policy))
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    inside = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", html, re.DOTALL)
    assert allowed == {"sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside}
    assert not any("style" in given or any(name.startswith("on") for name in given) for _, given, _ in page.elements)


def test_page_needs_nothing_else(html: str) -> None:
    page = Page(html)
    assert "@import" not in html
    assert "url(" not in html
    assert not any("src" in given for _, given, _ in page.elements)
    links = {given["href"] for given in page.attributes("a")}
    ids = [given["id"] for _, given, _ in page.elements if "id" in given]
    assert len(ids) == len(set(ids))
    outside = {link for link in links if link.startswith("http")}
    assert {link.split("/")[2] for link in outside} == {"finance.yahoo.com", "www.tradingview.com"}
    assert {link for link in links - outside if not link.startswith("#")} == {"index.html"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert not [given for _, given, _ in page.elements if "src" in given or given.get("rel") == "stylesheet"]


def test_a_page_of_thirty_hits_is_small(html: str) -> None:
    thirty = len(html.encode()) * 30 / 39
    assert thirty < 300_000


def test_neighbours_are_linked_once_their_pages_are_there(stored: pathlib.Path) -> None:
    with reading() as connection:
        assert f'href="{BEFORE}.html"' not in page_of(connection, LAST)
        write_text(report_path(BEFORE), page_of(connection, BEFORE))
        assert f'href="{BEFORE}.html"' in page_of(connection, LAST)
        assert neighbours([LAST]) == [BEFORE]
        write_text(report_path(LAST), page_of(connection, LAST))
        assert f'href="{LAST}.html"' in page_of(connection, BEFORE)
        assert neighbours([BEFORE, LAST]) == []


def test_page_is_accessible_by_its_structure(html: str) -> None:
    page = Page(html)
    assert page.attributes("html")[0]["lang"] == "en"
    assert all(
        given.get("tabindex") == "0" and given.get("aria-label")
        for given in page.attributes("div")
        if given.get("class") == "wide"
    )
    assert all(given.get("scope") or given.get("role") for given in page.attributes("th"))


@pytest.mark.parametrize(
    ("name", "short"),
    [("Apple Inc. Common Stock", "Apple Inc."), ("Alphabet Inc. Class A Common Stock", "Alphabet Inc."),
     ("Baidu Inc. American Depositary Shares", "Baidu Inc."), ("Common Stock", "Common Stock"), (None, ""),
     ("Garmin Ltd. Common Stock (Switzerland)", "Garmin Ltd.")],
)  # fmt: skip
def test_a_name_is_shown_without_the_kind_of_its_shares(name: str | None, short: str) -> None:
    assert short_name(name) == short


def schemes(html: str) -> list[dict[str, str]]:
    """The colours of the light, the dark and the printed page."""
    return [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})[; ]", rule))
        for rule in re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    ]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_enough_in_each_scheme(html: str) -> None:
    assert len(schemes(html)) == 3
    for scheme in schemes(html):
        for ground in ("page", "raised"):
            assert all(
                contrast(scheme[name], scheme[ground]) >= 4.5 for name in ("text", "muted", "link", "up", "down")
            )
        assert all(contrast(scheme[name], scheme["page"]) >= 3 for name in ("wick", "band", "first", "second"))


def test_breadth_is_that_of_the_bars(html: str) -> None:
    closes = {(symbol, day): close for symbol, day, _, _, _, close, _ in bars()}
    moves = [closes[symbol, LAST] - closes[symbol, BEFORE] for symbol in SYMBOLS if (symbol, LAST) in closes]
    tiles = dict(zip(Page(html).texts("dt"), Page(html).texts("dd"), strict=True))
    assert (tiles["Rose"], tiles["Fell"]) == (
        str(sum(move > 0 for move in moves)),
        str(sum(move < 0 for move in moves)),
    )
    assert tiles["Symbols"] == "39"


def test_changes_since_the_session_before(html: str) -> None:
    with reading() as connection:
        lists = [
            {
                row[0]
                for row in connection.execute(
                    "SELECT symbol FROM daily_watchlist WHERE scan_date = ?", [day]
                ).fetchall()
            }
            for day in (BEFORE, LAST)
        ]
    tiles = dict(zip(Page(html).texts("dt"), Page(html).texts("dd"), strict=True))
    came = next(text for title, text in tiles.items() if title.startswith("Came"))
    assert lists[0] and set(re.findall(r"\bK\d\d\b", came)) == lists[1] - lists[0]


def test_first_list_has_nothing_to_compare_with(stored: pathlib.Path) -> None:
    with reading() as connection:
        assert f"No watchlist of {SESSIONS[-3]}" in page_of(connection, BEFORE)


def test_empty_list_is_a_valid_page(stored: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute("DELETE FROM daily_watchlist")
        html = page_of(connection, LAST)
    assert (
        "That is a valid result" in html
        and "Both lists are empty" in html
        and not Page(html).rows("hit")
        and "<script" not in html
    )


def test_durations_are_compared_with_earlier_sessions(stored: pathlib.Path) -> None:
    with writing() as connection:
        for day, seconds, combined in (
            (SESSIONS[-4], 8.0, 2),
            (SESSIONS[-3], 6.0, 1),
            (BEFORE, 11.0, 1),
            (LAST, 30.0, 3),
        ):
            connection.execute(
                "INSERT INTO task_runs "
                "(pipeline, task, date, started_at, duration_seconds, status, try_number, combined, run_id) "
                "VALUES ('DailyPipeline', 'CollectPrices', ?, now(), ?, 'done', 1, ?, 'r')",
                [day, seconds, combined],
            )
        page = Page(page_of(connection, LAST))
    # The median of 6 and 11: the run that served two sessions says nothing of one.
    assert "CollectPrices10.08.52" in [text.replace(" ", "") for text in page.texts("tr")]


def test_listing_of_a_later_day_is_said(stored: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute("UPDATE session_universe SET snapshot_date = ? WHERE date = ?", [LAST, BEFORE])
        connection.execute("DELETE FROM symbol_snapshots WHERE date = ?", [BEFORE])
        assert f"no listing of {BEFORE} itself" in page_of(connection, BEFORE)


def test_index_links_every_page_and_orders_rules_by_priority(stored: pathlib.Path) -> None:
    with reading() as connection:
        for session in (BEFORE, LAST):
            write_text(report_path(session), page_of(connection, session))
        page = Page(render_index(connection))
    assert [given["href"] for given in page.attributes("a")][1:] == [f"{LAST}.html", f"{BEFORE}.html"]
    assert [text for text in page.texts("tr") if text.startswith(f"{LAST} {LAST:%a}39")]
    heads = page.texts("th", scope="col")
    assert heads[4:-1] == ["rsi_oversold", "bollinger_lower_touch", "every"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (244_943_320_000.0, "244.9 B"), (6_567_600, "6.6 M"), (29.6478, "29.65"), (0.0, "0"),
     (-1234567.0, "-1.2 M"), (860573.4, "860,573"), (4, "4"), ("<b>", "<b>"), (True, "True"), (float("inf"), "inf T")],
)  # fmt: skip
def test_compact_value(value: object, text: str) -> None:
    assert compact(value) == text


def fill_listing(connection: duckdb.DuckDBPyConnection, days: list[dt.date]) -> None:
    """Watchlists of earlier sessions, found by the rule of smallest priority of the last one."""
    connection.execute(
        """
        INSERT INTO daily_watchlist BY NAME
        SELECT b.date AS scan_date, b.symbol, w.scan_reason, w.priority, b.close AS close_price, b.volume,
               w.rule_version
        FROM stock_data b, (FROM daily_watchlist WHERE scan_date = $last ORDER BY priority LIMIT 1) w
        WHERE list_contains($days, b.date) AND b.symbol < 'K06'
        """,
        {"last": LAST, "days": days},
    )
    connection.execute(
        "INSERT INTO price_coverage BY NAME "
        "SELECT symbol, date, 'stored' AS state FROM stock_data WHERE list_contains($days, date)",
        {"days": days},
    )
    connection.execute(
        "INSERT INTO session_universe BY NAME SELECT unnest($days::DATE[]) AS date, $last AS snapshot_date",
        {"days": days, "last": LAST},
    )
