"""Indicators that users define: what is accepted, what TA-Lib says of them, and how they reach sessions done before."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import shutil
from collections.abc import Callable

import luigi
import numpy as np
import pytest
import talib

from pipeline import config
from pipeline.database.connection import reading, writing
from pipeline.errors import ConfigurationError, DefinitionError, ScanError
from pipeline.indicators import kernel
from pipeline.indicators.columns import add_columns
from pipeline.indicators.definitions import NAMES, configured_definitions
from pipeline.tasks.indicators import ComputeIndicators
from pipeline.tasks.symbols import CollectSymbols
from pipeline.watchlist.scans import Scan, check, configured_scans
from tests.support.small_market import SmallMarket

FRIDAY, TUESDAY, WEDNESDAY = dt.date(2024, 2, 16), dt.date(2024, 2, 20), dt.date(2024, 2, 21)
THREE = "atr_14 = ATR(14); adx_14 = ADX(14)\nstoch = STOCH(5, 3, 0, 3, 0)"


def test_definitions_name_their_columns(settings: Callable[..., None]) -> None:
    settings("indicators", extra=THREE)
    found = {definition.name: (definition.argument, definition.columns) for definition in configured_definitions()}
    assert found == {
        "atr_14": ("atr_14=ATR:14", ("atr_14",)),
        "adx_14": ("adx_14=ADX:14", ("adx_14",)),
        "stoch": ("stoch=STOCH:5:3:0:3:0", ("stoch_slowk", "stoch_slowd")),
    }


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("atr_14", "is no definition; write name = FUNCTION"),
        ("ATR = ATR(14)", "is no definition"),
        ("x = ATR(14", "is no definition"),
        ("x = ATR(close)", "'close' is no number"),
        (f"x = ATR({'9' * 5000})", "is no number of up to nine digits"),
        ("x = ATR(9999999999)", "is no number of up to nine digits"),
        (f"x = {'A' * 5000}(", "is no definition"),
        ("x = ATR(14) ; DROP TABLE stock_data", "is no definition"),
        ("x = ART(14)", r"no function 'ART' \(nearest: .*ATR|nearest"),
        ("x = ATR(14, 2)", "ATR takes timeperiod; given: 14, 2"),
        ("x = ATR(-3)", "cannot be computed"),
        ("x = SMA(500)", "no value within .* lookback = 400"),
        ("x = OBV()", "adds up from the first bar"),
        ("x = MAVP(2, 30)", "column of periods"),
        ("close = SMA(3)", "the name close is taken"),
        ("macd = MACD(5, 10, 4)", "the name macd is taken"),
        ("x = ATR(5); x = ATR(6)", "the name x is taken"),
        ("prev_x = ATR(5)", "the name prev_x is taken"),
    ],
)
def test_mistake_is_told(settings: Callable[..., None], extra: str, told: str) -> None:
    settings("indicators", extra=extra)
    with pytest.raises(DefinitionError, match=told):
        configured_definitions()


def test_mistake_is_found_with_the_scans_before_anything_is_collected(settings: Callable[..., None]) -> None:
    settings("indicators", extra="x = ART(14)")
    with pytest.raises(DefinitionError):
        configured_scans()


def test_the_names_are_those_of_the_kernel() -> None:
    assert tuple(kernel.INDICATORS) == NAMES == tuple(config.indicators().names.split(","))


def test_an_unknown_name_is_found_before_anything_is_collected(
    market: SmallMarket, settings: Callable[..., None]
) -> None:
    settings("indicators", names="rsi_14,sma_21")
    with pytest.raises(ConfigurationError, match=r"'sma_21': there is no such indicator \(nearest: sma_20\)"):
        CollectSymbols(date=FRIDAY).run()
    assert market.listings == 0


def test_rules_know_the_new_columns(settings: Callable[..., None]) -> None:
    rule = Scan("wide", "", 1, "atr_14 / close > 0.05 AND prev_stoch_slowk < 20", "atr_14 DESC", 5)
    settings("indicators", extra=THREE)
    assert check((rule,), THREE)[0].columns == ("atr_14", "close", "prev_stoch_slowk")
    settings("indicators", extra="")
    with pytest.raises(ScanError, match="no column 'atr_14'"):
        check((rule,), "")


def run(*sessions: dt.date) -> None:
    for session in sessions:
        assert luigi.build([ComputeIndicators(date=session)], local_scheduler=True, log_level="WARNING")


def rows(columns: str, session: dt.date) -> list[tuple[object, ...]]:
    with reading() as connection:
        return connection.execute(
            f"SELECT symbol, {columns} FROM technical_indicators WHERE date = ? ORDER BY symbol", [session]
        ).fetchall()


def recorded() -> list[str]:
    with reading() as connection:
        return [
            name
            for (name,) in connection.execute(
                "SELECT name FROM migrations WHERE name LIKE '%atr_14%' ORDER BY applied_at"
            ).fetchall()
        ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the first test leaves a copy of its installation for the others."""
    return tmp_path_factory.mktemp("made") / "data"


