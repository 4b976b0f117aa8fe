"""Messages to people through Slack and Discord, where a webhook is configured; what the log has, the caller writes.

A webhook that is down, slow or wrong is a warning, never a failure: what happened stands in the database. One that
answers 429 is asked again when it said, within `[alerts] max_wait`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import tenacity

from pipeline.config import alerts
from pipeline.retry_after import seconds_of

logger = logging.getLogger("pipeline")

#: Everything that a test message goes through.
CHANNELS = ("slack", "discord", "redis", "e-mail")

#: Bytes of a webhook's answer: Slack says "ok", Discord nothing.
LONGEST_ANSWER = 1 << 16

#: Both refuse longer texts.
SLACK_LIMIT, DISCORD_LIMIT = 40_000, 2000


def send(text: str) -> dict[str, str | None]:
    """Send `text` to every configured webhook; by its name why it did not take the text, None when it did."""
    return {webhook.name: webhook.post(text) for webhook in configured()}


def configured() -> Iterator[Webhook]:
    """The webhooks that have an address."""
    settings = alerts()
    if settings.slack_webhook_url:
        yield Webhook("slack", settings.slack_webhook_url, for_slack)
    if settings.discord_webhook_url:
        yield Webhook("discord", settings.discord_webhook_url, for_discord)


def for_slack(text: str) -> dict[str, Any]:
    """The three characters that Slack gives a meaning are escaped, so that no name becomes a link or a mention."""
    escaped = shortened(text, SLACK_LIMIT).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped}


def for_discord(text: str) -> dict[str, Any]:
    """Nobody is mentioned, whatever the text says."""
    return {"content": shortened(text, DISCORD_LIMIT), "allowed_mentions": {"parse": []}}


def shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


class _Later(Exception):
    """The webhook did not take the message now; `seconds` is how long it asks to wait, None when it does not say."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


@dataclasses.dataclass(frozen=True)
class Webhook:
    """One address, which is a secret: it stands in no message of ours. `payload` makes the body of a text."""

    name: str
    url: str = dataclasses.field(repr=False)
    payload: Callable[[str], dict[str, Any]] = dataclasses.field(repr=False)

    def post(self, text: str) -> str | None:
        """None when the webhook took the text, else why not, which is logged too. Takes `[alerts] max_wait` at most."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Later),
            wait=_patience,
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(1 + alerts().retries), tenacity.stop_before_delay(alerts().max_wait)
            ),
            reraise=True,
        )
        try:
            reason = retrying(self._attempt, self.payload(text))
        except _Later as error:
            reason = str(error)
        if reason:
            logger.warning("the %s webhook %s", self.name, reason)
        return reason

    def _attempt(self, payload: dict[str, Any]) -> str | None:
        from pipeline.sources.web import Bound, BoundedSession, NoAnswer, WebError

        try:  # a redirection would give the message to somebody else
            with BoundedSession(Bound(alerts().timeout, LONGEST_ANSWER), follow=False) as http:
                response = http.post(self.url, json=payload)
            status, patience = response.status_code, seconds_of(response.headers.get("Retry-After"))
        except WebError as error:
            if not error.status:
                found = f"gave {error}"
                if isinstance(error, NoAnswer):
                    raise _Later(found) from None  # curl's own words have the URL
                return found
            status, patience = error.status, None  # it said yes or no; what it says beside that is nothing to us
        if status == 429 or status >= 500:
            raise _Later(f"answered HTTP {status}", patience)
        return None if status < 300 else f"answered HTTP {status}"


def _patience(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.seconds if isinstance(error, _Later) else None
    return asked if asked is not None else tenacity.wait_exponential_jitter(multiplier=0.5, max=8.0)(state)


def send_email_test(text: str) -> dict[str, str | None]:
    """Send `text` by Luigi's own e-mail, if `[email] receiver` is set; why it was not taken, None when it was."""
    import luigi.configuration
    from luigi.notifications import email as settings
    from luigi.notifications import send_error_email

    if not settings().receiver:
        return {}
    luigi.configuration.get_config().set("email", "force_send", "true")  # Luigi sends none from a terminal
    try:
        send_error_email("test of the alerts", text)
    except OSError as error:  # all errors of smtplib are
        return {"e-mail": f"{type(error).__name__}: {error}"}
    return {"e-mail": None}
