"""Messages to people: the log always, Slack and Discord where a webhook is configured.

A webhook that is down, slow or wrong is a warning, never a failure: what happened stands in the database.
"""

from __future__ import annotations

import logging

from pipeline.config import alerts

logger = logging.getLogger("pipeline")

#: Discord refuses longer contents.
DISCORD_LIMIT = 2000


def notify(text: str) -> list[str]:
    """Log `text` and send it to every configured webhook; the names of the channels that took it."""
    logger.info(text)
    payloads = {
        "slack": (alerts().slack_webhook_url, {"text": _escaped_for_slack(text)}),
        "discord": (alerts().discord_webhook_url, {"content": text[:DISCORD_LIMIT], "allowed_mentions": {"parse": []}}),
    }
    return [name for name, (url, payload) in payloads.items() if url and _post(name, url, payload)]


def _post(name: str, url: str, payload: dict[str, object]) -> bool:
    import requests

    try:
        response = requests.post(url, json=payload, timeout=alerts().timeout)
    except requests.RequestException as error:  # its text carries the URL, which is a secret
        logger.warning("the %s webhook could not be reached: %s", name, type(error).__name__)
        return False
    if not response.ok:
        logger.warning("the %s webhook answered HTTP %d", name, response.status_code)
    return response.ok


def _escaped_for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
