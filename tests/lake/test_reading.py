"""The example for readers: a session's watchlist in three engines, from a warehouse that the task has written."""

from __future__ import annotations

import datetime as dt
import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from pipeline.config import ROOT
from pipeline.database.connection import reading
from pipeline.database.replica import publish, replica_path
from pipeline.errors import ConfigurationError, LakeError
from pipeline.host.files import write_text
from pipeline.lake import publication
from pipeline.lake.catalog import NAMESPACE, open_catalog
from pipeline.report.places import report_path
from pipeline.tasks.lake import PublishLake, publish_sessions
from tests.lake.test_publication import stored  # noqa: F401  # the same market
from tests.support.runs import mark_done
from tests.support.stored_market import LAST

EXAMPLE = ROOT / "examples" / "read.py"


@pytest.fixture
def done(data_dir: pathlib.Path) -> None:
    """The session is done, and published to no warehouse."""
    mark_done(LAST)
    write_text(report_path(LAST), "the page")
    publish(LAST)


@pytest.fixture
def lake(done: None, data_dir: pathlib.Path, settings: Callable[..., None]) -> pathlib.Path:
    warehouse = data_dir / "lake é #1, (50%41) $x:;&|~^@+='\"!"  # all that may be in its path
    settings("publish", warehouse=str(warehouse).replace("%", "%%"))
    PublishLake(date=LAST).run()
    return warehouse


def wanted() -> list[str]:
    with reading(replica_path()) as connection:
        rows = connection.execute(
            "SELECT symbol, scan_reason, close_price FROM daily_watchlist WHERE scan_date = ? ORDER BY symbol", [LAST]
        ).fetchall()
    assert len(rows) == 3
    return [f"{symbol:8} {reason:24} {close:10.2f}" for symbol, reason, close in rows]


@pytest.mark.parametrize(
    "engine", ["polars", "duckdb", pytest.param("spark", marks=[pytest.mark.spark, pytest.mark.slow])]
)
def test_each_engine_has_the_same_rows(lake: pathlib.Path, engine: str) -> None:
    run = subprocess.run(
        [sys.executable, EXAMPLE, lake, str(LAST), "--engine", engine], capture_output=True, text=True, timeout=200
    )
    assert run.stdout.splitlines() == wanted(), run.stderr


def test_a_finished_publication_is_not_repeated_and_a_lost_warehouse_is_made_again(lake: pathlib.Path) -> None:
    assert PublishLake(date=LAST).complete()
    assert PublishLake.marker(LAST).read()["months"]["bars"] > 5
    (lake / "catalog.db").unlink()
    assert not PublishLake(date=LAST).complete()
    PublishLake(date=LAST).run()
    assert PublishLake(date=LAST).complete()


def test_a_new_warehouse_is_published_to_though_its_first_publication_was_killed(
    done: None, data_dir: pathlib.Path, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    PublishLake(date=LAST).run()
    settings("publish", warehouse=str(data_dir / "other"))
    with monkeypatch.context() as killed:
        killed.setattr(publication, "_replace", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            PublishLake(date=LAST).run()
    assert (data_dir / "other" / "catalog.db").exists()
    assert not PublishLake(date=LAST).complete()
    PublishLake(date=LAST).run()
    assert PublishLake(date=LAST).complete()
    assert open_catalog().load_table((NAMESPACE, "bars")).scan().count()
    settings("publish", warehouse=str(data_dir / "warehouse"))
    assert PublishLake(date=LAST).complete()


def test_a_session_that_went_to_another_warehouse_is_lacking_in_this_one(lake: pathlib.Path) -> None:
    assert PublishLake.with_product({LAST, LAST + dt.timedelta(days=1)}) == {LAST}


def test_the_catalog_of_one_address_is_not_filled_for_another(
    done: None, data_dir: pathlib.Path, settings: Callable[..., None]
) -> None:
    first, second = ((data_dir / name).as_uri() for name in ("first", "second"))
    settings("publish", warehouse=first)
    PublishLake(date=LAST).run()
    settings("publish", warehouse=second)
    with pytest.raises(LakeError, match=rf"is the catalog of {first}, and not of {second}; .* mv .*catalog.db"):
        publish_sessions([LAST])
    settings("publish", warehouse=f"{first}/")
    assert set(publish_sessions([LAST])[0].values()) == {0}


def test_without_a_warehouse_the_error_says_how_to_name_one(settings: Callable[..., None]) -> None:
    settings("publish", warehouse="")
    with pytest.raises(ConfigurationError, match=r"--publish-warehouse /srv/lake"):
        PublishLake(date=dt.date(2024, 2, 20)).requires()


def test_without_pyiceberg_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install -e '.\[iceberg\]'"):
        PublishLake(date=dt.date(2024, 2, 20)).requires()
