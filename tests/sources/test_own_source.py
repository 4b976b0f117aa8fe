"""The source of docs/source.md, as it stands there: a day runs on it."""

from __future__ import annotations

import pathlib
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.config import ROOT
from pipeline.database.connection import reading
from pipeline.sources import registry
from pipeline.tasks.daily import DailyPipeline
from tests.support.runs import run_here
from tests.support.small_market import LAST, UNKNOWN, SmallMarket

PAGE = ROOT / "docs" / "source.md"
FAILS = "S05"


def answers(market: SmallMarket) -> Callable[[str], Any]:
    """The vendor: what `ask` of the page would get from it."""

    def ask(path: str) -> Any:
        if path == "companies":
            return [{"ticker": symbol, "name": f"{symbol} Inc. Common Stock", "cap": 2e9} for symbol in market.listed()]
        symbol, first, last = re.fullmatch(r"bars/(.+)\?from=(.+)&to=(.+)", path).groups()  # type: ignore[union-attr]
        if symbol == FAILS:
            raise ConnectionResetError("reset by peer")
        if not market.knows(symbol.replace("/", "-")):
            return None
        names = ("open", "high", "low", "close", "volume")
        days = [day for day in market.days(symbol.replace("/", "-")) if first <= str(day) <= last]
        bars = [(day, market.bar(symbol.replace("/", "-"), day)) for day in days]
        return [{"date": str(day), **dict(zip(names, bar, strict=True))} for day, bar in bars]

    return ask


def test_a_day_runs_on_the_source_of_the_page(
    data_dir: pathlib.Path,
    settings: Callable[..., None],
    clock: Callable[..., None],
    plain_spark: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    module = types.ModuleType("vendor_of_the_page")
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    market = SmallMarket()
    monkeypatch.setattr(module.Vendor.__init__, "__defaults__", (answers(market),))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry.SOURCES, "vendor", (module.__name__, "Vendor"))
    settings("market", source="vendor")
    settings("nasdaq", min_symbols=20)
    settings("quality", min_coverage=0.95)
    clock(LAST.year, LAST.month, LAST.day, 23)
    assert run_here(DailyPipeline(date=LAST))
    with reading() as connection:
        states = dict(connection.execute("SELECT symbol, state FROM price_coverage").fetchall())
        ((close,),) = connection.execute(
            "SELECT close FROM stock_data WHERE symbol = 'S01' AND date = ?", [LAST]
        ).fetchall()
        assert connection.execute("SELECT DISTINCT source FROM daily_watchlist").fetchall() in ([("vendor",)], [])
    assert (states[FAILS], states[UNKNOWN], states["BRK/B"]) == ("failed", "unknown", "stored")
    assert close == pytest.approx(market.bar("S01", LAST)[3])
