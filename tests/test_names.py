"""A company's name, whatever it is, through every exit: terminal, page, CSV, Redis, webhooks, file names.

The names lie in the database as an earlier version may have stored them, before names were cleaned where they enter;
tests/test_text.py has the log.
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.cli.main import main
from pipeline.cli.tables import Column, fitted
from pipeline.cli.terminal import console, escape, plain
from pipeline.config import storage
from pipeline.database.connection import reading, writing
from pipeline.database.replica import publish
from pipeline.feed.content import read_feed
from pipeline.report.page import render_all
from pipeline.report.symbol_page import symbol_path
from pipeline.runs.notifications import DISCORD_LIMIT, for_discord, for_slack
from pipeline.sources.protocol import is_symbol
from pipeline.text import shown
from pipeline.watchlist.amendments import store_watchlist
from pipeline.watchlist.hits import day_view, watchlist_rows
from pipeline.watchlist.scans import Scan, check
from tests.support.stored_market import LAST, SESSIONS, fill

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
NAMES = {
    "K30": "[/] [bold]Bold[/bold] :x: Inc.",
    "K31": "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m Escape Inc.",
    "K32": "Apple\u202e.cnI\u2066 \u200b\ufeff",
    "K33": "One\n2024-02-21 07:00:00 ERROR forged\r\tInc.",
    "K34": "<script>alert(1)</script><img src=x onerror=alert(1)> \"'&amp; Inc.",
    "K35": "=HYPERLINK(\"http://evil\",1)",
    "K36": "<!channel> @everyone <http://evil|Apple>",
    "K37": "{{7*7}} {% raw %} ${HOME} %s %(x)s {0}",
    "K38": "'; DROP TABLE stock_data; --",
    "K39": "x" * 3000,
}  # fmt: skip


def is_seen(text: str) -> bool:
    return not any(unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp") for each in text if each != "\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("names")


@pytest.fixture
def stored(made: pathlib.Path, settings: Callable[..., None]) -> None:
    """A session on whose watchlist every company stands, published; made once."""
    settings("storage", data_dir=str(made))
    if (made / "replica").exists():
        return
    every = Scan("every", "all of them", 9, "close > 0", "market_cap DESC", 45)
    with writing() as connection:
        fill(connection, [SESSIONS[-2], LAST])
        for symbol, name in NAMES.items():
            connection.execute("UPDATE symbol_snapshots SET name = $2, sector = $2 WHERE symbol = $1", [symbol, name])
        view = day_view(connection, LAST)
        store_watchlist(connection, LAST, watchlist_rows(view, check((every,))), view)
        mark = "INSERT INTO table_updates VALUES (?, 'daily_watchlist', now())"
        connection.execute(mark, [f"ScanWatchlist:{LAST}"])
    publish(LAST)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


# --- terminal --------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY)
@example("[/]")
@example(":x:")
@example("[bold")
@example("\\[/]")
def test_the_console_shows_any_name_and_obeys_none(capsys: pytest.CaptureFixture[str], name: str) -> None:
    screen = console()
    screen.print(f"[bold]{escape(name)}[/]|", soft_wrap=True)
    screen.print(plain(name), soft_wrap=True)
    screen.print(fitted([Column("Name", least=9), Column("[/]")], [[name, name]], screen.width, name))
    screen.print(fitted([Column("Symbol"), Column(name or "x")], [["K30", "y" * 300]], screen.width))
    said = capsys.readouterr().out
    assert is_seen(said)
    if "\n" not in name and "\\" not in name:  # rich drops a backslash before a bracket
        assert f"{shown(name)}|" in said.replace("\t", " ") or "\t" in name


@pytest.mark.parametrize(
    "words",
    [
        ["watchlist", str(LAST)],
        ["query", "SELECT symbol, name, sector FROM daily_watchlist"],
        ["query", "SELECT symbol, name, sector FROM daily_watchlist", "--format", "records"],
        *(["explain", str(LAST), symbol] for symbol in NAMES),
    ],
    ids=" ".join,
)
def test_commands_show_every_name_and_obey_none(stored: None, words: list[str]) -> None:
    answer = call(*words)
    assert answer.exit_code == 0, answer.output
    assert is_seen(answer.output)
    assert "🗙" not in answer.output and "❌" not in answer.output
    assert not re.search(r"^2024-02-21 07:00:00 ERROR", answer.output, re.MULTILINE)


# --- page ------------------------------------------------------------------------------------------------------------


def test_pages_show_names_and_run_none(stored: None) -> None:
    with reading() as connection:
        html = next(render_all(connection, [LAST]))[1]
    assert "Bold" in html and "forged" in html
    assert "<script>alert" not in html and "<img src=x" not in html
    assert "49" not in re.findall(r"\{\{.*?\}\}", html)
    assert "<!channel>" not in html
    answer = call("show", "K34", "--no-open") if "--no-open" in call("show", "--help").output else call("show", "K34")
    assert answer.exit_code == 0, answer.output
    assert "<script>alert" not in symbol_path("K34").read_text(encoding="utf-8")


# --- CSV and JSON ----------------------------------------------------------------------------------------------------


def test_csv_is_exact(stored: None) -> None:
    said = call("query", "SELECT symbol, name FROM daily_watchlist", "--format", "csv").stdout_bytes.decode()
    rows = dict(list(csv.reader(io.StringIO(said, newline="")))[1:])
    assert {symbol: rows[symbol] for symbol in NAMES} == NAMES


def test_csv_for_a_spreadsheet_has_no_formula(stored: None) -> None:
    sql = "SELECT symbol, name FROM daily_watchlist"
    said = call("query", sql, "--format", "csv", "--excel-safe").stdout_bytes.decode()
    cells = [cell for row in csv.reader(io.StringIO(said, newline="")) for cell in row]
    assert len(cells) > 2 * len(NAMES)
    assert [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")] == []


def test_json_is_exact(stored: None) -> None:
    rows = json.loads(call("query", "SELECT symbol, name FROM daily_watchlist", "--format", "json").stdout)
    names = {row["symbol"]: row["name"] for row in rows}
    assert {symbol: names[symbol] for symbol in NAMES} == NAMES


# --- Redis, webhooks, file names -------------------------------------------------------------------------------------


def test_the_feed_has_names_as_json(stored: None) -> None:
    entries = {entry.symbol: json.loads(entry.meta) for entry in read_feed(LAST).entries.values()}
    assert {symbol: entries[symbol]["name"] for symbol in NAMES} == NAMES


@given(st.text(st.characters(), max_size=3000))
@example("<!channel> @everyone <http://evil|Apple> " * 99)
def test_webhooks_get_names_that_call_nobody(name: str) -> None:
    slack, discord = for_slack(name), for_discord(name)
    json.dumps([slack, discord]).encode("ascii")
    assert "<" not in slack["text"] and ">" not in slack["text"]
    assert not re.search(r"&(?!amp;|lt;|gt;)", slack["text"])
    assert discord["allowed_mentions"] == {"parse": []} and len(discord["content"]) <= DISCORD_LIMIT


@given(
    st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from(["..", ".", "/", "A/B"]))
)
@example("../../etc/passwd")
@example("")
def test_file_names_stay_in_their_folder(symbol: str) -> None:
    path = symbol_path(symbol)
    assert path.parent == storage().root / "reports" / "symbols"
    assert path.name.isascii() and path.name.isprintable() and len(path.name) < 255
    assert unquote(path.name.removesuffix(".html")) == symbol


@given(st.from_regex(r"[A-Za-z0-9.^/$=+*_-]{1,25}", fullmatch=True))
def test_what_enters_as_a_symbol_is_short_and_begins_with_a_letter(text: str) -> None:
    assert is_symbol(text) == (text[0].isalnum() and len(text) <= 20)
