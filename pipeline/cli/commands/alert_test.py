"""`pipeline alert-test`."""

from __future__ import annotations

import click

from pipeline.runs import channel_test
from pipeline.text import shown


@click.command()
def command() -> None:
    """Send a test message through every channel: Slack, Discord, the Redis list system_alerts, and Luigi's e-mail.

    The exit code is 1 when a channel that is configured does not take it.

    \b
    pipeline alert-test
    SLACK_WEBHOOK_URL=https://hooks.slack.com/services/... pipeline alert-test
    """
    for channel, outcome in channel_test.send_test().items():
        click.echo(f"{channel + ':':10}{shown(str(outcome))}")
