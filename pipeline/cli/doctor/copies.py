"""The copies of the database: the replica that readers open, the tables for other engines, and the backups."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pipeline import given
from pipeline.cli.doctor.finding import FAILURE, NOTE, OK, WARNING, Finding
from pipeline.database.backups import backup_folder, backup_paths, check, sha256
from pipeline.database.connection import database_path, reading
from pipeline.database.replica import manifest_path, replica_path
from pipeline.lake.places import is_wanted, title
from pipeline.tasks.lake import PublishLake


def replica() -> Iterator[Finding]:
    if not replica_path().exists() or not manifest_path().exists():
        yield Finding(FAILURE, "replica", f"{replica_path()} has not been published yet")
        return
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    if manifest["bytes"] != replica_path().stat().st_size:
        yield Finding(
            WARNING,
            "replica",
            "the manifest is not that of the replica: a run was killed between the two; the next run puts it right",
        )
        return
    if manifest["sha256"] != sha256(replica_path()):
        text = f"{replica_path()} is not what was published: it was changed or is damaged. Delete it, then"
        yield Finding(FAILURE, "replica", text, given.pipeline_command("retry", manifest["session"]))
        return
    yield Finding(
        OK,
        "replica",
        f"of session {manifest['session']}, published {manifest['published_at'][:19]} UTC, {manifest['bytes']:,} bytes",
    )


def lake() -> Iterator[Finding]:
    """Whether the tables for other engines, where they are asked for, have the newest session that is done."""
    if not is_wanted() or not database_path().exists():
        return
    with reading() as connection:
        query = "SELECT max(session) FROM finished_stages WHERE stage = 'CloseSession'"
        (done,) = connection.execute(query).fetchone() or (None,)
    if done and PublishLake.recorded([done]):
        yield Finding(OK, "lake", f"{title()} has {done}, the newest session that is done")
    elif done:
        command = given.luigi_command("PublishLake", "--date", str(done))
        yield Finding(WARNING, "lake", f"{title()} lacks {done}, the newest session that is done", command)


def backups() -> Iterator[Finding]:
    paths = backup_paths()
    if not paths:
        yield Finding(
            NOTE, "backups", f"there is none in {backup_folder()} yet; a replica that is published brings one"
        )
        return
    newest = check(paths[-1])
    if newest.fault:
        advice = "" if newest.session else ". Delete it"  # one that can be read is good for other code or settings
        yield Finding(FAILURE, "backups", f"{newest.path} could not be put back: {newest.fault}{advice}")
        return
    yield Finding(OK, "backups", f"{len(paths)}, the newest with bars up to {newest.session}: {newest.path.name}")
