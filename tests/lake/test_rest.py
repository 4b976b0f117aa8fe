"""A catalog of pyiceberg's own settings, by the protocol that catalogs speak: REST, over a real socket."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import luigi
import pytest
from pyiceberg.utils.config import Config

from pipeline.database.replica import publish as publish_replica
from pipeline.errors import ConfigurationError, LakeError
from pipeline.host.files import write_text
from pipeline.lake.catalog import open_catalog
from pipeline.lake.places import sqlite_path
from pipeline.report.places import report_path
from pipeline.tasks.lake import PublishLake
from tests.lake.test_publication import check_publications, stored  # noqa: F401
from tests.support.rest_catalog import TOKEN, Rest, rest_catalog
from tests.support.runs import mark_done
from tests.support.stored_market import LAST


@pytest.fixture
def server(
    stored: None,  # noqa: F811  # the market that is published
    tmp_path: pathlib.Path,
    settings: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Rest]:
    """A catalog that pyiceberg knows by the name `company`."""
    with rest_catalog(tmp_path) as running:
        tell(monkeypatch, TYPE="rest", URI=running.address, TOKEN=TOKEN)
        settings("publish", warehouse="", catalog="company")
        yield running


def test_a_rest_catalog_holds_what_the_database_does(server: Rest) -> None:
    check_publications()
    assert type(open_catalog()).__name__ == "RestCatalog"
    assert not sqlite_path().exists()


@pytest.fixture
def task(server: Rest) -> PublishLake:
    """The publication of a day that is done."""
    mark_done(LAST)
    write_text(report_path(LAST), "the page")
    publish_replica(LAST)
    return PublishLake(date=LAST)


def tell(patch: pytest.MonkeyPatch, **settings: str) -> None:
    """Give pyiceberg settings of the catalog `company`."""
    for name, value in settings.items():
        patch.setenv(f"PYICEBERG_CATALOG__COMPANY__{name}", value)
    patch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())  # which a program has read when it began


def test_a_publication_names_the_catalog(task: PublishLake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pipeline")
    task.run()
    assert "months written to catalog company: 7 of bars" in caplog.text
    assert task.complete()


@pytest.mark.parametrize(
    ("told", "status", "words"),
    [
        ({}, 503, "an outage"),
        ({"TOKEN": "wrong"}, 200, "who are you"),
        ({"URI": "http://127.0.0.1:1"}, 200, "Connection refused"),
    ],
)
def test_a_catalog_that_is_away_or_refuses_us_is_told_in_words(
    task: PublishLake, server: Rest, monkeypatch: pytest.MonkeyPatch, told: dict[str, str], status: int, words: str
) -> None:
    server.status = status
    tell(monkeypatch, **told)
    with pytest.raises(LakeError, match=f"catalog company cannot be written to: .*{words}"):
        task.run()
    assert not task.complete()


def test_a_catalog_that_does_not_answer_ends_the_publication_after_a_while(
    task: PublishLake, server: Rest, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tasks.lake.MINUTE", 1)
    settings("publish", timeout_minutes=1)
    server.open.clear()
    assert not luigi.build([task], local_scheduler=True)
    assert not task.complete()
    server.open.set()
    settings("publish", timeout_minutes=60)
    assert luigi.build([task], local_scheduler=True)


def test_a_catalog_that_nobody_knows_ends_the_run_at_its_start(
    task: PublishLake, settings: Callable[..., None]
) -> None:
    settings("publish", catalog="nobody")
    with pytest.raises(ConfigurationError, match=r"catalog = nobody: pyiceberg knows company; .*CATALOG__NOBODY__URI"):
        task.requires()


def test_an_address_that_nothing_is_written_to_ends_the_run_at_its_start(
    task: PublishLake, settings: Callable[..., None]
) -> None:
    settings("publish", catalog="", warehouse="ftp://lake/tables")
    with pytest.raises(ConfigurationError, match=r"ftp: is not written to; .* abfs, .* s3"):
        task.requires()


@pytest.mark.parametrize("character", list("*?[]{}\\\n"))
def test_a_folder_that_spark_would_take_for_many_ends_the_run_at_its_start(
    task: PublishLake, settings: Callable[..., None], character: str
) -> None:
    settings("publish", catalog="", warehouse=f"/srv/la{character}ke")
    with pytest.raises(ConfigurationError, match=r"warehouse = .*la.*ke.*; /srv/la_ke can be used"):
        task.requires()


def test_a_warehouse_that_cannot_be_written_is_told_in_words(
    task: PublishLake, tmp_path: pathlib.Path, settings: Callable[..., None]
) -> None:
    (tmp_path / "taken").write_text("no folder")
    settings("publish", catalog="", warehouse=str(tmp_path / "taken"))
    with pytest.raises(LakeError, match="taken cannot be written to: .*; its readers have the version before"):
        task.run()


def test_a_catalog_file_that_is_damaged_is_told_in_words(
    task: PublishLake, tmp_path: pathlib.Path, settings: Callable[..., None]
) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "catalog.db").write_text("no database" * 100)
    settings("publish", catalog="", warehouse=str(tmp_path / "lake"))
    with pytest.raises(LakeError, match="lake cannot be written to: file is not a database"):
        task.run()
