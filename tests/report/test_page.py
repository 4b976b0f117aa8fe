"""The report page: what it says, that it needs nothing else, and that what came from outside stays text."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from html import escape
from html.parser import HTMLParser

import pytest

from pipeline.database.connection import reading, writing
from pipeline.files import write_text
from pipeline.report.page import compact, render, render_index, report_path
from pipeline.watchlist.hits import day_view, store_watchlist, watchlist_rows
from pipeline.watchlist.scans import Scan, check, configured_scans
from tests.support.stored_market import CRASHED, LAST, MARKUP_NAME, SESSIONS, SYMBOLS, bars, fill

BEFORE = SESSIONS[-2]
VOID = {"meta", "br", "img", "input", "link", "hr"}


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

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [given for found, given, _ in self.elements if found == tag]


@pytest.fixture
def stored(data_dir: pathlib.Path) -> pathlib.Path:
    """Watchlists of two sessions; on the last one every symbol is found."""
    every = Scan("every", "all of them & <more>", 9, "close > 0", "market_cap DESC", 45)
    with writing() as connection:
        fill(connection, [BEFORE, LAST])
        for session in (BEFORE, LAST):
            scans = [*configured_scans(), *(check((every,)) if session == LAST else ())]
            store_watchlist(connection, session, watchlist_rows(day_view(connection, session), scans))
            connection.execute(
                "INSERT INTO table_updates VALUES (?, 'daily_watchlist', now())", [f"ScanWatchlist:{session}"]
            )
        connection.execute(
            "INSERT INTO corporate_actions (symbol, date, kind, value) VALUES ('K01', ?, 'split', 4)", [LAST]
        )
        connection.execute(
            "INSERT INTO rejected_bars (symbol, date, open, high, low, close, volume, rule, rejected_at) VALUES ('<K02>', ?, 1, 2, 3, 4, 5, '<u>low above high</u>', now())",
            [LAST],
        )
    return data_dir


@pytest.fixture
def html(stored: pathlib.Path) -> str:
    with reading() as connection:
        return render(connection, LAST)


def test_every_hit_has_a_row_and_a_chart(html: str) -> None:
    page = Page(html)
    with reading() as connection:
        listed = connection.execute("SELECT symbol, fired FROM daily_watchlist WHERE scan_date = ?", [LAST]).fetchall()
    rows, charts = page.texts("tr", role="row")[1:], page.attributes("svg")
    assert len(rows) == len(charts) == len(listed) == 39
    for symbol, fired in listed:
        assert any(row.startswith(symbol) for row in rows)
        assert any(chart["aria-label"].startswith(f"Chart of {symbol}, 120 sessions to {LAST}") for chart in charts)
        assert all(name in html for name in json.loads(fired))
    assert "rsi_14" in next(row for row in rows if row.startswith(CRASHED))


def test_text_from_outside_stays_text(html: str) -> None:
    page = Page(html)
    assert "<script" not in html and "<u>" not in html
    assert any(MARKUP_NAME in row for row in page.texts("tr", role="row"))
    assert any("<u>low above high</u>" in row for row in page.texts("tr"))
    assert page.attributes("script") == []


def test_page_needs_nothing_else(html: str) -> None:
    page = Page(html)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", html) and "@import" not in html and "url(" not in html
    assert not any("src" in given for _, given, _ in page.elements)
    links = {given["href"] for given in page.attributes("a")}
    ids = [given["id"] for _, given, _ in page.elements if "id" in given]
    assert len(ids) == len(set(ids))
    assert {link for link in links if not link.startswith("#")} == {"index.html"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert len(html.encode()) < 2_000_000


def test_page_is_accessible(html: str) -> None:
    page = Page(html)
    assert page.attributes("html")[0]["lang"] == "en"
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in page.attributes("svg"))
    assert all(
        given.get("tabindex") == "0" and given.get("aria-label")
        for given in page.attributes("div")
        if given.get("class") == "wide"
    )
    assert all(given.get("scope") or given.get("role") for given in page.attributes("th"))
    assert len(page.texts("caption")) == len(page.attributes("table"))


def schemes(html: str) -> list[dict[str, str]]:
    """The colours of the light, the dark and the printed page."""
    return [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", rule))
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
        assert f"No watchlist of {SESSIONS[-3]}" in render(connection, BEFORE)


def test_empty_list_is_a_valid_page(stored: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute("DELETE FROM daily_watchlist")
        html = render(connection, LAST)
    assert "That is a valid result" in html and "Both lists are empty" in html and not Page(html).attributes("svg")


def test_durations_are_compared_with_earlier_sessions(stored: pathlib.Path) -> None:
    with writing() as connection:
        for day, seconds, combined in (
            (SESSIONS[-4], 8.0, 2),
            (SESSIONS[-3], 6.0, 1),
            (BEFORE, 11.0, 1),
            (LAST, 30.0, 3),
        ):
            connection.execute(
                "INSERT INTO task_runs (pipeline, task, date, started_at, duration_seconds, status, try_number, combined, run_id) VALUES ('DailyPipeline', 'CollectPrices', ?, now(), ?, 'done', 1, ?, 'r')",
                [day, seconds, combined],
            )
        page = Page(render(connection, LAST))
    assert "CollectPrices10.06.03" in [text.replace(" ", "") for text in page.texts("tr")]


def test_listing_of_a_later_day_is_said(stored: pathlib.Path) -> None:
    with writing() as connection:
        connection.execute("UPDATE session_universe SET snapshot_date = ? WHERE date = ?", [LAST, BEFORE])
        connection.execute("DELETE FROM symbol_snapshots WHERE date = ?", [BEFORE])
        assert f"no listing of {BEFORE} itself" in render(connection, BEFORE)


def test_index_links_every_page(stored: pathlib.Path) -> None:
    with reading() as connection:
        for session in (BEFORE, LAST):
            write_text(report_path(session), render(connection, session))
        page = Page(render_index(connection))
    assert [given["href"] for given in page.attributes("a")][1:] == [f"{LAST}.html", f"{BEFORE}.html"]
    assert [text for text in page.texts("tr") if text.startswith(f"{LAST:%a} {LAST}39")]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (244_943_320_000.0, "244.9 B"), (6_567_600, "6.6 M"), (29.6478, "29.65"), (0.0, "0"), (-1234567.0, "-1.2 M"),
     (860573.4, "860,573"), (4, "4"), ("<b>", "<b>"), (True, "True"), (float("inf"), "inf T")],
)  # fmt: skip
def test_compact_value(value: object, text: str) -> None:
    assert compact(value) == text


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
def test_page_fits_the_screen(html: str, chromium: str, tmp_path: pathlib.Path, width: int) -> None:
    measured = measure(chromium, html, tmp_path, width)
    assert measured["page"] <= measured["screen"] + 1
    assert measured["charts"] == 39 and measured["narrowest"] > 300
    assert measured["smallest"] >= 8


def measure(chromium: str, html: str, folder: pathlib.Path, width: int) -> dict[str, float]:
    """Open the page as it is in a frame as wide as a phone's or a desk's screen, and look at it from outside."""
    script = """onload = () => {
        const view = document.querySelector("iframe").contentWindow, page = view.document;
        const boxes = [...page.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect());
        const letters = [...page.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().height);
        document.title = JSON.stringify({screen: view.innerWidth, page: page.documentElement.scrollWidth, charts: boxes.length,
            narrowest: Math.min(...boxes.map(box => box.width)), smallest: Math.min(...letters.filter(height => height > 0))});
    }"""
    frame = f'<iframe srcdoc="{escape(html)}" style="border: 0; width: {width}px; height: 900px"></iframe>'
    (folder / "frame.html").write_text(
        f"<!doctype html><title></title><script>{script}</script>{frame}", encoding="utf-8"
    )
    printed = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'profile'}", "--window-size=1600,1000",
         "--dump-dom", (folder / "frame.html").as_uri()],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip
    found = re.search(r"<title>(\{.*?\})</title>", printed)
    assert found, printed[:300]
    values: dict[str, float] = json.loads(found[1])
    assert values["screen"] == width
    return values
