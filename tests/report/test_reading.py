"""Pages as a browser shows them: what fits, what the scripts do, what all can read, and that nothing is asked for."""

from __future__ import annotations

import importlib.resources
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import luigi
import numpy as np
import pytest

from pipeline.database.connection import reading, writing
from pipeline.report.evaluation_page import render_evaluation
from pipeline.report.index_page import render_index
from pipeline.report.page import render_all
from pipeline.report.series import load_bars, packed, series
from pipeline.report.symbol_page import render_symbol
from pipeline.watchlist.amendments import store_watchlist
from pipeline.watchlist.evaluation import evaluate
from pipeline.watchlist.hits import day_view, watchlist_rows
from pipeline.watchlist.scans import Scan, check, configured_scans
from tests.conftest import forget
from tests.support.browser import Browser
from tests.support.stored_market import LAST, SESSIONS, fill

pytestmark = pytest.mark.browser

WIDTHS = {390: 844, 768: 1024, 1400: 900}
#: Rows of the list that are seen without scrolling, at the least.
SEEN = {390: 8, 1400: 20}
AXE = (
    "axe.run(document, {resultTypes: ['violations']})"
    ".then(found => JSON.stringify(found.violations.map(one => [one.id, one.nodes[0].html])))"
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """A page of each kind, made once."""
    config, folder = luigi.configuration.get_config(), tmp_path_factory.mktemp("pages")
    before = config.get("storage", "data_dir", None)
    config.set("storage", "data_dir", str(folder / "data"))
    forget()
    every = check((Scan("every", "all of them", 9, "close > 0", "market_cap DESC", 45),))
    declared = [*configured_scans(), *every]
    with writing() as connection:
        fill(connection, SESSIONS[-3:])
        view = day_view(connection, LAST)
        store_watchlist(connection, LAST, watchlist_rows(view, declared), view)
        html = {
            "report": next(render_all(connection, [LAST]))[1],
            "symbol": render_symbol(connection, "K09"),
            "evaluation": render_evaluation(
                evaluate(connection, SESSIONS[-3], LAST, declared), declared, simulated=True
            ),
        }
    for name, text in html.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    (folder / "data" / "reports").mkdir()
    (folder / "data" / "reports" / f"{LAST}.html").touch()
    with reading() as connection:
        (folder / "index.html").write_text(render_index(connection), encoding="utf-8")
    config.remove_option("storage", "data_dir") if before is None else config.set("storage", "data_dir", before)
    forget()
    return {name: folder / f"{name}.html" for name in (*html, "index")}


@pytest.fixture(scope="module")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(chromium, tmp_path_factory.mktemp("browser") / "profile") as started:
        yield started


def show(browser: Browser, page: pathlib.Path, width: int = 1400, **media: str) -> None:
    browser.send(
        "Emulation.setDeviceMetricsOverride", width=width, height=WIDTHS[width], deviceScaleFactor=1, mobile=width < 500
    )
    features = [{"name": "prefers-color-scheme", "value": media.get("scheme", "light")}]
    browser.send("Emulation.setEmulatedMedia", media=media.get("media", ""), features=features)
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    browser.open(page.as_uri())
    browser.wait_for(f"location.href === {page.as_uri()!r} && document.readyState === 'complete'")


def asked(browser: Browser, script: str) -> Any:
    return json.loads(browser.evaluate(f"JSON.stringify({script})"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "symbol", "evaluation", "index"])
def test_every_page_fits_every_screen(browser: Browser, pages: dict[str, pathlib.Path], name: str, width: int) -> None:
    show(browser, pages[name], width)
    assert asked(browser, "[document.documentElement.scrollWidth, innerWidth]") == [width, width]


@pytest.mark.parametrize("width", SEEN)
def test_the_list_is_seen_without_scrolling(browser: Browser, pages: dict[str, pathlib.Path], width: int) -> None:
    show(browser, pages["report"], width)
    seen = asked(
        browser,
        "[...document.querySelectorAll('tr.hit')]"
        ".filter(row => row.getBoundingClientRect().bottom <= innerHeight).length",
    )
    assert seen >= SEEN[width]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_of_the_list_is_cut(browser: Browser, pages: dict[str, pathlib.Path], width: int) -> None:
    show(browser, pages["report"], width)
    cut = (
        "[...document.querySelectorAll('.hit .number, .open-chart')]"
        ".filter(cell => cell.scrollWidth > cell.clientWidth + 1 && cell.clientWidth).length"
    )
    assert asked(browser, cut) == 0


def test_a_row_opens_a_chart_whose_cross_hair_reads_the_stored_numbers(
    browser: Browser, pages: dict[str, pathlib.Path]
) -> None:
    show(browser, pages["report"])
    browser.click("tr.hit[data-symbol=K09] .open-chart")
    read = "document.querySelector('tr.open .read').textContent"
    browser.wait_for("document.querySelector('tr.open canvas')")
    bars = {day: values for day, *values in stored_bars(pages, "K09")}
    assert told(browser.evaluate(read)) == pytest.approx(bars[str(LAST)], abs=0.06)
    for _ in range(3):
        browser.evaluate(
            "document.querySelector('tr.open canvas').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))"
        )
    text = browser.evaluate(read)
    day = text.split()[0]
    assert day == str(SESSIONS[-4])
    assert told(text)[:4] == pytest.approx(bars[day][:4], abs=0.006)
    drawn = (
        "(() => { const c = document.querySelector('tr.open canvas'); "
        "return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size })()"
    )
    assert browser.evaluate(drawn) > 20, "the canvas has colours"


@pytest.mark.parametrize("shown", [300, 60])
def test_the_page_computes_the_means_and_bands_that_are_not_told(
    browser: Browser, pages: dict[str, pathlib.Path], shown: int
) -> None:
    """Of a chart that begins with the first bar of the symbol, and of one that begins within its history."""
    import duckdb

    with duckdb.connect(str(pages["report"].parent / "data" / "stock_data.duckdb"), read_only=True) as connection:
        charted = series(load_bars(connection, ["K09"], [LAST], shown).until(LAST, ["K09"], shown))
    show(browser, pages["report"])
    names = ["bb_lower", "bb_middle", "bb_upper", "sma_50", "avg_volume_30"]
    browser.evaluate(f"void (document.getElementById('bars').textContent = {packed(charted)!r})")
    read = f"charts.load().then(all => JSON.stringify({names}.map(name => all.K09[name])))"
    found = np.array(json.loads(browser.evaluate(read)), dtype=float)
    assert found.shape == (len(names), min(shown, len(SESSIONS)))
    for name, values in zip(names, found, strict=True):
        assert np.isfinite(values[-60:]).all(), name
        assert values == pytest.approx(getattr(charted["K09"], name), rel=1e-3, nan_ok=True), name


def stored_bars(
    pages: dict[str, pathlib.Path], symbol: str
) -> list[tuple[str, float, float, float, float, float | None]]:
    """Session, open, high, low, close and, where it was computed, the RSI: from the tables."""
    import duckdb

    with duckdb.connect(str(pages["report"].parent / "data" / "stock_data.duckdb"), read_only=True) as connection:
        return connection.execute(
            """
            SELECT s.date::VARCHAR, open, high, low, close, rsi_14 FROM stock_data s
            LEFT JOIN technical_indicators t USING (symbol, date) WHERE s.symbol = ?
            """,
            [symbol],
        ).fetchall()


def told(text: str) -> list[float]:
    """Open, high, low, close and RSI of a reading."""
    words = text.split()
    return [float(words[words.index(name) + 1]) for name in ("O", "H", "L", "C", "RSI")]


def test_ranges_of_a_chart_are_six_months_a_year_and_all(browser: Browser, pages: dict[str, pathlib.Path]) -> None:
    show(browser, pages["symbol"])
    browser.wait_for("document.querySelector('canvas')")
    first = (
        "document.querySelector('canvas').dispatchEvent(new PointerEvent('pointermove', {clientX: 0})); "
        "document.querySelector('.read').textContent.split(' ')[0]"
    )
    wide = "document.querySelector('canvas').getBoundingClientRect().left"
    starts = []
    for name in ("6 months", "All"):
        browser.evaluate(
            f"[...document.querySelectorAll('#ranges button')].find(one => one.textContent === {name!r}).click()"
        )
        starts.append(browser.evaluate(first.replace("clientX: 0", f"clientX: {wide} + 1")))
    assert starts == [str(SESSIONS[-126]), str(SESSIONS[0])]


def test_j_and_k_go_through_the_charts(browser: Browser, pages: dict[str, pathlib.Path]) -> None:
    show(browser, pages["report"])
    chosen = "[...document.querySelectorAll('tr.chosen')].map(row => row.dataset.symbol)"
    order = asked(browser, "[...document.querySelectorAll('tr.hit')].map(row => row.dataset.symbol)")
    seen = []
    for key in "jjk":
        browser.evaluate(f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: {key!r}}}))")
        seen += asked(browser, chosen)
    assert seen == [order[0], order[1], order[0]]
    assert asked(browser, "document.querySelectorAll('tr.detail.open').length") == 1


