"""The source that the configuration names."""

from __future__ import annotations

from pipeline.config import market
from pipeline.errors import ConfigurationError
from pipeline.sources.protocol import Source


def configured_source() -> Source:
    """The source that `[market] source` names."""
    name = market().source
    if name == "yahoo":
        from pipeline.sources.yahoo.source import YahooSource

        return YahooSource()
    if name == "simulated":
        from pipeline.sources.simulated.source import SimulatedSource

        return SimulatedSource()
    if name == "files":
        from pipeline.sources.files import FilesSource

        return FilesSource()
    raise ConfigurationError(f"[market] source = {name}: it must be yahoo, simulated or files")
