"""`pipeline try`."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.arguments import one_day
from pipeline.cli.commands.evaluate import show, stored_range
from pipeline.cli.commands.watchlist import why_none
from pipeline.cli.tables import Column, fitted, readable
from pipeline.cli.terminal import console
from pipeline.config import indicators
from pipeline.database.connection import reading, records
from pipeline.database.replica import published
from pipeline.errors import NothingKnownError
from pipeline.report.hit_groups import short_name
from pipeline.report.page import compact
from pipeline.watchlist.evaluation import evaluate
from pipeline.watchlist.hits import day_view, watchlist_rows
from pipeline.watchlist.scans import CheckedScan, Scan, check

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The name that a rule has as long as it is only tried.
NAME = "mine"


@click.command()
@click.argument("condition")
@one_day
@click.option("--order", default="market_cap DESC", show_default=True, help="Which hits come first.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Hits of a day that are kept.")
@click.option("--evaluate", "judges", is_flag=True, help="And what the hits of all sessions up to DATE did next.")
@click.option("--toml", is_flag=True, help="Print the rule alone, as a file of [scans] extra has it.")
def command(condition: str, day: dt.date | None, order: str, limit: int, judges: bool, toml: bool) -> None:
    """Try a rule before it goes into a file: what CONDITION finds on DATE, or on the newest session.

    CONDITION is SQL over the columns of a scan (docs/configuration.md). Nothing is stored. Reads the replica.

    \b
    pipeline try "rsi_14 < 25 AND volume_ratio > 2"
    pipeline try "close > 1.1 * prev_close" 2024-02-20 --order "volume_ratio DESC" --evaluate
    pipeline try "rsi_14 < 25" --toml > mine.toml
    """
    rule = Scan(NAME, "a rule of mine", 4, condition, order, limit)
    (checked,) = check((rule,), indicators().extra, "this rule")
    if toml:
        click.echo(as_toml(rule), nl=False)
        return
    with reading(published()) as connection:
        session = day or stored_range(connection)[1]
        rows = found(connection, session, checked)
        known = listed(connection, session)
        judged = evaluate(connection, stored_range(connection)[0], session, [checked]) if judges else None
    print_hits(session, rows, known, checked)
    if judged:
        show(judged)
    else:
        click.echo("what such hits did next: the same with --evaluate")
    click.echo("to keep it: the same with --toml > mine.toml, and [scans] extra = mine.toml in the configuration")


def found(connection: DuckDBPyConnection, session: dt.date, rule: CheckedScan) -> list[dict[str, Any]]:
    """The hits in the order of the rule. Raises NothingKnownError for a session that was not run so far."""
    run = "SELECT 1 FROM session_universe WHERE date = ? AND date IN (SELECT DISTINCT date FROM technical_indicators)"
    if not connection.execute(run, [session]).fetchone():
        raise NothingKnownError(why_none(session))
    hits = watchlist_rows(day_view(connection, session), [rule]).to_pylist()
    return sorted(hits, key=lambda row: row["place"])


def listed(connection: DuckDBPyConnection, session: dt.date) -> dict[str, str]:
    """The rule under which each symbol is on the watchlist of the session already."""
    rows = records(connection, "SELECT symbol, scan_reason FROM daily_watchlist WHERE scan_date = ?", session)
    return {row["symbol"]: row["scan_reason"] for row in rows}


def print_hits(session: dt.date, rows: list[dict[str, Any]], known: dict[str, str], rule: CheckedScan) -> None:
    """The table, with the values that fired, and what the limit has cut."""
    if not rows:
        click.echo(f"no symbol of {session} meets it")
        return
    columns = [
        Column("Symbol"), Column("Close", is_number=True),
        *(Column(name, is_number=True) for name in rule.columns if name != "close"),
        Column("Name", least=14), Column("Cap, $", is_number=True), Column("On the list"),
    ]  # fmt: skip
    cells = [_cells(row, known, rule) for row in rows]
    screen = console()
    screen.print(
        fitted(columns, cells, screen.width, f"{session}: {len(rows)} of {rows[0]['found']:,}, by {rule.order}")
    )
    if rows[0]["found"] > len(rows):
        click.echo(f"{rows[0]['found'] - len(rows):,} more meet it: --limit {rows[0]['found']}")


def _cells(row: dict[str, Any], known: dict[str, str], rule: CheckedScan) -> list[str]:
    fired = json.loads(row["fired"] or "{}")
    values = [readable(fired[name]) for name in rule.columns if name != "close"]
    name, cap = short_name(row["name"]), compact(row["market_cap"])
    return [row["symbol"], f"{row['close_price']:.2f}", *values, name, cap, known.get(row["symbol"], "")]


def as_toml(rule: Scan) -> str:
    """The rule as a file of scans has it; JSON writes a text as TOML reads it."""
    texts = {"description": rule.description, "condition": rule.condition, "order": rule.order}
    written = {name: json.dumps(text, ensure_ascii=False) for name, text in texts.items()}
    return (
        f"[{rule.name}]\ndescription = {written['description']}\npriority = {rule.priority}\n"
        f"condition = {written['condition']}\norder = {written['order']}\nlimit = {rule.limit}\n"
    )
