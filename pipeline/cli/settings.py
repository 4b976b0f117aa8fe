"""Settings of one command, and where the effective value of each setting comes from."""

from __future__ import annotations

import configparser
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import luigi.configuration

from pipeline import given
from pipeline.config import SECTIONS, UNSET, all_settings
from pipeline.errors import UnknownSettingError
from pipeline.masking import CREDENTIALS, MASK, SECRET_NAME, secrets
from pipeline.runs.configuration import check_section, files, known_settings


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting with its effective value (masked where it is a secret) and its origin, both for people."""

    section: str
    name: str
    value: str
    origin: str
    description: str = ""


def take_data_dir(context: Any, parameter: Any, value: str | None) -> None:
    """Callback of the option --data-dir."""
    if value:
        apply("storage", "data_dir", value)


def take_settings(context: Any, parameter: Any, values: Sequence[str]) -> None:
    """Callback of the option --set. Raises UnknownSettingError."""
    for text in values:
        key, found, value = text.partition("=")
        section, _, name = key.strip().partition(".")
        if not found or not name:
            raise UnknownSettingError(
                f"--set {key}: write SECTION.NAME=VALUE, for example --set market.source=simulated"
            )
        apply(section, name.replace("-", "_"), value)


def apply(section: str, name: str, value: str) -> None:
    """Give a setting a value for the life of this process.

    Raises UnknownSettingError for one that we do not have, ConfigurationError for a value of another type.
    """
    if (section, name) not in set(all_settings()):
        raise UnknownSettingError(_unknown(section, name))
    if (section, name) in secrets():
        raise UnknownSettingError(
            f"[{section}] {name} is a secret, which a command line would show to everybody on this machine; "
            f"take it from the environment: {name} = ${{NAME}} in the configuration file"
        )
    given.give(section, name, value)
    check_section(next(each for each in SECTIONS if each.__name__ == section))


def _unknown(section: str, name: str) -> str:
    import difflib

    known = [f"{known_section}.{known_name}" for known_section, known_name in all_settings()]
    if section not in {known_section for known_section, _ in all_settings()} and section in known_settings():
        return (
            f"[{section}] is a section of Luigi's, which reads it before a command does: put {name} = ... into "
            f"config/luigi.cfg, or a file that LUIGI_CONFIG_PATH names"
        )
    near = difflib.get_close_matches(f"{section}.{name}", known, n=1)
    hint = f"; the nearest one is {near[0]}" if near else ""
    return f"there is no setting {section}.{name}{hint}. pipeline config lists them all"


def effective() -> list[Setting]:
    """Every setting of ours, and every other one that a configuration file has, in the order of their sections."""
    ours = list(_ours())
    known = {(setting.section, setting.name) for setting in ours}
    return ours + [setting for setting in _others() if (setting.section, setting.name) not in known]


def _ours() -> Iterator[Setting]:
    for section in SECTIONS:
        values = section()
        for name, parameter in section.get_params():
            text = str(getattr(values, name))
            is_secret = (section.__name__, name) in secrets()
            yield Setting(
                section.__name__,
                name,
                _shown(text, is_secret),
                origin(section.__name__, name),
                parameter.description or "",
            )


def _others() -> Iterator[Setting]:
    config = luigi.configuration.get_config()
    for section in config.sections():
        for name in config.options(section):
            try:
                value = config.get(section, name)
            except configparser.InterpolationError:
                value = "(names an environment variable that is not set)"
            yield Setting(section, name, _shown(value, bool(SECRET_NAME.search(name))), origin(section, name))


def _shown(value: str, is_secret: bool) -> str:
    if is_secret:
        return MASK if value else ""
    return CREDENTIALS.sub(f"{MASK}@", value)


def origin(section: str, name: str) -> str:
    """Where the value of a setting comes from: the command line, a file (through the environment), or the default."""
    if given.is_given(section, name):
        return "command line"
    for path in reversed(files()):
        raw = configparser.RawConfigParser()
        raw.read(path)
        if raw.has_option(section, name):
            variable = re.search(r"\$\{(\w+)\}", raw.get(section, name))
            if variable is None:
                return str(path)
            unset = " (not set)" if variable.group(1) in UNSET else ""
            return f"{path}, environment {variable.group(1)}{unset}"
    return "default"
