"""The sources by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.errors import ConfigurationError
from pipeline.sources.registry import SOURCES, configured_source


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_found_by_its_name(settings: Callable[..., None], name: str) -> None:
    settings("market", source=name)
    source = configured_source()
    assert source.name == name
    assert callable(source.listing) and callable(source.collect) and source.keeps_listings in (True, False)


def test_a_name_that_is_none_names_the_nearest(settings: Callable[..., None]) -> None:
    settings("market", source="yaho")
    with pytest.raises(
        ConfigurationError, match=r"source = yaho \(nearest: yahoo\): there are yahoo, simulated, files"
    ):
        configured_source()