@pytest.fixture
def two_done(here: SmallMarket, clock: Callable[..., None], data_dir: pathlib.Path, made: pathlib.Path) -> SmallMarket:
    clock(2024, 2, 21, 20, 0)
    if made.exists():
        shutil.copytree(made, data_dir)
    else:
        run(FRIDAY, TUESDAY)
        shutil.copytree(data_dir, made)
    return here


def test_new_indicator_reaches_the_sessions_before_by_the_next_run(
    two_done: SmallMarket, settings: Callable[..., None]
) -> None:
    before = {day: rows("* EXCLUDE (symbol)", day) for day in (FRIDAY, TUESDAY)}
    settings("indicators", extra=THREE)
    run(WEDNESDAY)
    assert {day: rows("* EXCLUDE (symbol, atr_14, adx_14, stoch_slowk, stoch_slowd)", day) for day in before} == before
    with reading() as connection:
        bars = connection.execute(
            "SELECT date, high, low, close FROM stock_data WHERE symbol = 'S01' ORDER BY date"
        ).fetchall()
    days, high, low, close = (np.array(column) for column in zip(*bars, strict=True))
    expected = {
        "atr_14": talib.ATR(high, low, close, 14),
        "stoch_slowk": talib.STOCH(high, low, close, 5, 3, 0, 3, 0)[0],
    }
    for day in (FRIDAY, TUESDAY, WEDNESDAY):
        for column, values in expected.items():
            stored = dict(rows(column, day))["S01"]
            assert abs(float(str(stored)) - values[list(days).index(day)]) < 1e-9 * abs(values[-1])
    assert recorded() == ["indicator atr_14 = ATR(14)", "filled atr_14 = ATR(14)"]


def test_killed_back_fill_is_done_again(two_done: SmallMarket, settings: Callable[..., None]) -> None:
    settings("indicators", extra=THREE)
    with writing() as connection:  # as far as a run comes that is killed while Spark works
        assert [definition.name for definition in add_columns(connection)] == ["atr_14", "adx_14", "stoch"]
    run(WEDNESDAY)
    assert all(value is not None for symbol, value in rows("atr_14", FRIDAY) if symbol == "S01")


def test_changed_definition_loses_the_values_of_the_old_one(
    two_done: SmallMarket, settings: Callable[..., None]
) -> None:
    settings("indicators", extra="atr_14 = ATR(14)")
    with writing() as connection:
        add_columns(connection)
        connection.execute("UPDATE technical_indicators SET atr_14 = -1")
    settings("indicators", extra="atr_14 = ATR(7)")
    run(WEDNESDAY)
    assert min(value for _, value in rows("atr_14", FRIDAY) if isinstance(value, float)) > 0
    assert recorded()[-1] == "filled atr_14 = ATR(7)"


def test_second_run_fills_nothing(
    two_done: SmallMarket, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("indicators", extra=THREE)
    run(WEDNESDAY)
    with writing() as connection:
        assert add_columns(connection) == []


def test_patterns_of_whole_numbers_are_null_until_their_window_is_full(data_dir: pathlib.Path) -> None:
    from pipeline.indicators import kernel

    close = np.linspace(10, 20, 30)
    (values,) = kernel.defined("doji=CDLDOJI").compute(kernel.Bars(close, close + 1, close - 1, close, close * 1e5))
    assert np.isnan(values[:10]).all() and set(values[10:]) == {100.0}
    assert json.dumps(values[10]) == "100.0"
