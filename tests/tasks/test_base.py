"""The rules all stages share: combined runs, a bad session among good ones, and kills between commit and marker."""

import datetime as dt
from typing import ClassVar

import luigi
import pytest

from pipeline.database.connection import writing
from pipeline.errors import CoverageError, SessionFailedError, SessionNotSettledError
from pipeline.parameters import SessionParameter
from pipeline.tasks.base import SessionTask
from tests.conftest import forget
from tests.support.runs import run_here

DAYS = [dt.date(2024, 2, day) for day in (12, 13, 14, 15, 16)]
BAD = DAYS[2]


class Stage(SessionTask):
    """Notes what it was asked for, and stores one row a session."""

    table = "corporate_actions"
    calls: ClassVar[list[tuple[str, tuple[dt.date, ...]]]] = []
    bad: ClassVar[dict[str, set[dt.date]]] = {}
    broken: ClassVar[set[str]] = set()
    crashing: ClassVar[dict[str, set[dt.date]]] = {}
    recovers: ClassVar[bool] = False

    def process(self, sessions):
        family = self.task_family
        Stage.calls.append((family, tuple(sessions)))
        if family in Stage.broken:
            raise ZeroDivisionError("an error that nobody foresaw")
        outcomes = {}
        with writing() as connection:
            for session in sessions:
                if session in Stage.crashing.get(family, ()):
                    raise IsADirectoryError(21, "Is a directory", f"{session}.html")
                if session in Stage.bad.get(family, ()) and (len(sessions) > 1 or not Stage.recovers):
                    outcomes[session] = CoverageError(f"{session} is bad")
                    continue
                connection.execute(
                    "INSERT INTO corporate_actions VALUES (?, ?, 'split', 1, DEFAULT)", [family, session]
                )
                self.finish(connection, session)
                outcomes[session] = {"rows": 1}
        return outcomes


class StageOne(Stage):
    priority = 90


class StageTwo(Stage):
    follows = (StageOne,)
    priority = 80


class StageThree(Stage):
    follows = (StageTwo,)
    priority = 70
    batchable = False


class StageFour(Stage):
    follows = (StageThree,)
    priority = 60


class StageFive(Stage):
    """Follows stages that all run for many sessions at once."""

    follows = (StageTwo,)
    priority = 50


class Whole(luigi.WrapperTask):
    """As DailyPipeline: one session, which needs every stage, and notices one that a combined run left out."""

    date = SessionParameter()
    batchable = False
    priority = 10

    def requires(self):
        return [stage(date=self.date) for stage in (StageOne, StageTwo, StageFive)]


@pytest.fixture(autouse=True)
def fresh(data_dir, settings):
    Stage.calls, Stage.bad, Stage.broken, Stage.crashing = [], {}, set(), {}
    settings("scheduler", retry_count=1, retry_delay=0, stable_done_cooldown_secs=0)
    settings(
        "worker", wait_interval=0.01, wait_jitter=0, keep_alive="true", max_reschedules=1, check_complete_on_run="true"
    )


def rows():
    with writing() as connection:
        return connection.execute("SELECT symbol, date FROM corporate_actions ORDER BY ALL").fetchall()


def test_sessions_that_are_ready_together_are_one_run_a_stage():
    assert run_here(*(StageFour(date=day) for day in DAYS))
    everything = tuple(DAYS)
    assert Stage.calls[:2] == [("StageOne", everything), ("StageTwo", everything)]
    assert sorted(Stage.calls[2:-1]) == [("StageThree", (day,)) for day in DAYS]
    assert Stage.calls[-1] == ("StageFour", everything)
    assert len(rows()) == 4 * len(DAYS)


def test_a_rerun_does_nothing():
    assert run_here(*(StageFour(date=day) for day in DAYS))
    Stage.calls, before = [], rows()
    assert run_here(*(StageFour(date=day) for day in DAYS))
    assert Stage.calls == []
    assert rows() == before


@pytest.mark.parametrize("stage", ["StageOne", "StageTwo"])
def test_a_bad_session_fails_alone(stage):
    """It is tried again by itself, with its own error; all others go through to the end."""
    Stage.bad = {stage: {BAD}}
    assert not run_here(*(StageFour(date=day) for day in DAYS))
    good = [day for day in DAYS if day != BAD]
    assert all(StageFour(date=day).complete() for day in good)
    assert not StageFour(date=BAD).complete()
    assert (stage, (BAD,)) in Stage.calls
    assert ("StageThree", (BAD,)) not in Stage.calls
    assert [day for family, day in rows() if family == "StageFour"] == good