def test_a_click_on_a_heading_sorts_within_each_rule(browser: Browser, pages: dict[str, pathlib.Path]) -> None:
    show(browser, pages["report"])
    column = (
        "[...document.querySelectorAll('tbody')]"
        ".map(body => [...body.querySelectorAll('[data-column=rsi_14]')].map(cell => +cell.dataset.value))"
    )
    before = asked(browser, column)
    browser.click("button[data-sort=rsi_14]")
    assert asked(browser, column) == [sorted(group, reverse=True) for group in before]
    browser.click("button[data-sort=rsi_14]")
    assert asked(browser, column) == [sorted(group) for group in before]
    browser.click("button[data-sort=rsi_14]")
    assert asked(browser, column) == before, "the rule's own order again"


def test_a_filter_leaves_what_it_names_and_the_file_has_that(browser: Browser, pages: dict[str, pathlib.Path]) -> None:
    show(browser, pages["report"])
    browser.evaluate(
        "document.getElementById('filter').value = 'k09'; "
        "document.getElementById('filter').dispatchEvent(new Event('input'))"
    )
    visible = "[...document.querySelectorAll('tr.hit')].filter(row => row.offsetHeight).map(row => row.dataset.symbol)"
    assert asked(browser, visible) == ["K09"]
    browser.evaluate(
        "window.made = []; URL.createObjectURL = blob => { window.made.push(blob); return '#' }; "
        "document.getElementById('csv').click()"
    )
    header, line = browser.evaluate("window.made[0].text()").strip().split("\r\n")
    assert header.startswith("session,rule,symbol,name") or header.split(",")[0].strip('"') == "session"
    assert f'"{LAST}"' in line
    assert '"K09"' in line


