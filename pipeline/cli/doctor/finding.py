"""What a check of the installation says: how grave it is, and the command that mends it."""

from __future__ import annotations

import dataclasses

OK, NOTE, WARNING, FAILURE = "ok", "note", "warning", "failure"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check says. A `failure` needs somebody now, a `warning` some day; `command` is what to do."""

    level: str
    check: str
    text: str
    command: str = ""
