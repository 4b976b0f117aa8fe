"""The small command line beside Luigi's: one command a file in `pipeline/cli/commands/`, listed in its `__init__`."""

from __future__ import annotations

import contextlib
import difflib
import errno
import functools
import importlib
import keyword
from collections.abc import Callable, Iterator
from typing import Any

import click

from pipeline import given
from pipeline.cli import settings
from pipeline.cli.arguments import SETTING
from pipeline.cli.commands import COMMANDS
from pipeline.config import storage
from pipeline.errors import NothingKnownError, PipelineError
from pipeline.host.streams import open_standard_streams
from pipeline.runs import configuration
from pipeline.text import shown

#: Options that every command takes, before or after its name.
SETTINGS = (
    click.Option(
        ["--data-dir"], metavar="FOLDER", expose_value=False, callback=settings.take_data_dir,
        help="Folder of the database, instead of [storage] data_dir.",
    ),
    click.Option(
        ["--set"], type=SETTING, metavar="SECTION.NAME=VALUE", multiple=True, expose_value=False,
        callback=settings.take_settings,
        help="A setting for this command, such as market.source=simulated; may be repeated.",
    ),
)  # fmt: skip


#: Commands that look at what runs have left, and so need a folder of theirs.
READING = ("alerts", "evaluate", "explain", "query", "reset", "restore", "show", "status", "try", "watchlist")
#: Commands that say what is wrong with the settings, and so work with wrong ones.
LOOKING = ("doctor", "config")


#: Errors of writing; those that name no file are of the standard output.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    try:
        yield
    except PipelineError as error:
        raise click.ClickException(shown(str(error))) from error
    except OSError as error:
        if error.errno not in (*NO_ROOM, *NO_RIGHT):
            raise
        place = f"{error.filename}:" if error.filename else "the output cannot be written:"
        raise click.ClickException(f"{place} {error.strerror}") from error


class Commands(click.Group):
    """Imports a command when it is called. Errors of ours are a message and exit code 1, not a traceback."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name.lower().replace("_", "-"), COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(COMMANDS)}"
            context.fail(f"no such command {shown(repr(name))}; {hint}")
        return super().resolve_command(context, arguments)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pipeline.cli.commands.{module_of(name)}").command
        if name in READING and command.callback and not hasattr(command, "is_guarded"):
            command.callback, command.is_guarded = _with_folder(command.callback), True  # type: ignore[attr-defined]
        taken = {option for parameter in command.params for option in parameter.opts}
        command.params.extend(option for option in SETTINGS if not taken.intersection(option.opts))
        return command

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with plain_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, context: click.Context) -> Any:
        with plain_errors():
            return super().invoke(context)


def module_of(name: str) -> str:
    """The file of a command, whose name may be a word of Python's."""
    return name.replace("-", "_") + ("_" if keyword.iskeyword(name) else "")


def _with_folder(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The command, which says so where there is no folder, before it does anything."""

    @functools.wraps(callback)
    def checked(*arguments: Any, **options: Any) -> Any:
        check_folder()
        return callback(*arguments, **options)

    return checked


def check_folder() -> None:
    """Raises NothingKnownError where there is no folder to look into: nothing ran there, or its name is mistyped."""
    root = storage().root
    if not root.is_dir():
        raise NothingKnownError(
            f"{root} does not exist: nothing has been run there. --data-dir names another folder; "
            f"a first run makes it: {given.luigi_command('DailyPipeline')}"
        )


@click.group(
    cls=Commands,
    params=list(SETTINGS),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="nasdaq-daily-pipeline")
@click.pass_context
def main(context: click.Context) -> None:
    """Look at, and after, the daily pipeline.

    The work itself is done by Luigi: luigi --module pipeline DailyPipeline --date 2024-02-20

    \b
    Completion of commands and options in the shell, for ~/.bashrc or ~/.zshrc:
        eval "$(_PIPELINE_COMPLETE=bash_source pipeline)"
        eval "$(_PIPELINE_COMPLETE=zsh_source pipeline)"
    """
    open_standard_streams()
    if context.invoked_subcommand not in LOOKING:
        configuration.check_files()
