"""SQL as DuckDB's own parser sees it: a tree of dictionaries and lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Tree = dict[str, Any]


def parsed(connection: DuckDBPyConnection, text: str) -> Tree:
    """What the parser says: `statements`, each a SELECT of some form, or `error` with `error_message`.

    The places in the text are left out, so that two trees are equal when their meaning is. A tree too deep for
    Python's reader of JSON is an error, too.
    """
    ((answer,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchall()
    try:
        tree: Tree = json.loads(answer, object_hook=_without_locations)
    except RecursionError:
        return {"error": True, "error_message": "it is nested too deeply"}
    return tree


def _without_locations(node: Tree) -> Tree:
    return {key: value for key, value in node.items() if not key.startswith("query_location")}


def nodes(tree: Any) -> Iterator[Tree]:
    """All dictionaries of a tree in the order of the text, however deep they lie."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))


def depth(tree: Any) -> int:
    """How many dictionaries and lists lie within each other."""
    levels, layer = 0, [tree]
    while layer := [value for value in layer if isinstance(value, dict | list)]:
        levels += 1
        layer = [inner for value in layer for inner in (value.values() if isinstance(value, dict) else value)]
    return levels
