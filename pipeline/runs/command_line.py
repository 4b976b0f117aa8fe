"""Luigi's command line, read before Luigi reads it, and written again for the next call."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import luigi.configuration
from luigi.task_register import Register

from pipeline import given
from pipeline.errors import CommandLineError

#: Options of the run itself that a settings file may have, too, and the words that say what is to be done.
SCHEDULER = ("--scheduler-url", "--scheduler-host", "--scheduler-port")
RANGE = ("--of", "--of-params", "--start", "--stop")
SUBJECT = ("--module", "--date", *RANGE)
FLAGS = ("--local-scheduler", "--only-stale", "-h", "--help", "--help-all")


def read(arguments: Sequence[str]) -> argparse.Namespace:
    """The options that matter before Luigi parses them, or after it has forgotten them.

    Settings of ours that the command line gives become those of the configuration, so that they hold until the process
    ends. Raises CommandLineError for an option of these that is abbreviated: Luigi would take it, and half of the run
    would not.
    """
    settings = given.options()
    _refuse_abbreviations(arguments, [*settings, *SCHEDULER, *SUBJECT, *FLAGS])
    options = _parser(settings).parse_known_args(list(arguments))[0]
    for name, setting in settings.items():
        value = getattr(options, _attribute(name))
        if value is not None:
            given.give(*setting, value)
    return options


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options that matter here, with no effect on anything."""
    return _parser(given.options()).parse_known_args(list(arguments))[0]


def _parser(settings: Sequence[str] | dict[str, tuple[str, str]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    is_local = luigi.configuration.get_config().getboolean("core", "local_scheduler", False)
    parser.add_argument("--local-scheduler", action="store_true", default=is_local)
    parser.add_argument("-h", "--help", "--help-all", action="store_true")
    parser.add_argument("--only-stale", action="store_true")
    for name in (*SCHEDULER, *SUBJECT):
        parser.add_argument(name, default="")
    for name in settings:
        parser.add_argument(name)
    return parser


def _attribute(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _refuse_abbreviations(arguments: Sequence[str], known: Sequence[str]) -> None:
    for argument in arguments:
        name = argument.partition("=")[0]
        meant = [option for option in known if option.startswith(name)]
        if name.startswith("--") and len(name) > 2 and meant and name not in known:
            raise CommandLineError(f"{name} is no option; write it whole: {', '.join(meant[:5])}")


def again(arguments: Sequence[str], date: str) -> str:
    """The command that does again, for one date, what this command line asked for, with all its options.

    Under a central scheduler that is `pipeline retry`, for what it takes: it enables what the scheduler has given up.
    Without a date it is the command itself.
    """
    options, others = _parser(given.options()).parse_known_args(list(arguments))
    names = set(Register.task_names())
    root = next((word for word in others if word in names), "DailyPipeline")
    repeated = SCHEDULER if date else (*SCHEDULER, *RANGE)
    words = [word for name in repeated if (value := getattr(options, _attribute(name))) for word in (name, value)]
    words += [flag for flag in ("--local-scheduler", *(() if date else ("--only-stale",))) if flag in arguments]
    words += [word for word in others if word != root]
    task = (date and options.of) or root
    if not date or options.local_scheduler or task not in given.RETRIED:  # local: asked for, or none other answers
        return given.luigi_command(task, *(["--date", date] if date else []), *words)
    return given.retry_command(task, date, *words)
