"""Declarations of scans: what is accepted, and how each mistake is told."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from pipeline.errors import ScanError
from pipeline.watchlist.scans import configured_scans

GOOD = {
    "description": '"turns up"',
    "priority": "4",
    "condition": '"macd_hist > 0 and prev_macd_hist <= 0"',
    "order": '"symbol"',
    "limit": "5",
}


def declare(name: str = "turns_up", **settings: str | None) -> str:
    lines = [f"{key} = {value}" for key, value in (GOOD | settings).items() if value is not None]
    return f"[{name}]\n" + "\n".join(lines) + "\n"


@pytest.fixture
def own_scans(tmp_path: pathlib.Path, settings: Callable[..., None]) -> Callable[[str], None]:
    """`own_scans(text)` makes the text the user's own file of scans."""

    def write(text: str) -> None:
        (tmp_path / "own.toml").write_text(text, encoding="utf-8")
        settings("scans", extra=str(tmp_path / "own.toml"))

    return write


def test_shipped_scans_are_those_of_the_specification() -> None:
    found = [(scan.name, scan.priority, scan.limit) for scan in configured_scans()]
    assert found == [("rsi_oversold", 1, 20), ("bollinger_lower_touch", 2, 15), ("high_volume_breakout", 3, 10)]


def test_own_scan_joins_the_shipped_ones(own_scans: Callable[[str], None]) -> None:
    own_scans(declare())
    scan = configured_scans()[-1]
    assert (scan.name, scan.columns) == ("turns_up", ("macd_hist", "prev_macd_hist"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (declare(condition='"rsi14 < 30"'), r"scan \[turns_up\].*no column 'rsi14' \(nearest: rsi_14\)"),
        (declare(condition='"prev_clsoe > 1"'), r"nearest: prev_close"),
        (declare(order='"marketcap DESC"'), r"nearest: market_cap"),
        (declare(condition='"rsi_14 <"'), r"no SQL expression"),
        (declare(condition='"true; DROP TABLE stock_data"'), r"it holds a statement"),
        (declare(condition='"close > (SELECT 1)"'), r"subquery is not allowed"),
        (declare(condition='"getenv(symbol) = symbol"'), r"'getenv' is not allowed"),
        (declare(condition='"volume"'), r"is a BIGINT; a condition is true or false"),
        (declare(condition="\"close > 'much'\""), r"cannot be computed"),
        (declare(condition='"upper(close, 1) = sector"'), r"cannot be computed"),
        (declare(condition="3"), r"condition = 3 should be a text"),
        (declare(priority='"1"'), r"priority = '1' should be a whole number"),
        (declare(limit="true"), r"limit = True should be a whole number"),
        (declare(limit="0"), r"the smallest is 1"),
        (declare(limit=None), r"exactly the settings .* found: description, priority, condition, order"),
        (declare() + "lmit = 3\n", r"exactly the settings"),
        (declare(name='"<b>"'), r"lower-case letters"),
        (declare(name="rsi_oversold"), r"another scan has this name"),
        ("[turns_up\n", r"no valid TOML"),
        ("turns_up = 3\n", r"found: 3"),
    ],
)
def test_mistake_is_told(own_scans: Callable[[str], None], text: str, told: str) -> None:
    own_scans(text)
    with pytest.raises(ScanError, match=told):
        configured_scans()


def test_missing_file_is_named(settings: Callable[..., None], tmp_path: pathlib.Path) -> None:
    settings("scans", extra=str(tmp_path / "none.toml"))
    with pytest.raises(ScanError, match="none.toml.*no such file"):
        configured_scans()


def test_logarithm_that_may_fail_is_no_mistake(own_scans: Callable[[str], None]) -> None:
    own_scans(declare(condition='"ln(close - 5) > 1"'))
    assert configured_scans()[-1].columns == ("close",)


def test_version_follows_what_a_scan_may_find() -> None:
    scan = configured_scans()[0]
    assert dataclasses.replace(scan, description="other words").version == scan.version
    others = [
        dataclasses.replace(scan, condition="rsi_14 < 29"), dataclasses.replace(scan, limit=21),
        dataclasses.replace(scan, order="symbol"), dataclasses.replace(scan, priority=9),
    ]  # fmt: skip
    assert len({scan.version, *(other.version for other in others)}) == 5


def test_mistake_is_found_before_anything_is_collected(
    own_scans: Callable[[str], None], tmp_path: pathlib.Path
) -> None:
    own_scans(declare(condition='"rsi14 < 30"'))
    run = subprocess.run(
        [str(pathlib.Path(sys.executable).with_name("luigi")),
         "--module", "pipeline", "DailyPipeline", "--date", "2024-02-20",
         "--local-scheduler", "--scheduler-retry-delay", "0",
         "--storage-data-dir", str(tmp_path / "data"), "--scans-extra", str(tmp_path / "own.toml"),
         "--nasdaq-base-url", "http://127.0.0.1:9", "--yahoo-base-url", "http://127.0.0.1:9"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode != 0
    assert "no column 'rsi14' (nearest: rsi_14)" in run.stderr
    assert not (tmp_path / "data" / "raw").exists()
    assert "Traceback" not in run.stderr
