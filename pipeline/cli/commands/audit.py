"""`pipeline audit`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence

import click
from rich.table import Table

from pipeline import calendar, given
from pipeline.cli.arguments import SYMBOL
from pipeline.cli.terminal import console, plain
from pipeline.config import market, quality, storage
from pipeline.database.connection import database_path, reading, writing
from pipeline.errors import AuditError
from pipeline.market.audits import Audit, longest_ago, stored_symbols, whole_requests
from pipeline.market.staleness import stale_sessions
from pipeline.tasks.audit import audit, described


@click.command()
@click.argument("symbols", nargs=-1, type=SYMBOL, metavar="[SYMBOL]...")
@click.option("--all", "everything", is_flag=True, help="Every stored history.")
def command(symbols: tuple[str, ...], everything: bool) -> None:
    """Ask for whole histories again, compare them with what is stored, and heal what differs.

    Without a symbol, those whose turn it is: [quality] audit_per_day of them, audited longest ago. Each run does that,
    too. The exit code is 1 when an answer was not believed, so that nobody knows.

    \b
    pipeline audit
    pipeline audit AAPL BRK/B
    pipeline audit --all
    """
    if symbols and everything:
        raise AuditError("--all audits every history; name symbols, or say --all")
    if market().offline:
        raise AuditError("[market] offline forbids to ask the source; an audit does nothing else")
    if not database_path().exists():
        raise AuditError(f"{database_path()} does not exist; run: luigi --module pipeline DailyPipeline")
    session = calendar.latest_session()
    with writing() as connection:  # so that the tables are those of this version
        known = stored_symbols(connection)
        chosen = known if everything else _named(symbols, known)
        if not symbols and not everything:
            chosen = longest_ago(connection, quality().audit_per_day)
        requests = whole_requests(connection, chosen, calendar.now())
    folder = storage().root / "raw" / "prices" / f"{session}.audit-{os.getpid()}"
    found = audit(requests, session, folder, lambda text, percent: None)
    _show(found)
    raise SystemExit(1 if any(each.is_open for each in found) or len(found) < len(requests) else 0)


def _named(symbols: Sequence[str], known: Sequence[str]) -> list[str]:
    """The symbols as they are stored, each once. Raises AuditError for one that has no bars."""
    wanted = list(dict.fromkeys(symbols))
    for symbol in set(wanted).difference(known):
        near = difflib.get_close_matches(symbol, known, n=3)
        raise AuditError(
            f"no bars of {symbol} are stored in {database_path()}; near it: {', '.join(near) or 'nothing'}"
        )
    return wanted


def _show(found: Sequence[Audit]) -> None:
    differed = [each for each in found if each.differed or each.is_open]
    if differed:
        table = Table(box=None, pad_edge=False)
        for heading in ("Symbol", "Bars", "Found"):
            table.add_column(heading, justify="right" if heading == "Bars" else "left")
        for each in differed:
            table.add_row(plain(each.symbol), f"{each.bars:,}", plain(described(each)))
        console().print(table)
    healed = sum(each.differed > 0 and not each.is_open for each in found)
    still = sum(each.is_open for each in found)
    click.echo(f"{len(found):,} histories compared: {healed:,} differed and were healed, {still:,} were not believed")
    if healed:
        _say_what_follows()


def _say_what_follows() -> None:
    with reading() as connection:
        stale = stale_sessions(connection)
    click.echo("indicators and replica follow with the next run")
    if stale:
        click.echo(
            f"watchlists of {len(stale)} sessions rest on other bars: {given.pipeline_command('backfill', '--stale')}"
        )
