"""`pipeline query`, `pipeline evaluate`, and every piece of code in docs/analysis.md, over a stored market."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import pathlib
import re
import shlex
import shutil
import tomllib
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import main
from pipeline.config import ROOT
from pipeline.database.connection import database_path, reading, writing
from pipeline.database.replica import manifest_path, replica_path
from pipeline.watchlist.amendments import store_watchlist
from pipeline.watchlist.hits import day_view, watchlist_rows
from pipeline.watchlist.scans import Scan, check, configured_scans
from tests.support.beginnings import Begun
from tests.support.stored_market import LAST, SESSIONS, fill

GUIDE = (pathlib.Path(__file__).resolve().parent.parent / "docs" / "analysis.md").read_text(encoding="utf-8")
BARS = "SELECT symbol, date, close, volume FROM stock_data WHERE symbol = 'K01' ORDER BY date"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def replica(data_dir: pathlib.Path, begun: Begun) -> pathlib.Path:
    begun("a session found", data_dir, make)
    return data_dir


def make() -> bool:
    with writing() as connection:
        fill(connection, SESSIONS[-3:])
        view = day_view(connection, LAST)
        store_watchlist(connection, LAST, watchlist_rows(view, configured_scans()), view)
    replica_path().parent.mkdir()
    shutil.copyfile(database_path(), replica_path())
    replica_path().chmod(0o444)
    manifest_path().write_text(json.dumps({"file": replica_path().name}), encoding="utf-8")
    return True


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=stdin)


def test_csv_reads_back(replica: pathlib.Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("query", BARS, "--format", "csv").stdout)))
    assert (len(rows), rows[-1]["symbol"], rows[-1]["date"]) == (140, "K01", LAST.isoformat())


def test_json_reads_back(replica: pathlib.Path) -> None:
    rows = json.loads(run("query", "-", "--format", "json", stdin=BARS).stdout)
    assert (len(rows), list(rows[0]), rows[-1]["date"]) == (
        140,
        ["symbol", "date", "close", "volume"],
        LAST.isoformat(),
    )


@pytest.mark.parametrize("name", ["answer.parquet", "answer.csv", "answer.json"])
def test_ending_chooses_the_format_of_a_file(replica: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    result = run("query", BARS, "--output", str(tmp_path / name))
    assert result.exit_code == 0 and "140 rows" in result.output
    text = (tmp_path / name).read_bytes()
    counts = {
        "answer.parquet": lambda: pq.read_table(tmp_path / name).num_rows,
        "answer.csv": lambda: text.count(b"\n") - 1,
        "answer.json": lambda: len(json.loads(text)),
    }
    assert counts[name]() == 140
    assert not list(tmp_path.glob(".*"))


def test_table_says_that_there_is_more(replica: pathlib.Path) -> None:
    shown = run("query", BARS, "--limit", "3").stdout
    assert shown.count("K01") == 3 and "the first 3 rows" in shown


def test_markup_of_the_terminal_stays_text(replica: pathlib.Path) -> None:
    assert "[red]x[/red]" in run("query", "SELECT '[red]x[/red]' AS a").stdout


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("DELETE FROM stock_data", "read-only"),
        ("CREATE TABLE x (a INTEGER)", "read-only"),
        ("FROM stock_dta", "stock_data"),
        ("SELEC 1", "syntax"),
    ],
)
def test_error_is_a_message(replica: pathlib.Path, sql: str, told: str) -> None:
    result = run("query", sql)
    assert result.exit_code == 1 and told in result.stderr and "Traceback" not in result.output


def test_missing_replica_names_the_command(data_dir: pathlib.Path) -> None:
    assert "luigi --module pipeline DailyPipeline" in run("query", "SELECT 1").stderr


def test_evaluate_takes_its_range_by_place_or_by_name_and_all_sessions_without_one(replica: pathlib.Path) -> None:
    first, last = str(SESSIONS[-3]), str(LAST)
    said = run("evaluate", "--start", first, "--stop", last).output
    assert f"{first} to {last}, 3 sessions" in said
    assert run("evaluate", first, last).output == said == run("evaluate").output


@pytest.mark.parametrize("place", [[], [str(SESSIONS[-2])]])
def test_show_makes_the_page_of_a_symbol(replica: pathlib.Path, place: list[str]) -> None:
    said = run("show", "k01", *place, "--no-open").output
    page = replica / "reports" / "symbols" / "K01.html"
    assert f"page: {page}" in said
    text = page.read_text(encoding="utf-8")
    assert f"K01 to {place[0] if place else LAST}" in text
    assert "://" not in re.sub(r'href="https://[^"]*"', "", text), "nothing is loaded from elsewhere"


def test_show_of_a_symbol_that_is_not_there_names_those_close_to_it(replica: pathlib.Path) -> None:
    answer = run("show", "K0I")
    assert answer.exit_code == 1
    assert "no bar of K0I is stored; close to it: K" in answer.output


def test_show_of_a_day_before_the_first_bar_says_which_that_is(replica: pathlib.Path) -> None:
    answer = run("show", "K01", "2020-01-02")
    assert answer.exit_code == 1
    assert "K01 has no bar up to 2020-01-02; its first one is of " in answer.output


def test_try_shows_what_a_rule_finds_in_its_order_and_stores_nothing(replica: pathlib.Path) -> None:
    with reading(replica_path()) as connection:
        wanted = connection.execute(
            "SELECT symbol, close FROM stock_data WHERE date = ? ORDER BY close DESC, symbol LIMIT 3", [LAST]
        ).fetchall()
    before = (replica_path().stat().st_mtime_ns, database_path().stat().st_mtime_ns)
    said = run("try", "close > 0 AND rsi_14 IS NOT NULL", "--order", "close DESC", "--limit", "3").output
    lines = [line.split("│") for line in said.splitlines() if line.startswith("│")]
    assert [(line[1].strip(), line[2].strip()) for line in lines] == [
        (symbol, f"{close:.2f}") for symbol, close in wanted
    ]
    assert f"{LAST}: 3 of " in said
    assert " more meet it: --limit " in said
    assert (replica_path().stat().st_mtime_ns, database_path().stat().st_mtime_ns) == before


@pytest.mark.parametrize("place", [[str(LAST)], ["--date", str(LAST)], []])
def test_try_judges_the_rule_where_it_is_asked_to(replica: pathlib.Path, place: list[str]) -> None:
    said = run("try", "close > prev_close", *place, "--evaluate").output
    assert f"{SESSIONS[-3]} to {LAST}, 3 sessions" in said
    assert "what such hits did next" not in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rsi14 < 25"], "Error: this rule: there is no column 'rsi14' (nearest: rsi_14)"),
        (["rsi_14"], "a condition is true or false, such as rsi_14 < 30"),
        (["rsi_14 < 25", "--order", "(SELECT 1)"], "Error: this rule: "),
        (["rsi_14 < 25", "2024-02-30"], "'2024-02-30' is no date"),
    ],
)
def test_try_says_what_is_wrong_with_a_rule(replica: pathlib.Path, words: list[str], says: str) -> None:
    answer = run("try", *words)
    assert answer.exit_code in (1, 2)
    assert says in answer.output


def test_try_of_a_session_that_was_not_run_says_so(replica: pathlib.Path) -> None:
    answer = run("try", "rsi_14 < 25", str(SESSIONS[-9]))
    assert answer.exit_code == 1
    assert f"{SESSIONS[-9]} was never run" in answer.output


def test_try_without_a_hit_says_so(replica: pathlib.Path) -> None:
    answer = run("try", "close < 0")
    assert answer.exit_code == 0
    assert f"no symbol of {LAST} meets it" in answer.output


def test_a_tried_rule_is_kept_as_it_is(replica: pathlib.Path, tmp_path: pathlib.Path) -> None:
    condition = """sector = 'Tech "x" \\' AND close > 5"""
    path = tmp_path / "mine.toml"
    path.write_text(run("try", condition, "--toml", "--limit", "7").output, encoding="utf-8")
    kept = tomllib.loads(path.read_text(encoding="utf-8"))["mine"]
    assert (kept["condition"], kept["limit"], kept["order"]) == (condition, 7, "market_cap DESC")
    answer = run("evaluate", "--set", f"scans.extra={path}")
    assert answer.exit_code == 0
    assert "│ mine" in answer.output


def test_evaluate_prints_and_makes_a_page(replica: pathlib.Path) -> None:
    result = run("evaluate", "--start", str(SESSIONS[-3]), "--stop", str(LAST))
    assert result.exit_code == 0 and "rsi_oversold" in result.stdout and "3 sessions" in result.stdout
    assert "rsi_oversold" in (replica / "reports" / "evaluation.html").read_text(encoding="utf-8")


def test_code_of_the_guide_runs(replica: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(replica.parent)
    assert replica.name == "data"
    code = "\n".join(blocks("python"))
    assert code.count("assert ") == 4
    exec(compile(code, "docs/analysis.md", "exec"), {})


def test_commands_of_the_guide_run(replica: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(replica.parent)
    commands = [shlex.split(line) for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 5
    for name, *arguments in commands:
        result = run(*arguments)
        assert (name, result.exit_code) == ("pipeline", 0), result.output


def test_rule_of_the_guide_is_valid() -> None:
    for name, settings in tomllib.loads("\n".join(blocks("toml"))).items():
        assert check((Scan(name=name, **settings),))[0].columns == ("macd_hist", "prev_macd_hist", "volume_ratio")


def test_days_of_the_guide_are_sessions() -> None:
    assert all(dt.date.fromisoformat(day) in SESSIONS for day in re.findall(r"\d{4}-\d\d-\d\d", GUIDE))


def test_the_notebook_runs(replica: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    monkeypatch.chdir(replica.parent)
    assert replica.name == "data", "the path of the notebook is that of a run with the defaults"
    found: dict[str, Any] = {}
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        assert cell["outputs"] == [], "a notebook is kept without its outputs"
        exec(compile("".join(cell["source"]), "docs/notebook.ipynb", "exec"), found)
    assert len(found["watchlist"]) > 0
    assert found["chart"].close.notna().all()
    assert set(found["after"].columns) == {"scan_reason", "hits", "excess_percent"}
