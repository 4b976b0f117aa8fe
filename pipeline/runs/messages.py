"""Messages of success. One that nobody took waits in the table `unsent_messages`, and a later run sends it.

The log has each at once. One webhook that takes a message is enough, as it is for alerts.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline import calendar
from pipeline.database.connection import database_path, reading, writing
from pipeline.errors import PipelineError
from pipeline.runs import notifications

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("pipeline")

#: Messages that are sent late, newest ones; of older ones the number is enough, as people have the log.
MOST = 10

Waiting = tuple[int, str, dt.datetime]


def notify(text: str, kept: int | None = None) -> list[str]:
    """Log `text` and send it to every configured webhook; the names of the channels that took it.

    When there are some and none did, the next run sends it. `kept` is its number when it was kept beforehand.
    """
    logger.info(text)
    reasons = notifications.send(text)
    taken = [name for name, reason in reasons.items() if reason is None]
    if taken and kept is not None:
        _try("the next run sends this message again", lambda: _forget(kept, kept))
    elif reasons and not taken and kept is None:
        _try("no webhook took it, and it cannot be kept", lambda: _keep(text))
    return taken


def keep(connection: DuckDBPyConnection, text: str) -> int | None:
    """Keep a message with the connection, and so in its transaction, for whoever is killed behind the commit.

    Its number; None when there is no webhook that waits for it.
    """
    if not any(notifications.configured()):
        return None
    ((number,),) = connection.execute(
        "INSERT INTO unsent_messages (text, written_at) VALUES (?, ?) RETURNING id", [text, calendar.now()]
    ).fetchall()
    return int(number)


def _keep(text: str) -> None:
    with writing() as connection:
        keep(connection, text)


def _try(failing: str, action: Callable[[], None]) -> None:
    try:
        action()
    except PipelineError as error:
        logger.warning("%s: %s", failing, error)


def send_unsent() -> None:
    """Send what waits, oldest first, until nobody takes one. Raises PipelineError for a database that is locked."""
    waiting = _waiting()
    older = waiting[:-MOST]
    if older and _is_sent(f"{len(older)} older messages, which no webhook took then, are in the log alone"):
        _forget(0, older[-1][0])
    elif older:
        return
    for number, text, written_at in waiting[-MOST:]:
        if not _is_sent(f"of {written_at:%Y-%m-%d %H:%M %Z}, which no webhook took then:\n{text}"):
            return
        _forget(0, number)


def _waiting() -> list[Waiting]:
    """None in a database that is older than the table, which gets it when it is next written."""
    if not database_path().exists():
        return []
    with reading() as connection:
        if not connection.execute("FROM duckdb_tables() WHERE table_name = 'unsent_messages'").fetchall():
            return []
        return connection.execute("SELECT id, text, written_at FROM unsent_messages ORDER BY id").fetchall()


def _is_sent(text: str) -> bool:
    """True also when there is no webhook any more: then nobody waits for it."""
    reasons = notifications.send(text)
    return not reasons or None in reasons.values()


def _forget(first: int, last: int) -> None:
    with writing() as connection:
        connection.execute("DELETE FROM unsent_messages WHERE id BETWEEN ? AND ?", [first, last])
