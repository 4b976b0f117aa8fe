"""Trading hours are asked of exchange_calendars once, and kept for the processes after."""

import datetime as dt
import json
import os
import subprocess
import sys

import exchange_calendars
import pytest

from pipeline import calendar
from pipeline import trading_hours as module
from pipeline.errors import ConfigurationError
from pipeline.trading_hours import AHEAD, Hours, trading_hours

TODAY = dt.date(2024, 2, 20)
DAY = dt.timedelta(days=1)


@pytest.fixture
def kept(data_dir):
    """The file that keeps XNAS, in a folder that a run has made."""
    data_dir.mkdir(exist_ok=True)
    return module._path("XNAS")


@pytest.fixture
def asked(monkeypatch):
    """How often the library is asked."""
    calls = []

    def library(code):
        calls.append(code)
        return {TODAY: Hours(1, 2), TODAY + AHEAD: Hours(3, 4)}

    monkeypatch.setattr(module, "_of_library", library)
    return calls


def test_they_are_those_of_exchange_calendars(kept):
    theirs = exchange_calendars.get_calendar("XNAS", start="1990-01-01")
    for _ in ("asked", "kept"):
        known = trading_hours("XNAS", TODAY)
        assert list(known) == [stamp.date() for stamp in theirs.sessions]
        assert [hours.opens for hours in known.values()] == [moment.timestamp() for moment in theirs.opens]
        assert [hours.closes for hours in known.values()] == [moment.timestamp() for moment in theirs.closes]
    assert kept.exists()


def test_a_second_process_needs_neither_the_library_nor_pandas(kept):
    trading_hours("XNAS", calendar.now().date())
    program = (
        "import sys; from pipeline import calendar; print(calendar.latest_session()); "
        "print({'pandas', 'exchange_calendars'} & set(sys.modules))"
    )
    kept.parents[2].joinpath("own.cfg").write_text(f"[storage]\ndata_dir = {kept.parents[2]}\n")
    environment = os.environ | {"LUIGI_CONFIG_PATH": str(kept.parents[2] / "own.cfg")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(("today", "times"), [(TODAY, 1), (TODAY + DAY, 2)])
def test_what_reaches_51_weeks_ahead_is_used(kept, asked, today, times):
    trading_hours("XNAS", TODAY)
    assert trading_hours("XNAS", today) == {TODAY: (1, 2), TODAY + AHEAD: (3, 4)}
    assert len(asked) == times


@pytest.mark.parametrize("damage", [b"", b"[[738936, 1", b"[[738936, 1]]", b"[]", b"{}", b"7", b"[[0, 1, 2]]", b"\xff"])
def test_what_cannot_be_read_is_asked_for_and_written_again(kept, asked, damage):
    kept.parent.mkdir(parents=True)
    kept.write_bytes(damage)
    assert len(trading_hours("XNAS", TODAY)) == 2
    assert len(json.loads(kept.read_text())) == 2


def test_another_release_is_asked_anew(kept, asked, monkeypatch):
    trading_hours("XNAS", TODAY)
    monkeypatch.setattr(module.importlib.metadata, "version", lambda name: "99.0")
    trading_hours("XNAS", TODAY)
    assert len(asked) == 2
    assert [path.name for path in kept.parent.iterdir()] == ["XNAS-99.0.json"]


def test_a_question_makes_no_folder(data_dir, asked):
    assert trading_hours("XNAS", TODAY)
    assert not data_dir.exists()


def test_a_folder_that_cannot_be_written_to_is_no_matter(kept, asked):
    kept.parents[1].write_text("a file where the folder should be")
    assert trading_hours("XNAS", TODAY) == trading_hours("XNAS", TODAY)
    assert len(asked) == 2


@pytest.mark.parametrize("code", ["XNYX", "../XNAS", ""])
def test_an_exchange_that_is_unknown_leaves_nothing(kept, code):
    with pytest.raises(ConfigurationError, match="exchange_calendars has no such exchange"):
        trading_hours(code, TODAY)
    assert not kept.parents[1].exists()
