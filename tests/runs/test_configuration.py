"""Which files settings come from, and what is said of settings that nobody reads or that cannot work."""

import pathlib
import subprocess
import sys

import luigi
import pytest

from pipeline.cli import doctor
from pipeline.config import ROOT, SECTIONS, quality, retention
from pipeline.errors import CommandLineError, ConfigurationError
from pipeline.runs import command_line, configuration
from tests.support.fake_market import Fault
from tests.support.runs import environment, options, run_luigi


def written(folder: pathlib.Path, text: str) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "operator.cfg").write_text(text, encoding="utf-8")
    return folder / "operator.cfg"


def read_back(path: str, *settings: str) -> list[str]:
    """Effective values in a process of its own, which LUIGI_CONFIG_PATH tells of `path`."""
    code = (
        "import pipeline, sys; from luigi.configuration import get_config\n"
        "print(*(get_config().get(*setting.split('.')) for setting in sys.argv[1:]), sep='\\n')"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, *settings],
        capture_output=True, text=True, check=True, env={"LUIGI_CONFIG_PATH": path, "PATH": ""}, cwd=ROOT,
    )  # fmt: skip
    return said.stdout.splitlines()


def test_the_operators_file_wins_and_ours_stays_below_it(tmp_path):
    path = written(tmp_path, "[quality]\nmin_coverage = 0.9\n")
    assert read_back(str(path), "quality.min_coverage", "retcode.task_failed", "worker.keep_alive") == [
        "0.9", "30", "true",
    ]  # fmt: skip


def test_a_failed_stage_is_no_success_with_a_file_of_one_setting(market, tmp_path):
    market.every = Fault("500")
    path = written(tmp_path, "[retention]\nbackups = 2\n")
    code, said = run_luigi(
        "DailyPipeline", "--date", "2024-02-16", *options(market, tmp_path / "data"), "--yahoo-retries", "0",
        home=tmp_path, LUIGI_CONFIG_PATH=str(path),
    )  # fmt: skip
    assert code == 30, said


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "LUIGI_CONFIG_PATH is set and empty"),
        ("opertor.cfg", "No such file or directory; the nearest name there is operator.cfg"),
        (".", "Is a directory"),
    ],
)
def test_a_path_that_is_set_and_no_file_is_an_error(market, tmp_path, name, says):
    written(tmp_path, "")
    path = str(tmp_path / name) if name else ""
    code, said = run_luigi(
        "DailyPipeline", "--date", "2024-02-16", *options(market, tmp_path / "data", is_new=True),
        home=tmp_path, LUIGI_CONFIG_PATH=path,
    )  # fmt: skip
    assert code == 40, said
    assert says in said
    assert "Traceback" not in said
    assert market.total == 0
    assert not (tmp_path / "data").exists()
    answer = subprocess.run(
        [str(pathlib.Path(sys.executable).with_name("pipeline")), "status"],
        env=environment(tmp_path, LUIGI_CONFIG_PATH=path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 1
    assert says in answer.stderr


@pytest.fixture
def operators_file(tmp_path, monkeypatch):
    """`operators_file(text)`: the file that is read last."""
    config = luigi.configuration.get_config()
    before = list(type(config)._config_paths)

    def make(text: str) -> pathlib.Path:
        path = written(tmp_path, text)
        monkeypatch.setattr(type(config), "_config_paths", [*before, str(path)])
        return path

    return make


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[qualty]\nmin_coverage = 0.9", "a section [qualty] that nobody reads; the nearest one is quality"),
        (
            "[quality]\nmin_coverge = 0.9",
            "a setting [quality] min_coverge that nobody reads; the nearest one is min_coverage",
        ),
        (
            "[spark]\ndriver_memry = 1g",
            "a setting [spark] driver_memry that nobody reads; the nearest one is driver_memory",
        ),
        ("[spark_runtime]\njava = /x", "a setting [spark_runtime] java that nobody reads"),
        ("[core]\nworker = 2", "a setting [core] worker that nobody reads; the nearest one is workers"),
    ],
)  # fmt: skip
def test_what_nobody_reads_is_named_with_the_nearest_name(operators_file, text, says):
    path = operators_file(text)
    (sentence,) = configuration.unknown_settings()
    assert sentence.startswith(f"{path} has {says}")
    assert sentence in [finding.text for finding in doctor.examine() if finding.level == doctor.WARNING]


