"""Backups of the database: whole copies of their own, one a day, each with a manifest that tells if it is whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipeline import calendar
from pipeline.config import market, retention, storage
from pipeline.database.schema import TABLES, unknown_migrations
from pipeline.database.sql import identifier
from pipeline.host.files import atomic_path, write_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NAME = re.compile(r"stock_data-(\d{8})T\d{6}\.\d+Z\.duckdb")


def backup_folder() -> pathlib.Path:
    return storage().root / "backup"


def backup_paths() -> list[pathlib.Path]:
    """The database's backups, oldest first."""
    return sorted(backup_folder().glob("stock_data-*.duckdb"))


def manifest_of(backup: pathlib.Path) -> pathlib.Path:
    """The file beside a backup that says its size, hash and content."""
    return backup.with_suffix(".json")


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def back_up(verified: pathlib.Path, manifest: dict[str, Any]) -> pathlib.Path:
    """Keep a copy of a verified replica, and drop what `[retention] backups` no longer keeps; the copy's path.

    It shares nothing with the replica: what is done to one of them does not reach the other.
    """
    target = backup_folder() / f"stock_data-{calendar.now():%Y%m%dT%H%M%S.%fZ}.duckdb"
    with atomic_path(target) as temporary:
        shutil.copyfile(verified, temporary)
        os.chmod(temporary, 0o444)
    write_text(manifest_of(target), json.dumps(manifest, indent=1) + "\n")
    _drop_outdated(target)
    return target


def _drop_outdated(newest: pathlib.Path) -> None:
    """The newest of each day counts, and the one just made whatever the clock says; a manifest goes with its backup."""
    of_days = {_day(path): path for path in backup_paths() if _day(path) != _day(newest)}
    kept = {newest, *[of_days[day] for day in sorted(of_days)][::-1][: retention().backups - 1]}
    for path in backup_paths():
        if path not in kept:
            path.unlink()
    for path in backup_folder().glob("stock_data-*.json"):
        if not path.with_suffix(".duckdb").exists():
            path.unlink()


def _day(path: pathlib.Path) -> str:
    found = _NAME.fullmatch(path.name)
    return found[1] if found else path.name


@dataclasses.dataclass(frozen=True)
class Checked:
    """A backup and what is wrong with it; `session` is the newest one that has bars in it."""

    path: pathlib.Path
    session: str
    fault: str = ""


def check(backup: pathlib.Path) -> Checked:
    """Read a backup whole: is it what was written, a database of this source, and not of newer code?"""
    import duckdb

    from pipeline.database.connection import reading
    from pipeline.errors import PipelineError

    fault = _differs(backup)
    if fault:
        return Checked(backup, "", fault)
    try:
        with reading(backup) as connection:
            tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
            missing = sorted({*TABLES, "migrations"} - tables)
            if missing:
                return Checked(backup, "", f"it lacks the tables {', '.join(missing)}")
            applied = connection.execute("SELECT name, source FROM migrations").fetchall()
            if not manifest_of(backup).exists():
                _read_all(connection, tables)
            (session,) = connection.execute("SELECT max(date) FROM stock_data").fetchone() or (None,)
    except (PipelineError, duckdb.Error) as error:
        return Checked(backup, "", " ".join(str(error).splitlines()[:1]))
    newer = unknown_migrations(name for name, _ in applied)
    others = {source for _, source in applied} - {market().source}
    if newer or others:
        what = f"newer code ({newer[-1]})" if newer else f"source {', '.join(sorted(others))}"
        return Checked(backup, str(session), f"it is of {what}")
    return Checked(backup, str(session))


def _differs(backup: pathlib.Path) -> str:
    """How a backup differs from its manifest, where it has one: those of earlier versions have none."""
    path = manifest_of(backup)
    if not path.exists():
        return ""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    size = backup.stat().st_size
    if size != manifest["bytes"]:
        return f"it has {size:,} bytes, and {manifest['bytes']:,} were written"
    return "" if sha256(backup) == manifest["sha256"] else "its content is not what was written"


def _read_all(connection: DuckDBPyConnection, tables: Iterable[str]) -> None:
    """Have DuckDB look at each block in use: its checksums tell of damage when they are read, and not before."""
    for name in tables:
        connection.execute(f"SELECT max(hash(t)) FROM {identifier(name)} t").fetchall()


def newest_good() -> pathlib.Path | None:
    """The newest backup that the database can be restored from."""
    return next((path for path in reversed(backup_paths()) if not check(path).fault), None)
