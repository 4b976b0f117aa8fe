"""How a line of the log looks; `config/logging.ini` names it."""

from __future__ import annotations

import logging

from pipeline.text import shown


class LineFormatter(logging.Formatter):
    """One record begins one line, whatever its text holds: what cannot be seen is written out, further lines are indented."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record)).replace("\n", "\n    ")
