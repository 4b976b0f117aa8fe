"""A law of the judgement: whatever a source has said, some evenings of the truth later the truth is stored.

Random evenings of a source that is late, corrects itself, cuts, invents or fails, of runs that are killed, repeated,
missed and made up for in any order; then the source tells the truth for as many sessions as an overlap has. What still
differs then has to stand in a table.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import pathlib
import random
import tempfile
from collections.abc import Iterator

import duckdb
import pytest

from pipeline import calendar
from pipeline.config import market
from pipeline.database.connection import migrate
from pipeline.market.coverage import store_states
from pipeline.market.load import store_answers
from pipeline.market.plan import left_provisional, plan
from pipeline.market.universe import snapshot_for
from pipeline.sources.protocol import BarRequest
from pipeline.tasks import prices
from tests.support.fickle_source import FickleSource, Killed

DAYS = calendar.sessions_between(dt.date(2023, 12, 1), dt.date(2024, 3, 8))
EVENINGS = DAYS[-13:]
FICKLE = EVENINGS[:-5]
#: What may become of the run of an evening: where it is killed, and whether it is given again.
FATES = ("whole", "whole", "whole", "asking", "asking, again", "storing", "storing, again", "missed")


@dataclasses.dataclass
class Evenings:
    """A database, and the runs on it against a source."""

    tables: duckdb.DuckDBPyConnection
    source: FickleSource
    folder: pathlib.Path

    @contextlib.contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self.tables.begin()
        try:
            yield self.tables
        except BaseException:
            self.tables.rollback()
            raise
        self.tables.commit()

    def live(self, evening: dt.date, fate: str, make_up: list[dt.date]) -> None:
        """The run of the evening and what becomes of it, and runs of the sessions that are made up for."""
        self.source.evening = evening
        if fate != "missed":
            self._list(evening)
            with contextlib.suppress(Killed):
                self.run(evening, fate.partition(",")[0])
        if fate.endswith("again"):
            self.run(evening)
        for session in make_up:
            self.run(session)

    def run(self, session: dt.date, killed: str = "") -> None:
        """What CollectPrices does of a session; a run is killed when half of the answers are there, or unstored."""
        folder = self.folder / str(session)
        requests = self._requests(session)
        self.source.kill_after = len(requests) // 2 if killed == "asking" else None
        try:
            prices.collect(requests, folder, _say)
        finally:
            self.source.kill_after = None
        with prices.judged(requests, folder, _say) as evidence:
            store_answers(evidence)
            store_states(evidence, session)
            if killed == "storing":
                raise Killed

    def _requests(self, session: dt.date) -> list[BarRequest]:
        with self.writing():
            listed = snapshot_for(self.tables, session)
            self.tables.execute("INSERT OR REPLACE INTO session_universe (date, snapshot_date) VALUES (?, ?)",
                                [session, listed])  # fmt: skip
            requests = plan(self.tables, [session])
            return requests + left_provisional(self.tables, session, requests)

    def _list(self, day: dt.date) -> None:
        """The listing of a session that is run on its day."""
        symbols, last_sales, changes = zip(*self.source.listings(day), strict=True)
        with self.writing():
            self.tables.execute(
                """
                INSERT INTO symbol_snapshots BY NAME
                SELECT $day::DATE AS date, unnest($symbols::VARCHAR[]) AS symbol, 'Some Inc. Common Stock' AS name,
                       1e9 AS market_cap, unnest($last_sales::DOUBLE[]) AS last_sale,
                       unnest($changes::DOUBLE[]) AS net_change, 1000 AS volume
                """,
                {"day": day, "symbols": symbols, "last_sales": last_sales, "changes": changes},
            )

    def differences(self) -> Iterator[str]:
        """Bars that are not as the source says they are, and that no table tells of; in words."""
        rows = self.tables.execute("SELECT symbol, date, close, volume FROM stock_data").fetchall()
        stored = {(symbol, day): (close, volume) for symbol, day, close, volume in rows}
        assert len(stored) == len(rows), "no bar twice"
        noted = set(self.tables.execute(_NOTED).fetchall())
        for symbol, story in self.source.stories.items():
            for day, close in story.truth(EVENINGS[-1]).items():
                found = stored.get((symbol, day))
                is_right = found and (found[0], found[1]) == (pytest.approx(close, rel=1e-9), 1000)
                is_asked = day >= min((d for s, d in stored if s == symbol), default=DAYS[-1])
                if is_asked and not is_right and (symbol, day) not in noted:
                    yield f"{symbol} {day}: {found}, not {close}; split {story.splits}; {story.moods}"


#: Symbols and sessions that a table says to be wrong or missing.
_NOTED = """
    SELECT symbol, date FROM gaps
    UNION SELECT symbol, date FROM rejected_bars
    UNION SELECT s.symbol, s.date FROM stock_data s SEMI JOIN disputed_answers d USING (symbol)
"""


def _say(text: str, share: int | None) -> None:
    pass


def the_truth_is_stored(seed: int, symbols: int) -> None:
    draw = random.Random(f"fickle sources, {seed}")
    names = [f"S{number:02d}" for number in range(symbols)]
    source = FickleSource.drawn(draw, names, DAYS, FICKLE)
    with duckdb.connect() as tables, tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        migrate(tables)
        evenings = Evenings(tables, source, pathlib.Path(folder))
        patch.setattr(prices, "writing", evenings.writing)
        patch.setattr(prices, "configured_source", lambda: source)
        patch.setattr(calendar, "now", source.now)
        open_sessions: list[dt.date] = []
        for evening in EVENINGS:
            fate = draw.choice(FATES) if evening in FICKLE else "whole"
            made_up = draw.sample(open_sessions, draw.randint(0, len(open_sessions))) if evening in FICKLE else []
            evenings.live(evening, fate, made_up)
            open_sessions = [day for day in open_sessions if day not in made_up]
            open_sessions += [evening] if fate in ("missed", "asking", "storing") else []
        assert [*evenings.differences()] == []


@pytest.fixture(autouse=True)
def short_history(settings) -> None:
    settings("market", history_sessions=20)
    assert market().overlap_sessions == len(EVENINGS) - len(FICKLE)


@pytest.mark.long
def test_some_evenings_of_the_truth_later_the_truth_is_stored() -> None:
    the_truth_is_stored(seed=0, symbols=50)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
def test_some_evenings_of_the_truth_later_the_truth_is_stored_of_many_sources(seed: int) -> None:
    the_truth_is_stored(seed, symbols=60)
