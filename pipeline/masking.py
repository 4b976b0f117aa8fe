"""Secrets: which settings are, and how they are kept out of everything that is shown."""

from __future__ import annotations

import re

from luigi.parameter import ParameterVisibility

from pipeline.config import SECTIONS

#: What a secret looks like when it is shown.
MASK = "********"

#: Names of settings outside our sections whose values are secrets, and credentials inside of an address.
SECRET_NAME = re.compile(
    r"password|passwd|secret|token|api_?key|webhook|db_connection|connection_string", re.IGNORECASE
)
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def secrets() -> set[tuple[str, str]]:
    """The settings of ours that are never shown."""
    return {
        (section.__name__, name)
        for section in SECTIONS
        for name, parameter in section.get_params()
        if parameter.visibility is not ParameterVisibility.PUBLIC
    }


def masked(text: str) -> str:
    """A text, from a library, say, without the values of our secrets and without credentials inside of addresses."""
    for section in SECTIONS:
        values = section()
        for name, parameter in section.get_params():
            value = str(getattr(values, name))
            if value and parameter.visibility is not ParameterVisibility.PUBLIC:
                text = text.replace(value, MASK)
    return CREDENTIALS.sub(f"{MASK}@", text)
