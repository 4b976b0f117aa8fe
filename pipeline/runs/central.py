"""What the central scheduler knows, when it answers. Luigi's own client, with its errors and its JSON made ours."""

from __future__ import annotations

import dataclasses
import datetime as dt
import http.client
from typing import Any
from urllib.parse import urlsplit

import luigi.configuration
import tenacity
from luigi.rpc import RPCError

from pipeline.errors import SchedulerUnreachableError
from pipeline.luigi_private import OpenRemoteScheduler

DEFAULT_URL = "http://127.0.0.1:8082/"

#: Seconds within which a scheduler that is well says something.
PATIENCE = 5.0


@dataclasses.dataclass(frozen=True)
class KnownTask:
    """A task as the scheduler sees it; `sessions` has several for a combined one, none for one without a date."""

    task_id: str
    family: str
    sessions: tuple[dt.date, ...]
    status: str
    message: str = ""
    percent: int | None = None


class Inquiry(OpenRemoteScheduler):
    """Asks the central scheduler once: who only looks does not wait for one that is away."""

    def retrying(self) -> tenacity.Retrying:
        return tenacity.Retrying(stop=tenacity.stop_after_attempt(1), reraise=True)


def scheduler_url() -> str:
    return luigi.configuration.get_config().get("core", "scheduler_url", "") or DEFAULT_URL


def address() -> tuple[str, int]:
    """Host and port of `[core] scheduler_url`, which may leave out either."""
    url = urlsplit(scheduler_url())
    return url.hostname or "127.0.0.1", url.port or 8082


def answers() -> bool:
    """Whether a server at `[core] scheduler_url` answers: one that hangs lets itself be called, too."""
    connection = http.client.HTTPConnection(*address(), timeout=PATIENCE)
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except http.client.HTTPException:  # it speaks TLS, say
        return True
    except OSError:
        return False
    finally:
        connection.close()
    return True


def known_tasks(status: str) -> list[KnownTask]:
    """The scheduler's tasks of one status, such as RUNNING or DISABLED. Raises SchedulerUnreachableError."""
    found = _call("task_list", status=status, upstream_status="", limit=False)
    return [_known_task(task_id, facts) for task_id, facts in found.items()]


def enable_again(task: KnownTask) -> None:
    """Lift the ban on a task that failed too often. Raises SchedulerUnreachableError."""
    _call("re_enable_task", task_id=task.task_id)


def _call(method: str, **values: Any) -> Any:
    try:
        return Inquiry(scheduler_url().rstrip("/")).call(method, **values)
    except RPCError as error:
        raise SchedulerUnreachableError(
            f"the central scheduler at {scheduler_url()} does not answer ({error}); start it with scripts/luigid, or "
            f"set [core] scheduler_url"
        ) from error


def _known_task(task_id: str, facts: dict[str, Any]) -> KnownTask:
    return KnownTask(
        task_id,
        facts["name"],
        tuple(_dates(facts["params"].get("date", ""))),
        facts["status"],
        facts.get("status_message") or "",
        facts.get("progress_percentage"),
    )


def _dates(text: str) -> list[dt.date]:
    try:
        return [dt.date.fromisoformat(part) for part in text.split(",")]
    except ValueError:  # a task of other people's
        return []
