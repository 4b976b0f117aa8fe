"""What is written down about settings is what the code does: docs/configuration.md and config/luigi.cfg; so are the
columns of a scan, and the stages of docs/architecture.md.

`python tests/test_docs.py` writes the parts that follow from the code anew.
"""

from __future__ import annotations

import configparser
import re
import textwrap

import luigi
import pytest
from luigi.parameter import ParameterVisibility

from pipeline.config import ROOT, SECTIONS
from pipeline.tasks.stages import STAGES

CONFIGURATION = ROOT / "docs" / "configuration.md"
ANALYSIS = ROOT / "docs" / "analysis.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
LUIGI_CFG = ROOT / "config" / "luigi.cfg"

BEGIN = "<!-- from pipeline/config.py: python tests/test_docs.py writes it -->"
END = "<!-- end -->"
#: Around the names of the columns of a scan in docs/analysis.md.
COLUMNS = re.compile(r"(?<=<!-- columns -->\n).*?(?=<!-- end of columns -->)", re.DOTALL)
#: From this line on config/luigi.cfg follows from pipeline/config.py.
OURS = "# The pipeline's own sections, as pipeline/config.py declares them (python tests/test_docs.py writes them)."
#: Environment variables that the secrets come from.
VARIABLES = {
    ("redis", "url"): "REDIS_URL",
    ("alerts", "slack_webhook_url"): "SLACK_WEBHOOK_URL",
    ("alerts", "discord_webhook_url"): "DISCORD_WEBHOOK_URL",
    ("events", "kafka_username"): "KAFKA_USERNAME",
    ("events", "kafka_password"): "KAFKA_PASSWORD",
}


def is_secret(parameter: luigi.Parameter) -> bool:
    return parameter.visibility == ParameterVisibility.PRIVATE


