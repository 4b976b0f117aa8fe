"""What a run needs before it begins: settings that can be read, a source with its pace, Java, and room on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from pipeline import calendar, given
from pipeline.cli.doctor.finding import FAILURE, NOTE, OK, WARNING, Finding
from pipeline.config import market, storage, yahoo
from pipeline.database.connection import database_path
from pipeline.runs import configuration as settings

GIGABYTE = 1024**3


def files() -> Iterator[Finding]:
    settings.check()
    for sentence in settings.unknown_settings():
        yield Finding(WARNING, "files", sentence, given.pipeline_command("config"))
    yield Finding(OK, "files", f"settings are read from {', '.join(map(str, settings.files()))}")


def configuration() -> Iterator[Finding]:
    from pipeline.sources.registry import configured_source
    from pipeline.watchlist.scans import configured_scans

    source, scans = configured_source(), configured_scans()
    yield Finding(
        OK,
        "configuration",
        f"source {source.name}, {len(scans)} scans, {len(calendar.sessions()):,} sessions in the calendar",
    )


def pace() -> Iterator[Finding]:
    from pipeline.sources.yahoo.learned import learned

    found = learned()
    if market().source == "yahoo" and found and found.rate < yahoo().requests_per_second:
        text = (
            f"the source was asked too fast up to {calendar.local(found.at)}; "
            f"a run begins with {found.rate:.3g} requests a second"
        )
        yield Finding(
            NOTE, "pace", f"{text}, of {yahoo().requests_per_second:g} that are set, and goes faster by itself"
        )


def java() -> Iterator[Finding]:
    from pipeline.indicators.spark.home import check_user
    from pipeline.indicators.spark.java import java_runtime

    check_user()
    runtime = java_runtime()
    yield Finding(OK, "java", f"{runtime.version} in {runtime.home}")


def disk() -> Iterator[Finding]:
    root = storage().root
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        yield Finding(FAILURE, "disk", f"{existing} cannot be written by this user", "set [storage] data_dir")
    size = database_path().stat().st_size if database_path().exists() else 0
    free = shutil.disk_usage(existing).free
    needed = max(GIGABYTE, 3 * size)  # the database, its replica and one more backup
    text = f"{free / GIGABYTE:,.1f} GB free in {existing}, the database has {size / GIGABYTE:,.2f} GB"
    yield (
        Finding(FAILURE, "disk", f"{text}; {needed / GIGABYTE:,.1f} GB are needed")
        if free < needed
        else Finding(OK, "disk", text)
    )
