"""`pipeline doctor`."""

from __future__ import annotations

import dataclasses
import json

import click

from pipeline import calendar
from pipeline.cli.doctor import FAILURE, Finding, examine
from pipeline.cli.terminal import console, escape
from pipeline.database.connection import database_path
from pipeline.masking import masked
from pipeline.runs import alerts, guard, metrics, notifications

COLOURS = {"ok": "green", "note": "dim", "warning": "yellow", "failure": "bold red"}


@click.command()
@click.option("--alert", is_flag=True, help="Raise an alert for what fails: a row, and a message to Slack or Discord.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def command(alert: bool, as_json: bool) -> None:
    """Examine the installation: settings, Java, disk, database, replica, scheduler, and whether every session is done.

    The exit code is 1 when something fails; above all, when the latest settled session has no finished run.

    \b
    pipeline doctor
    pipeline doctor --alert        from cron or systemd, some hours after the daily run
    """
    findings = examine()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        show(findings)
    failures = [finding for finding in findings if finding.level == FAILURE]
    if alert:
        tell(failures)
    raise SystemExit(1 if failures else 0)


def tell(failures: list[Finding]) -> None:
    """Raise an alert for each failure, and resolve those that are found no more.

    Where the database cannot take them, they are sent all the same: nobody else would tell.
    """
    texts = [f"{finding.check}: {finding.text}" for finding in failures]
    error = guard.error_of(lambda: record(texts))
    if error is not None:
        reason = masked(guard.described(error))
        text = "\n".join(["ALERT of the doctor, not recorded:", *texts, f"the record: {reason}"])
        click.echo(text, err=True)
        notifications.send(text)


def record(texts: list[str]) -> None:
    for text in texts:
        alerts.raise_alert("doctor", "DailyPipeline", calendar.latest_session(), text)
    if database_path().exists():
        alerts.resolve_findings(texts)
        metrics.write()


def show(findings: list[Finding]) -> None:
    screen = console()
    for finding in findings:
        screen.print(f"[{COLOURS[finding.level]}]{finding.level:8}[/] {finding.check:14} {escape(finding.text)}")
        if finding.command:
            screen.print(f"{'':23}  {escape(finding.command)}")