def written(parameter: luigi.Parameter) -> str:
    """A default as it is written in a configuration file."""
    value = parameter._default
    return (
        f"{value:.10g}"
        if isinstance(value, float) and value < 1e10
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def configuration_file() -> str:
    """Our part of config/luigi.cfg."""
    lines = [OURS]
    for section in SECTIONS:
        lines += ["", f"[{section.__name__}]"]
        for name, parameter in section.get_params():
            value = (
                f"${{{VARIABLES[section.__name__, name]}}}"
                if is_secret(parameter)
                else written(parameter).replace("%", "%%")
            )
            lines += [f"# {parameter.description}", f"{name} = {value}".rstrip()]
    return "\n".join(lines) + "\n"


def tables() -> str:
    """The tables of docs/configuration.md."""
    parts = []
    for section in SECTIONS:
        rows = [f"### [{section.__name__}]", "", "| setting | default | what it does |", "|---|---|---|"]
        for name, parameter in section.get_params():
            default = (
                f"from `{VARIABLES[section.__name__, name]}`"
                if is_secret(parameter)
                else f"`{written(parameter)}`"
                if written(parameter)
                else "empty"
            )
            rows.append(f"| `{name}` | {default} | {parameter.description.replace('|', '&#124;')} |")
        parts.append("\n".join(rows))
    return f"{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}"


def column_names() -> list[str]:
    """The columns of a scan but those of the session before."""
    from pipeline.watchlist.day_view import columns, create_empty_day_view
    from pipeline.watchlist.sandbox import sandbox

    with sandbox() as connection:
        create_empty_day_view(connection)
        return [name for name in columns(connection) if not name.startswith("prev_")]


def column_list() -> str:
    """The list of docs/analysis.md."""
    return textwrap.fill(", ".join(column_names()), 119, break_on_hyphens=False) + "\n"


def rewrite() -> None:
    """Write the parts that follow from the code."""
    text = LUIGI_CFG.read_text(encoding="utf-8")
    LUIGI_CFG.write_text(text.partition(OURS)[0] + configuration_file(), encoding="utf-8")
    page = CONFIGURATION.read_text(encoding="utf-8")
    CONFIGURATION.write_text(
        page[: page.index(BEGIN)] + tables() + page[page.index(END) + len(END) :], encoding="utf-8"
    )
    guide = ANALYSIS.read_text(encoding="utf-8")
    ANALYSIS.write_text(COLUMNS.sub(column_list(), guide), encoding="utf-8")


HOW = "the code has changed: `python tests/test_docs.py` brings config/luigi.cfg and the pages of docs/ up to date"


def test_the_configuration_file_holds_every_setting_with_its_default_and_meaning():
    text = LUIGI_CFG.read_text(encoding="utf-8")
    assert text[text.index(OURS) :] == configuration_file(), HOW


def test_the_page_explains_every_setting():
    assert tables() in CONFIGURATION.read_text(encoding="utf-8"), HOW


def read_settings(monkeypatch: pytest.MonkeyPatch) -> configparser.ConfigParser:
    """The file as Luigi reads it."""
    for variable in VARIABLES.values():
        monkeypatch.setenv(variable, "from the environment")
    parser = luigi.configuration.LuigiConfigParser()
    parser.read([str(LUIGI_CFG)], encoding="utf-8")
    return parser


def test_a_run_without_the_file_has_the_same_settings(monkeypatch):
    """Read back by Luigi's own parser, so that no quoting is lost."""
    parser = read_settings(monkeypatch)
    for section in SECTIONS:
        for name, parameter in section.get_params():
            value = parser.get(section.__name__, name)
            wanted = "from the environment" if is_secret(parameter) else parameter._default
            assert parameter.parse(value) == wanted, f"[{section.__name__}] {name}"


def test_no_secret_is_written_into_the_file(monkeypatch):
    lines = LUIGI_CFG.read_text(encoding="utf-8").splitlines()
    secrets = [name for section in SECTIONS for name, parameter in section.get_params() if is_secret(parameter)]
    assert secrets
    for name in secrets:
        assert all(re.fullmatch(rf"{name} = \$\{{[A-Z_]+\}}", line) for line in lines if line.startswith(f"{name} ="))


def test_every_setting_of_luigi_in_the_file_is_explained(monkeypatch):
    page = CONFIGURATION.read_text(encoding="utf-8")
    parser, ours = read_settings(monkeypatch), {section.__name__ for section in SECTIONS}
    for section in (one for one in parser.sections() if one not in ours):
        assert f"### [{section}]" in page, section
        rows = page.partition(f"### [{section}]")[2].partition("\n### ")[0]
        for name in parser.options(section):
            assert re.search(
                rf"^\| `{name}` \| `{re.escape(parser.get(section, name))}` \| .{{10,}} \|$", rows, re.MULTILINE
            ), f"[{section}] {name}"


def test_every_description_is_a_sentence_of_its_own():
    for section in SECTIONS:
        for name, parameter in section.get_params():
            said = parameter.description
            assert said, f"[{section.__name__}] {name}"
            assert "\n" not in said
            assert not said.endswith(".")


def test_the_columns_of_a_scan_are_listed():
    page = CONFIGURATION.read_text(encoding="utf-8").partition("## The columns of a scan")[2]
    assert [name for name in column_names() if f"`{name}`" not in page] == []
    assert "`prev_`" in page
    assert COLUMNS.findall(ANALYSIS.read_text(encoding="utf-8")) == [column_list()], HOW


def test_each_stage_stands_in_the_table_with_its_file():
    rows = [line.split("|") for line in ARCHITECTURE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    for stage in STAGES:
        file = f"`{stage.__module__.removeprefix('pipeline.').replace('.', '/')}.py`"
        assert any(f"`{stage.__name__}`" in row[1] and file in row[2] for row in rows), f"{stage.__name__} in {file}"


def commands_of(page: str) -> list[str]:
    """The commands of a page's blocks, without what is said beside them."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


def test_the_korean_page_has_the_commands_of_the_english_one():
    assert commands_of("README.ko.md") == commands_of("README.md")
    assert len(commands_of("README.md")) > 10


def test_every_picture_of_a_page_is_there_and_small():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {
        (page, name) for page in pages for name in re.findall(r"\]\(([^)]+\.png)\)", page.read_text(encoding="utf-8"))
    }
    assert named
    for page, name in named:
        assert (page.parent / name).stat().st_size < 300_000, f"{page.name}: {name}"


if __name__ == "__main__":
    rewrite()
