"""The read-only copy of the database for readers: copied, verified, and then published with one rename.

The replica and its manifest are two files, and no rename replaces both. So each replica has a name of its own, too, in
`replica/versions/`, which the manifest says (`file`): who reads the manifest and opens what it names has that very
replica, however many are published meanwhile. The one before stays until the next one comes.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import pathlib
import shutil
import time
from typing import TYPE_CHECKING, Any

from pipeline import calendar, given
from pipeline.config import market, storage
from pipeline.database import comments
from pipeline.database.backups import back_up, sha256
from pipeline.database.connection import database_path, reading, writing
from pipeline.database.schema import TABLES
from pipeline.database.sql import identifier
from pipeline.errors import DatabaseDamagedError, ReplicaError
from pipeline.host.files import sync, unfinished, write_text
from pipeline.version import code_version

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


#: Seconds from the end of a version in which a reader that has read its name may still open it.
GRACE = 10.0


def replica_path() -> pathlib.Path:
    return storage().root / "replica" / "stock_data_replica.duckdb"


def published() -> pathlib.Path:
    """The replica that readers open. Raises ReplicaError when none was published yet."""
    if not replica_path().exists():
        raise ReplicaError(f"{replica_path()} does not exist; run: {given.luigi_command('DailyPipeline')}")
    return replica_path()


def manifest_path() -> pathlib.Path:
    return replica_path().with_name("manifest.json")


def is_published() -> bool:
    """Whether a replica is there that is as long as its manifest says."""
    try:
        manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
        return manifest.get("bytes", 0) in (0, replica_path().stat().st_size)
    except (OSError, ValueError, AttributeError):
        return False


def publish(session: dt.date) -> dict[str, Any]:
    """Back the database up, and replace the replica by a verified copy; returns the manifest.

    The copy is made from the closed database: DuckDB's lock is a lock of the process, and reading the file beside an
    open connection would drop it. Raises ReplicaError when the copy differs; the published replica then stays.
    """
    facts = checkpoint()
    temporary = unfinished(replica_path())
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        copy(database_path(), temporary)
        verify(temporary, facts)
        manifest = describe(session, temporary, facts)
        back_up(temporary, manifest)
        os.chmod(temporary, 0o444)
        sync(temporary)
        manifest["file"] = _name_version(temporary, manifest["sha256"])
        os.replace(temporary, replica_path())
        sync(replica_path().parent)
    finally:
        temporary.unlink(missing_ok=True)
    outdated = _named_by_manifest()
    write_text(manifest_path(), json.dumps(manifest, indent=1) + "\n")
    _drop_versions({manifest["file"], outdated})
    return manifest


def _name_version(replica: pathlib.Path, digest: str) -> str:
    """Give the replica a second name that is its own; what readers find it by, below the manifest's folder."""
    name = f"versions/{calendar.now():%Y%m%dT%H%M%S.%fZ}-{digest[:12]}.duckdb"
    target = replica_path().parent / name
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(replica, target)
    except FileExistsError:  # the same content, at the same moment
        return name
    except OSError:  # a file system without links
        return replica_path().name
    sync(target.parent)
    return name


def _named_by_manifest() -> str:
    try:
        return str(json.loads(manifest_path().read_text(encoding="utf-8")).get("file", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _drop_versions(kept: set[str]) -> None:
    """Delete the other versions that lost their other name a while ago: a reader may be about to open them."""
    for path in (replica_path().parent / "versions").glob("*.duckdb"):
        if f"versions/{path.name}" not in kept and time.time() - path.stat().st_ctime > GRACE:
            path.unlink()


def checkpoint() -> dict[str, Any]:
    """Bring the write-ahead log into the file, with what its columns mean, and say what a copy must hold."""
    with writing() as connection:
        comments.keep(connection)
        facts = survey(connection)
        connection.commit()
        connection.execute("CHECKPOINT")
        connection.begin()
    return facts


def survey(connection: DuckDBPyConnection) -> dict[str, Any]:
    """The row count of every table, and the last session with bars."""
    tables = [
        name
        for (name,) in connection.execute(
            """
            SELECT table_name
            FROM duckdb_tables()
            WHERE NOT temporary ORDER BY table_name
            """
        ).fetchall()
    ]
    rows = {
        name: (connection.execute(f"SELECT count(*) FROM {identifier(name)}").fetchone() or (0,))[0] for name in tables
    }
    (last,) = connection.execute("SELECT max(date) FROM stock_data").fetchone() or (None,)
    return {"rows": rows, "last_session": str(last)}


def copy(original: pathlib.Path, target: pathlib.Path) -> None:
    if original.with_name(original.name + ".wal").exists():
        raise ReplicaError(
            f"{original}.wal holds rows that are not in the database file yet, so that a copy would lack them; another "
            f"process is writing. Run the command again when it has ended"
        )
    shutil.copyfile(original, target)
    sync(target)


def verify(path: pathlib.Path, facts: dict[str, Any]) -> None:
    """Raises ReplicaError when the copy cannot be opened, lacks a table, or differs in its counts."""
    import duckdb

    try:
        with reading(path) as connection:
            found = survey(connection)
    except (duckdb.Error, DatabaseDamagedError) as error:
        raise ReplicaError(f"the copy of the database cannot be opened ({error}); {_kept()}") from error
    missing = sorted(set(TABLES) - set(found["rows"]))
    if missing:
        raise ReplicaError(f"the copy of the database lacks the tables {', '.join(missing)}; {_kept()}")
    if found != facts:
        different = {name for name, _ in set(found["rows"].items()) ^ set(facts["rows"].items())}
        raise ReplicaError(
            f"the copy differs from the database in {', '.join(sorted(different)) or 'its dates'}; {_kept()}"
        )


def _kept() -> str:
    return f"{replica_path()} stays as it was"


def describe(session: dt.date, path: pathlib.Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The manifest: which session, what is inside, and how to tell that the file is whole."""
    return {
        "session": str(session),
        "source": market().source,
        "published_at": calendar.now().isoformat(),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "code_version": code_version(),
        **facts,
    }
