"""Folders of any name, in a shell that knows of no letters but ASCII's."""

from __future__ import annotations

import datetime as dt
import pathlib

import pytest

from tests.support.luigid import changed_settings
from tests.support.runs import options, run_luigi
from tests.support.small_market import SmallMarket
from tests.support.spark_submit import stand_in

pytestmark = pytest.mark.slow

DAY = dt.date(2024, 2, 16)


@pytest.mark.parametrize("name", ["데이터 시장", "50%(x)s"])
def test_a_day_is_done_in_a_folder_of_any_name(tmp_path: pathlib.Path, name: str) -> None:
    data, settings = tmp_path / name, changed_settings(tmp_path, spark={"spark-submit": stand_in(tmp_path)})
    with SmallMarket(as_of=DAY) as market:
        words = ["DailyPipeline", "--date", str(DAY), *options(market, data)]
        code, said = run_luigi(*words, home=tmp_path, LC_ALL="C", **settings)
    assert code == 0, said
    assert f"{DAY} is done; replica {data}/replica/stock_data_replica.duckdb" in said
