"""Histories that were damaged in the database are found by the rotation of audits, and healed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import main
from pipeline.cli.status import Overview
from pipeline.database.connection import reading, writing
from pipeline.report.facts import facts as page_facts
from pipeline.tasks.prices import CollectPrices
from tests.conftest import forget
from tests.support.beginnings import Begun
from tests.support.fake_market import Fault
from tests.support.runs import assert_same, results, run_here
from tests.support.small_market import LAST, SESSIONS, SPLIT, SmallMarket

EVE = SESSIONS[-2]
BASIS = "UPDATE stock_data SET open = open * 2, high = high * 2, low = low * 2, close = close * 2, volume = volume // 2"
DAMAGES = {
    "S02": "UPDATE stock_data SET close = close * 1.04, high = high * 1.04 "
    "WHERE symbol = 'S02' AND date = DATE '2023-06-01'",
    "S03": "UPDATE stock_data SET volume = volume + 1 WHERE symbol = 'S03' AND date = DATE '2023-06-01'",
    "S04": "DELETE FROM stock_data WHERE symbol = 'S04' AND date BETWEEN '2023-06-01' AND '2023-06-30'",
    "S05": f"{BASIS} WHERE symbol = 'S05' AND date BETWEEN '2023-06-01' AND '2023-07-30'",
    "S06": f"{BASIS} WHERE symbol = 'S06'",
}


def ask(query: str, *values: object) -> list[tuple[Any, ...]]:
    with reading() as connection:
        return connection.execute(query, list(values)).fetchall()


def collected(market: SmallMarket, clock: Callable[..., None], session: dt.date) -> bool:
    market.as_of = session
    clock(session.year, session.month, session.day, 18, 0)
    forget()
    return run_here(CollectPrices(date=session))


@pytest.fixture
def stored(here: SmallMarket, clock: Callable[..., None], data_dir: Path, begun: Begun) -> SmallMarket:
    """All sessions up to two before LAST, and each bar as the source has it."""
    session = SESSIONS[-3]
    begun("sound histories", data_dir, lambda: collected(here, clock, session))
    here.as_of = session
    clock(session.year, session.month, session.day, 18, 0)
    confirm_histories()
    return here


def confirm_histories() -> None:
    """They begin later than they were asked for, and would be asked for whole once more."""
    with writing() as connection:
        connection.execute("UPDATE price_ranges SET is_confirmed = true")


def damage(*symbols: str) -> None:
    with writing() as connection:
        for symbol in symbols:
            connection.execute(DAMAGES[symbol])


def bars() -> list[tuple[Any, ...]]:
    """All but those of the symbol whose split restates them."""
    return ask(
        """
        SELECT symbol, date, open, high, low, close, volume FROM stock_data
        WHERE date < ? AND symbol <> ? ORDER BY ALL
        """,
        EVE, SPLIT,
    )  # fmt: skip


def test_each_kind_of_damage_is_healed_within_a_rotation_and_counted(
    stored: SmallMarket, clock: Callable[..., None], settings: Callable[..., None]
) -> None:
    settings("quality", audit_per_day=30)
    sound = bars()
    damage(*DAMAGES)
    assert bars() != sound
    for session in SESSIONS[-2:]:
        assert collected(stored, clock, session)
    assert bars() == sound
    differed = dict(ask("SELECT symbol, sum(differed)::INT FROM audits GROUP BY symbol HAVING sum(differed) > 0"))
    assert differed == {"S02": 1, "S03": 1, "S04": 21, "S05": 40, "S06": 427}  # of 428: one was provisional
    (audited, times) = ask(
        "SELECT count(DISTINCT symbol), max(n) FROM (SELECT symbol, count(*) n FROM audits GROUP BY ALL)"
    )[0]
    assert (audited, times) == (ask("SELECT count(*) FROM price_ranges WHERE is_confirmed")[0][0], 2)
    facts = [CollectPrices.marker(session).read() for session in SESSIONS[-2:]]
    assert sum(each["healed_bars"] for each in facts) == sum(differed.values())
    assert sum(each["healed_histories"] for each in facts) == 5
    assert [each["audited_histories"] for each in facts] == [30, 30]
    shown = Overview().sessions(SESSIONS[-2:])
    assert [(each.audited, each.healed) for each in shown] == [(30, each["healed_histories"]) for each in facts]
    with writing() as connection:
        told = [page_facts(connection, session)["audits"] for session in SESSIONS[-2:]]
    assert sum(each["healed"] for each in told) == sum(differed.values())
    assert {row["symbol"] for each in told for row in each["rows"] if row["differed"]} == set(differed)


def test_a_company_that_has_become_too_small_is_audited_still(
    stored: SmallMarket, clock: Callable[..., None], settings: Callable[..., None]
) -> None:
    settings("quality", audit_per_day=100)
    settings("market", min_market_cap=1e12)
    damage("S06")
    assert collected(stored, clock, EVE)
    assert ask("SELECT differed FROM audits WHERE symbol = 'S06'") == [(427,)]


def test_an_audit_that_is_not_believed_fails_no_session_and_is_repeated_the_next_evening(
    stored: SmallMarket, clock: Callable[..., None], settings: Callable[..., None]
) -> None:
    """Every third bar is another: by no pattern of splits. Two evenings that agree are believed."""
    settings("quality", audit_per_day=2)
    sound = bars()
    with writing() as connection:
        connection.execute(
            "UPDATE stock_data SET close = close * (1 + day(date) / 100) "
            "WHERE symbol = 'NA' AND day(date) < 20 AND date < '2024-01-01'"
        )
    assert collected(stored, clock, EVE)
    assert ask("SELECT verdict, differed FROM audits WHERE symbol = 'NA'") == [("keep", 0)]
    assert ask("SELECT state FROM price_coverage WHERE symbol = 'NA' AND date = ?", EVE) == [("stored",)]
    assert collected(stored, clock, LAST)
    assert ask("SELECT verdict FROM audits WHERE symbol = 'NA' ORDER BY audited_at") == [("keep",), ("replace",)]
    assert bars() == sound
    assert ask("SELECT count(*) FROM disputed_answers") == [(0,)]


def test_a_run_after_a_kill_audits_what_is_left_of_the_days_number(
    stored: SmallMarket, clock: Callable[..., None], settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("quality", audit_per_day=7)
    with monkeypatch.context() as broken:
        broken.setattr(CollectPrices, "_requests", lambda task, sessions: 1 / 0)
        assert not collected(stored, clock, EVE)
    assert ask("SELECT count(*), count(DISTINCT symbol) FROM audits") == [(7, 7)]
    assert collected(stored, clock, EVE)
    assert ask("SELECT count(*) FROM audits") == [(7,)]


def test_audits_ask_for_as_many_histories_as_the_setting_says(
    stored: SmallMarket, clock: Callable[..., None], settings: Callable[..., None]
) -> None:
    before = stored.total
    assert collected(stored, clock, EVE)
    plain = stored.total - before
    settings("quality", audit_per_day=11)
    assert collected(stored, clock, LAST)
    assert stored.total - before - plain == plain - 1 + 11  # the split of EVE had one asked for twice
    assert ask("SELECT max(differed) FROM audits") == [(0,)]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", *arguments])


def test_the_command_heals_at_once_what_it_is_told(stored: SmallMarket) -> None:
    sound = bars()
    damage("S05", "S06")
    done = call("s06")
    assert done.exit_code == 0, done.output
    assert "S06" in done.output
    assert "1 histories compared: 1 differed and were healed, 0 were not believed" in done.output
    assert {row[0] for row in set(bars()) - set(sound)} == {"S05"}
    asked = stored.total
    done = call("--all")
    assert done.exit_code == 0, done.output
    assert bars() == sound
    assert stored.total - asked == ask("SELECT count(DISTINCT symbol) FROM stock_data")[0][0] - 1  # S06 in this moment


def test_the_command_says_when_nobody_knows(stored: SmallMarket) -> None:
    stored.faults["S06"] = Fault("503")
    done = call("S06", "S07")
    assert done.exit_code == 1
    assert "1 were not believed" in done.output
    assert ask("SELECT symbol, verdict FROM audits ORDER BY ALL") == [("S06", "refuse"), ("S07", "take over")]


def test_the_command_audits_those_whose_turn_it_is(stored: SmallMarket, settings: Callable[..., None]) -> None:
    settings("quality", audit_per_day=3)
    largest = ask(
        "SELECT symbol FROM session_listings WHERE session = ? ORDER BY market_cap DESC LIMIT 6", SESSIONS[-3]
    )
    for turn in (largest[:3], largest[3:]):
        assert "3 histories compared" in call().output
        newest = "SELECT symbol FROM audits WHERE audited_at = (SELECT max(audited_at) FROM audits) ORDER BY symbol"
        assert ask(newest) == sorted(turn)


def test_the_command_wants_a_database(data_dir: Path) -> None:
    done = call("AAPL")
    assert (done.exit_code, "does not exist; run: luigi" in done.output) == (1, True)


def test_the_command_refuses_what_it_cannot_do(stored: SmallMarket, settings: Callable[..., None]) -> None:
    for arguments, said in ((["S0X"], "near it: S"), (["--all", "S06"], "or say --all")):
        done = call(*arguments)
        assert (done.exit_code, said in done.output) == (1, True), done.output
    settings("market", offline=True)
    done = call("S06")
    assert (done.exit_code, "offline" in done.output) == (1, True)


def test_a_damage_leaves_the_results_of_a_run_without_it(
    stored: SmallMarket, clock: Callable[..., None], settings: Callable[..., None], data_dir: Path, tmp_path: Path
) -> None:
    settings("quality", audit_per_day=100)
    damage(*DAMAGES)
    assert collected(stored, clock, EVE)
    healed = results(data_dir)
    settings("storage", data_dir=str(tmp_path / "sound"))
    forget()
    assert collected(stored, clock, SESSIONS[-3])
    confirm_histories()
    assert collected(stored, clock, EVE)
    assert_same(healed, results(tmp_path / "sound"))
