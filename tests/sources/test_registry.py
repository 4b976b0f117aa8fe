"""The sources by name."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from pipeline.errors import ConfigurationError
from pipeline.sources.registry import SOURCES, configured_source


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_found_by_its_name(settings: Callable[..., None], tmp_path: pathlib.Path, name: str) -> None:
    settings("market", source=name)
    settings("files", path=str(tmp_path))  # whose rows say whether they keep listings
    (tmp_path / "listings").mkdir()
    (tmp_path / "listings" / "present.csv").write_text("symbol,name,market_cap\nAAA,A Inc.,1e9\n")
    source = configured_source()
    assert source.name == name
    assert callable(source.listing) and callable(source.collect) and source.keeps_listings in (True, False)


def test_a_name_that_is_none_names_the_nearest(settings: Callable[..., None]) -> None:
    settings("market", source="yaho")
    with pytest.raises(
        ConfigurationError, match=r"source = yaho \(nearest: yahoo\): there are yahoo, simulated, files"
    ):
        configured_source()
