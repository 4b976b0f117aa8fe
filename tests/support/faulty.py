"""The pipeline with one mistake in it: `luigi --module tests.support.faulty ...`, with FAULT naming where it is.

FAULT is the place of a function, `module:name` or `module:Class.name`; FAULT_IF the words that one of its arguments has
to hold, when not every call is to fail.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import pipeline  # noqa: F401  # first: it reads the settings, and makes this process a run

#: What nobody foresaw; redis-py raises it for an address with an unknown option.
REASON = "unexpected keyword argument 'ssl_ca_cert'"


def spoil(place: str, words: str) -> None:
    module, _, name = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, function = name.split(".")
    for each in classes:
        owner = getattr(owner, each)
    original = getattr(owner, function)

    def faulty(*arguments: Any, **options: Any) -> Any:
        if words in repr((arguments, options)):
            raise TypeError(REASON)
        return original(*arguments, **options)

    setattr(owner, function, faulty)


if os.environ.get("FAULT"):
    spoil(os.environ["FAULT"], os.environ.get("FAULT_IF", ""))
