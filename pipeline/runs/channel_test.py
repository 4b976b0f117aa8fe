"""The test of the channels: one message through each of them, and what became of it."""

from __future__ import annotations

from pipeline import calendar
from pipeline.errors import AlertTestError
from pipeline.feed import mirror
from pipeline.runs import notifications


def send_test() -> dict[str, str]:
    """Send a test message through every channel; what became of it by channel, "not configured" among it.

    Raises AlertTestError, which names them all, when a configured channel did not take it.
    """
    text = f"TEST of the alerts of the NASDAQ daily pipeline, {calendar.now():%Y-%m-%d %H:%M %Z}; nothing has failed"
    outcomes: dict[str, str] = dict.fromkeys(notifications.CHANNELS, "not configured")
    reasons = notifications.send(text) | {"redis": mirror.push_test_alert(text)} | notifications.send_email_test(text)
    outcomes |= {name: reason or "sent" for name, reason in reasons.items()}
    failed = {name: reason for name, reason in outcomes.items() if reason not in ("sent", "not configured")}
    if failed:
        raise AlertTestError("; ".join(f"{name}: {reason}" for name, reason in outcomes.items()))
    return outcomes
