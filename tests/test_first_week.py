"""docs/first-week.md, every command in its order, over a small market."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from pipeline.config import ROOT
from tests.support.runs import environment
from tests.support.small_market import SPLIT, SmallMarket
from tests.support.spark_submit import stand_in

PAGE = ROOT / "docs" / "first-week.md"
#: A block with the note before it, if there is one.
BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STANDS = "the market stands at "
FAILS = "this fails"
#: A company of the small market for the one of the page.
SYMBOL = "S05"


@dataclasses.dataclass
class Stranger:
    """Somebody who follows the page, in a folder of their own; `said` is what each command has printed."""

    market: SmallMarket
    home: pathlib.Path
    said: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = {
            "nasdaq": {"base_url": self.market.url, "min_symbols": 20},
            "yahoo": {"base_url": self.market.url, "requests_per_second": 1000, "retries": 1},
            "quality": {"min_coverage": 0.9, "audit_per_day": 0, "outage_probe": 5},
            "storage": {"data_dir": self.home / "data"},
            "spark": {"spark-submit": stand_in(self.home)},
            "scheduler": {"retry_delay": 0},
        }
        lines = [
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in each.items())
            for name, each in settings.items()
        ]
        (self.home / "test.cfg").write_text("\n".join(lines), encoding="utf-8")

    def types(self, line: str) -> int:
        """Run a line of the page, in a shell; its exit code."""
        if line.startswith("export LUIGI_CONFIG_PATH="):
            mine = (self.home / "mine.cfg").read_text().replace("mine.toml", str(self.home / "mine.toml"))
            (self.home / "test.cfg").write_text((self.home / "test.cfg").read_text() + "\n" + mine)
            return 0
        words = line.replace("scripts/daily", "luigi --module pipeline DailyPipeline").replace("NVDA", SYMBOL)
        more = {
            "LUIGI_CONFIG_PATH": str(self.home / "test.cfg"),
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", "-c", words], cwd=self.home, env=environment(self.home) | more,
            capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
        self.said[line] = done.stdout + done.stderr
        return done.returncode

    def follows(self, note: str, block: str) -> None:
        if STANDS in note:
            self.market.as_of = dt.date.fromisoformat(note.removeprefix(STANDS)[: len("2024-02-20")])
        for line in block.splitlines():
            code = self.types(line)
            assert (code != 0) == (FAILS in note), f"{line}\n{code}\n{self.said.get(line, '')}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_stranger_can_follow_the_page(market: SmallMarket, tmp_path: pathlib.Path) -> None:
    stranger = Stranger(market, tmp_path)
    for note, block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        stranger.follows(note, block)
    said = stranger.said
    assert "Watchlist of 2024-02-16" in said["pipeline watchlist 2024-02-16"]
    assert (tmp_path / "data" / "reports" / "symbols" / f"{SYMBOL}.html").exists()
    assert "mine" in said[next(line for line in said if "SELECT scan_reason" in line)]
    assert "atr_14" in said[next(line for line in said if "atr_14 FROM" in line)]
    assert SPLIT in said[next(line for line in said if "corporate_actions" in line)]
    assert SPLIT in said[next(line for line in said if "basis_changes" in line)]
    assert "page: " in said["pipeline evaluate"]
    failed = next(line for line in said if "127.0.0.1:9" in line)
    assert "run again: " in said[failed]
    assert "CollectPrices" in said["pipeline alerts"]
    assert "Watchlist of 2024-02-21" in said["pipeline watchlist 2024-02-21"]


def test_the_commands_of_the_page_exist() -> None:
    from pipeline.cli.commands import COMMANDS

    lines = [line for _, block in BLOCK.findall(PAGE.read_text(encoding="utf-8")) for line in block.splitlines()]
    named = {shlex.split(line)[1] for line in lines if line.startswith("pipeline ")}
    assert named <= set(COMMANDS)
    assert len(lines) > 20
