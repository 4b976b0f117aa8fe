"""`pipeline explain`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import click
from rich.console import Console

from pipeline.cli.arguments import DAY, SYMBOL
from pipeline.cli.terminal import console, escape
from pipeline.database.connection import database_path, reading
from pipeline.text import line
from pipeline.watchlist.explain import Explanation, Verdict, explain, raw_file

OUTCOMES = {True: "[green]yes[/]", False: "[red]no [/]", None: "[yellow]n/a[/]"}
BAR = ("open", "high", "low", "close", "volume")
LISTING = ("name", "sector", "industry", "market_cap", "security_type")


@click.command()
@click.argument("date", type=DAY, metavar="DATE")
@click.argument("symbol", type=SYMBOL)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(date: dt.date, symbol: str, as_json: bool) -> None:
    """Explain a symbol on a session: its listing, its bar and where that came from, and every rule with its values.

    \b
    pipeline explain 2024-02-20 NVDA
    pipeline explain 2024-02-20 BRK/B --json
    """
    if not database_path().exists():
        raise click.ClickException(f"{database_path()} does not exist; run: luigi --module pipeline DailyPipeline")
    with reading() as connection:
        found = explain(connection, date, symbol)
    raw = raw_file(found.session, found.symbol, found.bar["fetched_at"]) if found.bar else None
    if as_json:
        facts = dataclasses.asdict(found) | {"raw_file": raw}
        for verdict, shown in zip(found.verdicts, facts["verdicts"], strict=True):
            shown |= {"scan": verdict.scan.name, "priority": verdict.scan.priority, "fired": verdict.fired}
        click.echo(json.dumps(facts, indent=1, default=str))
        return
    screen = console()
    _show_origin(screen, found, str(raw) if raw else "no longer kept")
    for verdict in found.verdicts:
        _show_verdict(screen, found, verdict)
    _show_result(screen, found)


def _show_origin(screen: Console, found: Explanation, raw: str) -> None:
    screen.print(f"[bold]{escape(found.symbol)} on {found.session}[/]")
    listing = found.listing
    _line(screen, "listing", f"of {listing['date']}: {_pairs(listing, LISTING)}" if listing else "not listed")
    coverage = found.coverage
    _line(
        screen,
        "coverage",
        f"{coverage['state']}{': ' + coverage['reason'] if coverage['reason'] else ''}"
        if coverage
        else found.why_not_expected,
    )
    bar = found.bar
    _line(
        screen,
        "bar",
        f"{_pairs(bar, BAR)}; from {bar['source']}, received {bar['fetched_at']:%Y-%m-%d %H:%M:%S %Z}"
        if bar
        else "none stored",
    )
    if bar:
        _line(screen, "answer", raw)
    for rejected in found.rejected:
        _line(
            screen,
            "rejected",
            f"{rejected['rule']}: {_pairs(rejected, BAR)}; at {rejected['rejected_at']:%Y-%m-%d %H:%M:%S %Z}",
        )
    for action in found.actions:
        _line(screen, action["kind"], f"{action['value']:g} on {action['date']}")
    if found.indicators is None:
        _line(screen, "indicators", "none computed")


def _show_verdict(screen: Console, found: Explanation, verdict: Verdict) -> None:
    scan = verdict.scan
    title = f"\n[bold]{escape(scan.name)}[/] (priority {scan.priority}): "
    if not found.in_view:
        screen.print(f"{title}not looked at: {escape(found.why_no_candidate)}")
        return
    if verdict.rank is None:
        screen.print(title + "does not fire")
    else:
        place = f"rank {verdict.rank} of {verdict.found} by {escape(scan.order)}, limit {scan.limit}"
        screen.print(title + (f"[green]fires[/], {place}" if verdict.fired else f"fires, but is cut off: {place}"))
    for part in verdict.parts:
        screen.print(
            f"  {OUTCOMES[part.holds]}  {escape(part.text)}    {escape(line(_pairs(part.values, part.values)))}"
        )


def _show_result(screen: Console, found: Explanation) -> None:
    row = found.watchlist
    if row:
        screen.print(f"\non the watchlist for [bold]{escape(row['scan_reason'])}[/], priority {row['priority']}")
    else:
        screen.print("\nnot on the watchlist")
    if found.is_by_other_rules:
        again = f"pipeline reset {found.session} --from ComputeIndicators, then pipeline retry {found.session}"
        screen.print(f"the list was made by other rules, or of other bars, than there are now; anew: {again}")


def _line(screen: Console, name: str, text: str) -> None:
    screen.print(f"  {name:11}{escape(line(text))}")


def _pairs(values: dict[str, Any], names: Any) -> str:
    return ", ".join(f"{name} {_text(values.get(name))}" for name in names)


def _text(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
