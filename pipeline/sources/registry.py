"""The sources by name, and the one that the configuration names."""

from __future__ import annotations

import difflib
import importlib

from pipeline.config import market
from pipeline.errors import ConfigurationError
from pipeline.sources.protocol import Source

#: Every source by its name in `[market] source`: module and class, imported when it is asked for.
SOURCES = {
    "yahoo": ("pipeline.sources.yahoo.source", "YahooSource"),
    "simulated": ("pipeline.sources.simulated.source", "SimulatedSource"),
    "files": ("pipeline.sources.files.source", "FilesSource"),
}


def configured_source() -> Source:
    """The source that `[market] source` names. Raises ConfigurationError for a name that is none."""
    name = market().source
    if name not in SOURCES:
        near = difflib.get_close_matches(name, SOURCES, n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise ConfigurationError(f"[market] source = {name}{hint}: there are {', '.join(SOURCES)}")
    module, made = SOURCES[name]
    source: Source = getattr(importlib.import_module(module), made)()
    return source