def test_a_name_that_looks_like_a_formula_is_no_formula_in_the_file(
    browser: Browser, pages: dict[str, pathlib.Path]
) -> None:
    show(browser, pages["report"])
    browser.evaluate("document.querySelector('tr.hit').dataset.name = '=HYPERLINK(\"x\")'")
    browser.evaluate(
        "window.made = []; URL.createObjectURL = blob => { window.made.push(blob); return '#' }; "
        "document.getElementById('csv').click()"
    )
    assert '"\'=HYPERLINK(""x"")"' in browser.evaluate("window.made[0].text()").splitlines()[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "symbol", "evaluation", "index"])
def test_everybody_can_read_it(browser: Browser, pages: dict[str, pathlib.Path], name: str, scheme: str) -> None:
    show(browser, pages[name], scheme=scheme)
    if name == "report":
        browser.click("tr.hit .open-chart")
    if name in ("report", "symbol"):
        browser.wait_for("document.querySelector('canvas')")
    browser.evaluate((importlib.resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    assert json.loads(browser.evaluate(AXE)) == []


def test_without_a_script_the_list_says_enough(browser: Browser, pages: dict[str, pathlib.Path]) -> None:
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(pages["report"].as_uri())
    while not browser.evaluate("location.protocol === 'file:' && document.readyState === 'complete'"):
        pass  # waiting inside the page would need a script
    assert asked(browser, "document.getElementById('tools').offsetHeight") == 0
    assert "Fired on rsi_14" in browser.text()
    browser.send("Emulation.setScriptExecutionDisabled", value=False)


def test_on_paper_the_list_is_whole_and_nothing_else_is_there(browser: Browser, pages: dict[str, pathlib.Path]) -> None:
    show(browser, pages["report"], media="print")
    heights = (
        "['nav', '#tools', '.chart', 'tr.hit', '.spark']"
        ".map(one => document.querySelector(one).getBoundingClientRect().height > 0)"
    )
    assert asked(browser, heights) == [False, False, False, True, True]


def test_nothing_was_asked_for_but_the_pages(browser: Browser, pages: dict[str, pathlib.Path]) -> None:
    for page in pages.values():
        show(browser, page)
    assert {address.split("?")[0] for address in browser.requested} <= {page.as_uri() for page in pages.values()} | {
        "about:blank"
    }
