"""What an evening's run leaves for the morning: provisional bars, and a rule that volume decides."""

from __future__ import annotations

import datetime as dt
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import duckdb

from tests.support.runs import results
from tests.support.small_market import SmallMarket

BUSY = """
[busy]
description = "a volume around the usual one"
priority = 9
condition = "volume > 2.9e6"
order = "volume DESC"
limit = 1000
"""


def rules(folder: pathlib.Path) -> dict[str, object]:
    """The section `scans` of an installation in the folder, with a rule of its own that finds by volume alone."""
    path = folder / "busy.toml"
    path.write_text(BUSY)
    return {"extra": path}


def live_evening(
    market: SmallMarket, session: dt.date, data: pathlib.Path, run: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """Run `DailyPipeline` with the volumes of two hours after the close, which are all there afterwards.

    The command takes its own clock's word that it is years later, so that the bars are made provisional by hand.
    """
    market.early = {session}
    try:
        assert run().wait(timeout=240) == 0
    finally:
        market.early = set()
    with duckdb.connect(str(data / "stock_data.duckdb")) as connection:
        connection.execute("UPDATE stock_data SET is_final = false WHERE date = ?", [session])
        connection.execute("UPDATE daily_watchlist SET is_final = false WHERE scan_date = ?", [session])


def tables(data: pathlib.Path) -> dict[str, list[tuple[Any, ...]]]:
    """`results`, and what amendments and finality are of them."""
    with duckdb.connect(str(data / "stock_data.duckdb"), read_only=True) as connection:
        more = {
            name: connection.execute(f"SELECT {columns} FROM {name} ORDER BY ALL").fetchall()
            for name, columns in (
                ("watchlist_amendments", "scan_date, symbol, scan_reason, change, reason"),
                ("bar_versions", "symbol, date, close, volume, is_final"),
            )
        }
        finality = connection.execute("SELECT date, is_final, count(*) FROM stock_data GROUP BY ALL ORDER BY ALL")
        return {**results(data), **more, "finality": finality.fetchall()}
