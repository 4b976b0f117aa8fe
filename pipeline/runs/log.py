"""What a run says in its log: plain words, errors that explain themselves without a traceback, one line a record."""

from __future__ import annotations

import logging
import re

import luigi.configuration

from pipeline.config import ROOT
from pipeline.errors import PipelineError
from pipeline.luigi_private import CHATTER, UNANSWERED_PING, WORKER_PREFIX
from pipeline.text import shown


def set_up() -> None:
    """Have Luigi log as config/logging.ini says, unless the operator has a file for that."""
    config = luigi.configuration.get_config()
    default = ROOT / "config" / "logging.ini"
    if not config.get("core", "logging_conf_file", "") and default.exists():
        config.set("core", "logging_conf_file", str(default))
    for words in (plain_words, plain_errors):
        logging.getLogger("luigi-interface").addFilter(words)


#: A traceback down to an error of ours, whose message is all that a person needs.
_OUR_TRACEBACK = re.compile(
    r"Traceback \(most recent call last\):\n.*^pipeline\.[\w.]+Error: ", re.DOTALL | re.MULTILINE
)


def plain_words(record: logging.LogRecord) -> bool:
    """A logging filter: lines on tasks lose the worker's name, and lines without news are left out."""
    text = str(record.msg)
    if text.startswith(WORKER_PREFIX) and isinstance(record.args, tuple):
        record.msg, record.args = text.removeprefix(WORKER_PREFIX), record.args[2:]
    return not (record.levelno == logging.INFO and text.startswith(CHATTER)) and text != UNANSWERED_PING


def plain_errors(record: logging.LogRecord) -> bool:
    """A logging filter: errors that explain themselves lose their traceback; all records pass."""
    if record.exc_info and isinstance(record.exc_info[1], PipelineError):
        record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
        record.exc_info = record.exc_text = None
    elif isinstance(record.msg, str) and "Traceback" in record.msg and not record.args:
        record.msg = _OUR_TRACEBACK.sub("", record.msg)
    return True


#: The dates of a combined run, as a task's name has them.
_DATES = re.compile(r"(\d{4}-\d\d-\d\d)((?:,\d{4}-\d\d-\d\d)+),(\d{4}-\d\d-\d\d)")


def with_spans(text: str) -> str:
    """The text with three dates and more in a row named by the first, the last and their number."""
    return _DATES.sub(lambda found: f"{found[1]} to {found[3]}, {found[2].count(',') + 2} sessions", text)


class LineFormatter(logging.Formatter):
    """Named by config/logging.ini. One record begins one line, whatever its text holds.

    What cannot be seen is written out, further lines are indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        return with_spans(shown(super().format(record))).replace("\n", "\n    ")