@pytest.mark.parametrize(
    "text",
    [
        "[resources]\nanything = 3",
        "[spark]\ndriver-memory = 2g\nconf = a=b",
        "[core]\nrpc_retry_wait = 1\ndefault-scheduler-url = http://x/",
        "[CollectPrices]\ndate = 2024-02-16",
        "[task_history]\ndb_connection = sqlite://",
    ],
)
def test_what_luigi_or_a_task_reads_is_not(operators_file, text):
    operators_file(text)
    assert configuration.unknown_settings() == []


def test_our_own_file_has_nothing_that_nobody_reads():
    assert configuration.unknown_settings() == []


def test_a_run_says_so_in_one_line_and_no_value(market, tmp_path):
    path = written(tmp_path, "[alerts]\nslack_webhok_url = https://hooks.invalid/verysecret\n")
    _, said = run_luigi(
        "DailyPipeline", "--date", "2024-02-17", *options(market, tmp_path / "data"),
        home=tmp_path, LUIGI_CONFIG_PATH=str(path),
    )  # fmt: skip
    (line,) = [line for line in said.splitlines() if "slack_webhok_url" in line]
    assert "the nearest one is slack_webhook_url" in line
    assert "verysecret" not in said


@pytest.mark.parametrize(
    ("section", "name", "value", "says"),
    [
        ("retention", "backups", 0, r"\[retention\] backups = 0: it must be at least 1"),
        ("retention", "raw_days", 0, "it must be at least 1"),
        ("retention", "work_days", 0, "it must be at least 1"),
        ("quality", "min_coverage", 98, r"\[quality\] min_coverage = 98: it must be at most 1"),
        ("quality", "min_coverage", "nan", "it must be"),
        ("redis", "max_memory_mb", -1, "it must be at least 0"),
        ("yahoo", "threads", "many", r"\[yahoo\] cannot be read: .*'threads': .*'many'"),
    ],
)
def test_a_value_that_cannot_work_is_refused(settings, section, name, value, says):
    settings(section, **{name: value})
    with pytest.raises(ConfigurationError, match=says):
        configuration.check()


def test_the_edges_of_the_bounds_are_taken(settings):
    settings("retention", backups=1)
    settings("quality", min_coverage=1)
    assert (retention().backups, quality().min_coverage) == (1, 1.0)
    configuration.check()


def test_a_value_on_the_command_line_is_refused_before_anything_is_done(market, tmp_path):
    code, said = run_luigi(
        "DailyPipeline", "--date", "2024-02-16", *options(market, tmp_path / "data", is_new=True),
        "--retention-backups", "0", home=tmp_path,
    )  # fmt: skip
    assert code == 40, said
    assert "[retention] backups = 0: it must be at least 1" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("argument", "meant"),
    [("--storage-data-di", "--storage-data-dir"), ("--yahoo-base=http://x", "--yahoo-base-url"),
     ("--loc", "--local-scheduler"), ("--dat", "--date")],
)  # fmt: skip
def test_an_abbreviated_option_is_refused(argument, meant):
    with pytest.raises(CommandLineError, match=f"write it whole: {meant}"):
        command_line.read(["DailyPipeline", argument, "x"])


@pytest.mark.parametrize(
    "option", [f"--{s.__name__}-{n}".replace("_", "-") for s in SECTIONS for n, _ in s.get_params()]
)
def test_a_whole_option_is_not(option, monkeypatch):
    taken = []
    monkeypatch.setattr(command_line.given, "give", lambda *setting: taken.append(setting))
    command_line.read(["DailyPipeline", option, "x", "--workers", "2"])
    assert len(taken) == 1