@pytest.mark.parametrize("stage", ["StageOne", "StageTwo", "StageFive"])
@pytest.mark.parametrize("is_back", [False, True])
def test_a_bad_session_is_noticed_where_every_stage_runs_for_many(stage, is_back, monkeypatch):
    """By the wrapper of the session, which waits: its stages are done once more, alone, after the others."""
    Stage.bad = {stage: {BAD}}
    monkeypatch.setattr(Stage, "recovers", is_back)
    assert run_here(*(Whole(date=day) for day in DAYS)) == is_back
    good = [day for day in DAYS if day != BAD]
    assert [day for family, day in rows() if family == "StageFive"] == (DAYS if is_back else good)
    assert Stage.calls[0] == ("StageOne", tuple(DAYS))
    assert Stage.calls[-1] == ("StageFive" if is_back else stage, (BAD,))
    assert Whole(date=BAD).complete() == is_back


def test_two_bad_sessions_fail_alone_each():
    Stage.bad = {"StageTwo": {DAYS[0], BAD}}
    assert not run_here(*(StageFour(date=day) for day in DAYS))
    assert [day for family, day in rows() if family == "StageFour"] == [DAYS[1], DAYS[3], DAYS[4]]


def test_when_all_sessions_are_bad_nothing_follows():
    Stage.bad = {"StageOne": set(DAYS)}
    assert not run_here(*(StageFour(date=day) for day in DAYS))
    assert rows() == []
    assert {family for family, _ in Stage.calls} == {"StageOne"}


def test_an_error_that_nobody_foresaw_fails_the_whole_run():
    Stage.broken = {"StageTwo"}
    assert not run_here(*(StageFour(date=day) for day in DAYS))
    assert {family for family, _ in rows()} == {"StageOne"}


@pytest.mark.parametrize("family", ["StageOne", "StageTwo"])
def test_an_exception_of_one_session_fails_that_session_alone(family):
    Stage.crashing = {family: {BAD}}
    assert not run_here(*(StageFour(date=day) for day in DAYS))
    good = [day for day in DAYS if day != BAD]
    assert [day for name, day in rows() if name == "StageFour"] == good
    assert [day for name, day in rows() if name == family] == good
    Stage.crashing = {}
    assert run_here(*(StageFour(date=day) for day in DAYS))
    assert [day for name, day in rows() if name == "StageFour"] == DAYS


def test_each_of_several_sessions_that_fail_has_its_own_reason():
    Stage.crashing = {"StageOne": set(DAYS[:2])}
    task = StageOne(date=tuple(DAYS[:2]))
    with pytest.raises(SessionFailedError):
        task.run()
    assert {day: str(error).rpartition("'")[0][-15:] for day, error in task.session_errors.items()} == {
        day: f"{day}.html" for day in DAYS[:2]
    }


def test_the_bad_session_is_all_that_a_second_run_asks_for():
    Stage.bad = {"StageOne": {BAD}}
    assert not run_here(*(StageFour(date=day) for day in DAYS))
    Stage.calls, Stage.bad = [], {}
    assert run_here(*(StageFour(date=day) for day in DAYS))
    assert Stage.calls == [(family, (BAD,)) for family in ("StageOne", "StageTwo", "StageThree", "StageFour")]


def test_a_kill_between_commit_and_marker_file_costs_only_the_file():
    assert run_here(StageOne(date=BAD))
    marker = StageOne(date=BAD).marker(BAD)
    marker.remove()
    Stage.calls, before = [], rows()
    forget()
    assert run_here(StageOne(date=BAD))
    assert Stage.calls == []
    assert rows() == before
    assert marker.read()["recovered"] is True


def test_a_marker_file_without_its_row_is_not_believed():
    """A database that was put back from a backup knows nothing of the sessions since."""
    assert run_here(StageOne(date=BAD))
    with writing() as connection:
        connection.execute("DELETE FROM table_updates")
        connection.execute("DELETE FROM corporate_actions")
    Stage.calls = []
    assert run_here(StageOne(date=BAD))
    assert Stage.calls == [("StageOne", (BAD,))]


def test_a_day_without_a_session_is_done_and_runs_nothing(caplog):
    caplog.set_level("INFO", "pipeline")
    assert run_here(StageFour(date=dt.date(2024, 2, 19)))
    assert Stage.calls == []
    assert (
        caplog.text.count(
            "2024-02-19 is no session of XNAS: nothing to do (sessions around it: 2024-02-16 and 2024-02-20)"
        )
        == 1
    )


def test_a_session_that_has_not_settled_is_refused(clock):
    clock(2024, 2, 16, 12, 0)
    with pytest.raises(SessionNotSettledError):
        StageOne(date=dt.date(2024, 2, 16)).complete()
    assert not run_here(StageFour(date=dt.date(2024, 2, 16)))
    assert Stage.calls == []


def test_the_error_window_shows_the_message_alone():
    task = StageOne(date=BAD)
    assert task.on_failure(CoverageError("too few")) == "too few"
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        assert "ZeroDivisionError: division by zero" in str(task.on_failure(error))
