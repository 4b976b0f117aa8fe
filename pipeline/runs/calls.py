"""What may be asked of the central scheduler: every argument of a call, checked before it reaches what luigid keeps.

Luigi takes what comes. A priority that is a text, or a resource without a number, stays in its state, and from then on
no worker gets an answer; its page would follow an address of any kind.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from luigi.scheduler import (
    BATCH_RUNNING,
    DISABLED,
    DONE,
    FAILED,
    PENDING,
    RPC_METHODS,
    RUNNING,
    UNKNOWN,
    RetryPolicy,
    Scheduler,
)

STATUSES = frozenset({PENDING, FAILED, DONE, RUNNING, BATCH_RUNNING, UNKNOWN, DISABLED})
#: Characters of a name (the name of a combined task has its dates), and of a text (the traceback of an error).
LONGEST_NAME, LONGEST_TEXT = 20_000, 1_000_000
LARGEST = 1e15


class CallError(ValueError):
    """A call that Luigi's own clients do not make; the message says what is wrong with it."""


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_count(value: Any) -> bool:
    """A number, or infinity, which Luigi has for "no limit"."""
    is_a_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_a_number and (abs(value) <= LARGEST or value == math.inf)


def is_number(value: Any) -> bool:
    return is_count(value) and value != math.inf


def is_address(value: Any) -> bool:
    """A page of HTTP; an address that is a script would run where it is followed."""
    try:
        return is_text(value) and urlsplit(value).scheme in ("http", "https")
    except ValueError:
        return False


def is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_name, value))


def is_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_name, value)) and all(map(is_number, value.values()))


def is_policy(value: Any) -> bool:
    is_known = isinstance(value, dict) and set(value) <= set(RetryPolicy._fields)
    return is_known and all(each is None or is_count(each) for each in value.values())


def is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_name, value)) and all(map(is_text, value.values()))


def is_facts(value: Any) -> bool:
    """What a worker says of itself: pairs of a name and a value."""
    pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2] if isinstance(value, list) else []
    return isinstance(value, list) and len(pairs) == len(value) and all(map(_is_fact, pairs))


def _is_fact(pair: list[Any]) -> bool:
    name, value = pair
    if name == "workers":
        return is_number(value)
    return is_name(name) and (value is None or is_flag(value) or is_text(value) or is_number(value))


#: Every argument of the scheduler's methods, by its name; those of WANTED may not be null.
ARGUMENTS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("task_id", "worker", "family", "module", "task_family", "task_name", "task", "host", "resource",
                     "batch_id", "message_id"), is_name),
    **dict.fromkeys(("expl", "search", "task_str", "content", "response", "status_message",
                     "upstream_status"), is_text),
    **dict.fromkeys(("runnable", "assistant", "accepts_messages", "batchable", "include_done",
                     "include_running"), is_flag),
    **dict.fromkeys(("priority", "n", "amount", "progress_percentage", "max_shown_tasks"), is_number),
    **dict.fromkeys(("deps", "new_deps", "batched_args", "current_tasks", "owners"), is_names),
    **dict.fromkeys(("resources", "decrease_resources", "param_visibilities"), is_numbers),
    "params": is_texts,
    "retry_policy_dict": is_policy,
    "max_batch_size": is_count,
    "tracking_url": is_address,
    "info": is_facts,
    "limit": lambda value: is_flag(value) or is_number(value),
    "statistics": lambda value: isinstance(value, dict),
    "status": lambda value: isinstance(value, str) and (value in STATUSES or not value),
}  # fmt: skip
WANTED = frozenset({
    "worker", "priority", "n", "amount", "max_batch_size", "batched_args", "info", "progress_percentage", "message_id",
    "decrease_resources", "statistics", "resource",
})  # fmt: skip
#: What has a default in Luigi's signature, or none there, and is needed all the same.
NEEDED = {"add_task": ("task_id", "worker"), "get_work": ("worker",), "ping": ("worker",)}
#: Arguments that Luigi's clients leave empty where there is none.
MAY_BE_EMPTY = frozenset({"family", "module", "task_id", "host"})


def checked(method: str, payload: str) -> dict[str, Any]:
    """The arguments of a call. Raises CallError for any that the scheduler could not keep, or does not know."""
    try:
        arguments = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise CallError("the arguments are no JSON") from error
    if not isinstance(arguments, dict):
        raise CallError("the arguments are no object")
    if method == "update_resources":
        if not is_numbers(arguments):
            raise CallError("resources are names with numbers")
        return arguments
    for name in NEEDED.get(method, ()):
        if not arguments.get(name):
            raise CallError(f"{name} is missing")
    for name, value in arguments.items():
        _check(method, name, value)
    _check_whole(method, arguments)
    return arguments


def _check_whole(method: str, arguments: dict[str, Any]) -> None:
    """Each method gets what it cannot do without; what is no method is for Luigi to say."""
    if method not in RPC_METHODS:
        return
    try:
        inspect.signature(getattr(Scheduler, method)).bind(None, **arguments)
    except TypeError as error:
        raise CallError(f"{method}: {error}") from error


def _check(method: str, name: str, value: Any) -> None:
    if name not in ARGUMENTS:
        raise CallError(f"{method} takes no such argument: {name[:40]!r}")
    is_absent = (value is None and name not in WANTED) or (
        value == "" and name in MAY_BE_EMPTY and method != "add_task"
    )
    if method == "add_task" and name == "status" and not value:
        raise CallError("status cannot be empty")
    if not (is_absent or (value == "" and name in ("family", "module", "host")) or ARGUMENTS[name](value)):
        raise CallError(f"{name} cannot be {str(value)[:40]!r}")
