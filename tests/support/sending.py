"""A process that is killed while it sends a transaction to Redis."""

from __future__ import annotations

import os
import signal
from typing import Any


def end_half_sent() -> None:
    """Have this process end when half of what follows the next MULTI was sent."""
    from redis.connection import AbstractConnection

    original = AbstractConnection.send_packed_command
    sent: list[bytes] = []

    def send(self: Any, command: Any, check_health: bool = True) -> None:
        packed = b"".join(command)
        if any(b"MULTI" in before for before in sent):
            original(self, [packed[: len(packed) // 2]], check_health)
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, [packed], check_health)
        sent.append(packed)

    AbstractConnection.send_packed_command = send  # type: ignore[method-assign]
