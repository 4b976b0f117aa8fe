"""`pipeline events`."""

from __future__ import annotations

import json

import click

from pipeline import calendar
from pipeline.errors import EventDeliveryError
from pipeline.feed import delivery


@click.command()
@click.option("--check", is_flag=True, help="Send a probe by each transport, and read it again.")
@click.option("--deliver", is_flag=True, help="Deliver now what waits.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def command(check: bool, deliver: bool, as_json: bool) -> None:
    """Show the transports of events, and how many events wait for each.

    The exit code of --check is 1 when a probe does not arrive.

    \b
    pipeline events
    pipeline events --check        after [events] was changed
    pipeline events --deliver      when a broker is there again, without waiting for the next run
    """
    if deliver:
        delivery.deliver()
    if check:
        show_probes(delivery.probe())
        return
    standing = delivery.standing()
    if as_json:
        click.echo(json.dumps(standing, indent=1, default=str))
        return
    for line in standing:
        since = f", the oldest since {calendar.local(line['since'])}" if line["since"] else ""
        click.echo(f"{line['transport']}: {line['waiting']:,} events wait{since}")
    if not standing:
        click.echo("no transport is configured: [events] file, redis_stream or kafka_servers")


def show_probes(found: dict[str, str]) -> None:
    """Raises EventDeliveryError, which names them all, when a probe did not arrive."""
    for name, place in found.items():
        if not place.startswith("!"):
            click.echo(f"{name}: the probe arrived ({place})")
    failed = [f"{name}: {place[2:]}" for name, place in found.items() if place.startswith("!")]
    if failed:
        raise EventDeliveryError("; ".join(failed))
    if not found:
        click.echo("no transport is configured: [events] file, redis_stream or kafka_servers")
