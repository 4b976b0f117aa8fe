"""Settings that cannot work are refused by every stage, with the nearest value that can."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.bounds import BOUNDS, check_settings
from pipeline.config import all_settings
from pipeline.errors import ConfigurationError
from pipeline.tasks.prices import CollectPrices
from tests.support.runs import run_here
from tests.support.small_market import LAST, SmallMarket


def test_the_defaults_can_work() -> None:
    check_settings()


def test_every_bound_is_of_a_setting() -> None:
    assert set(BOUNDS) <= set(all_settings())


@pytest.mark.parametrize(
    ("section", "name", "refused", "smallest"),
    [
        ("market", "overlap_sessions", 0, 2),
        ("market", "overlap_sessions", 1, 2),
        ("indicators", "lookback", 60, 250),
        ("indicators", "lookback", 249, 250),
        ("quality", "min_coverage", -0.1, 0),
    ],
)
def test_a_value_that_is_too_small_is_refused_with_the_smallest_that_can_work(
    settings: Callable[..., None], section: str, name: str, refused: float, smallest: float
) -> None:
    settings(section, **{name: smallest})
    check_settings()
    settings(section, **{name: refused})
    with pytest.raises(ConfigurationError, match=rf"\[{section}\] {name} = {refused}: it must be at least {smallest}"):
        check_settings()


def test_a_share_above_one_is_refused(settings: Callable[..., None]) -> None:
    settings("quality", min_coverage=98)
    with pytest.raises(ConfigurationError, match=r"min_coverage = 98: it must be at most 1"):
        check_settings()


@pytest.mark.parametrize("character", ["'", '"', "\\", ":", "*", "?", "[", "]", "=", "\n"])
def test_a_data_folder_that_java_spark_or_duckdb_read_otherwise_is_refused(
    settings: Callable[..., None], character: str
) -> None:
    settings("storage", data_dir=f"/srv/market{character}data")
    with pytest.raises(ConfigurationError, match=r"\[storage\] data_dir = .*; /srv/market_data can be used"):
        check_settings()


def test_a_data_folder_may_have_any_other_name(settings: Callable[..., None]) -> None:
    settings("storage", data_dir="/srv/market data/é漢 #1, (50 %%) {a} $b ;&|~^@+!")
    check_settings()


def test_all_that_is_wrong_is_named_at_once(settings: Callable[..., None]) -> None:
    settings("market", overlap_sessions=1)
    settings("indicators", lookback=60)
    with pytest.raises(ConfigurationError, match="overlap_sessions = 1.*lookback = 60"):
        check_settings()


def test_a_run_with_such_a_setting_asks_nobody(here: SmallMarket, settings: Callable[..., None]) -> None:
    settings("market", overlap_sessions=1)
    assert not run_here(CollectPrices(date=LAST))
    assert here.listings == 0
