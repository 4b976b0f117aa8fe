"""The units and scripts that start the pipeline each day."""

from __future__ import annotations

import configparser
import pathlib
import shutil
import subprocess

import pytest

from tests.support.runs import ROOT

UNITS = sorted((ROOT / "deploy").glob("*.service")) + sorted((ROOT / "deploy").glob("*.timer"))
PLACE = "/opt/nasdaq-daily-pipeline"


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(ROOT / "deploy" / name)
    return parsed


def test_what_the_units_start_exists() -> None:
    for path in UNITS:
        command = unit(path.name).get("Service", "ExecStart", fallback="")
        if command.startswith(f"{PLACE}/scripts"):
            assert (ROOT / pathlib.Path(command.split()[0]).relative_to(PLACE)).stat().st_mode & 0o111


def test_a_failed_run_and_one_that_never_started_raise_an_alert() -> None:
    assert unit("nasdaq-daily.service")["Unit"]["OnFailure"] == "nasdaq-doctor.service"
    assert unit("nasdaq-doctor.service")["Service"]["ExecStart"].endswith("pipeline doctor --alert")
    assert unit("nasdaq-doctor.timer").has_section("Timer")


def test_the_run_starts_at_seven_in_seoul_without_catching_up() -> None:
    timer = unit("nasdaq-daily.timer")["Timer"]
    assert timer["OnCalendar"] == "*-*-* 07:00:00 Asia/Seoul"
    assert timer["Persistent"] == "false"


def test_the_session_is_confirmed_before_new_york_opens() -> None:
    assert unit("nasdaq-confirm.timer")["Timer"]["OnCalendar"] == "*-*-* 21:00:00 Asia/Seoul"
    service = unit("nasdaq-confirm.service")
    assert service["Service"]["ExecStart"] == f"{PLACE}/scripts/daily ConfirmSession"
    assert service["Unit"]["OnFailure"] == "nasdaq-doctor.service"
    assert "scripts/daily ConfirmSession" in (ROOT / "deploy" / "crontab").read_text(encoding="utf-8")


def test_systemd_accepts_the_units(tmp_path: pathlib.Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("no systemd-analyze on this machine")
    place = tmp_path / "checkout"  # systemd parts a command at blanks, and this one may have some in its path
    place.symlink_to(ROOT)
    for path in UNITS:
        text = path.read_text(encoding="utf-8").replace(PLACE, str(place))
        (tmp_path / path.name).write_text(text.replace(f"{place}/.venv/bin/pipeline", "/bin/true"), encoding="utf-8")
    command = [verifier, "verify", "--man=no", *(str(tmp_path / path.name) for path in UNITS)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
