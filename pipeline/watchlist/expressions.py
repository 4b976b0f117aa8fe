"""SQL expressions that users wrote: read by DuckDB's own parser, and held to a list of what is allowed.

An expression may name columns, constants, comparisons, AND, OR, NOT, IN, BETWEEN, CASE, CAST, LIKE, arithmetic and the
functions below. Everything else is refused: statements, subqueries, tables, parameters, windows, lambdas, and every
function that is not listed, for it might read a file, the clock or chance.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.errors import ExpressionError
from pipeline.watchlist.syntax import Tree, depth, nodes, parsed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FUNCTIONS = frozenset({
    "abs", "ceil", "ceiling", "floor", "round", "trunc", "sign", "sqrt", "cbrt", "pow", "power", "exp", "ln", "log",
    "log2", "log10", "greatest", "least", "isnan", "isfinite", "isinf", "nullif", "ifnull", "coalesce",
    "lower", "upper", "trim", "length", "contains", "starts_with", "ends_with", "prefix", "suffix", "regexp_matches",
    "like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape",
    "year", "quarter", "month", "week", "day", "dayofweek", "isodow", "dayofyear", "datediff", "date_diff",
})  # fmt: skip
OPERATORS = frozenset({"+", "-", "*", "/", "//", "%", "^", "**", "||", "~~", "!~~", "~~*", "!~~*"})
CLASSES = frozenset({
    "COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN", "CASE", "CAST", "TYPE", "FUNCTION",
})  # fmt: skip
LONGEST = 2000
#: Levels of the parser's tree: some eighty operations within each other.
DEEPEST = 250

#: A text that is a condition in both places, with a bracket around it and without, is one expression and no more.
_CONDITIONS = ("SELECT 1 FROM day_view WHERE\n{}\n", "SELECT 1 FROM day_view WHERE (\n{}\n)")
_ORDER = "SELECT 1 FROM day_view ORDER BY\n{}\n"


def condition_columns(connection: DuckDBPyConnection, text: str, known: Collection[str]) -> tuple[str, ...]:
    """The columns that a condition names, in the order in which they appear there.

    Raises ExpressionError for anything but one allowed expression over the columns `known`.
    """
    for template in _CONDITIONS:
        query = _parse(connection, template, text)
        _check_shape(connection, query, template, "where_clause")
    return _columns(query["where_clause"], known)


def order_columns(connection: DuckDBPyConnection, text: str, known: Collection[str]) -> tuple[str, ...]:
    """The columns that an order (`market_cap DESC, symbol`) names; raises ExpressionError as `condition_columns`."""
    query = _parse(connection, _ORDER, text)
    _check_shape(connection, query, _ORDER, "modifiers")
    if [modifier["type"] for modifier in query["modifiers"]] != ["ORDER_MODIFIER"]:
        raise ExpressionError(f"{text!r} is more than an order; a limit has a setting of its own")
    return _columns(query["modifiers"], known)


def _parse(connection: DuckDBPyConnection, template: str, text: str) -> Tree:
    """The one query that the text makes of the template."""
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        raise ExpressionError(f"an expression is a text of 1 to {LONGEST} characters, not {str(text)[:40]!r}")
    answer = parsed(connection, template.format(text))
    if answer["error"]:
        raise ExpressionError(f"{text!r} is no SQL expression: {_explained(answer['error_message'])}")
    if len(answer["statements"]) != 1:
        raise ExpressionError(f"{text!r} is several statements; one expression is allowed")
    if depth(answer) > DEEPEST:
        raise ExpressionError(f"{text[:40]!r}... is nested too deeply; fewer operations within each other will do")
    node: Tree = answer["statements"][0]["node"]
    return node


def _explained(message: str) -> str:
    return "it holds a statement" if message.startswith("Only SELECT statements") else message


def _check_shape(connection: DuckDBPyConnection, query: Tree, template: str, place: str) -> None:
    """Raises ExpressionError when the text changed anything of the query but the place that it was put in."""
    plain = _parse(connection, template, "true")
    if query | {place: None} != plain | {place: None}:
        raise ExpressionError("the text goes on behind its expression; one expression is allowed, and nothing else")


def _columns(tree: Any, known: Collection[str]) -> tuple[str, ...]:
    names = {name.lower(): name for name in known}
    return tuple(dict.fromkeys(_column(node, names) for node in _checked(tree) if node["class"] == "COLUMN_REF"))


def _checked(tree: Any) -> Iterator[Tree]:
    """All expressions of the tree, each found to be allowed."""
    for node in nodes(tree):
        if "class" in node:
            _check(node)
            yield node


def _check(node: Tree) -> None:
    if node["class"] not in CLASSES:
        kind = str(node["class"]).lower().replace("_", " ")
        raise ExpressionError(f"a {kind} is not allowed; use columns, constants, comparisons, arithmetic and functions")
    if node["class"] == "FUNCTION":
        _check_function(node)


def _check_function(node: Tree) -> None:
    name = str(node["function_name"]).lower()
    if name not in (OPERATORS if node["is_operator"] else FUNCTIONS) or node["schema"] or node["catalog"]:
        raise ExpressionError(
            f"the function {name!r} is not allowed{_nearest(name, FUNCTIONS)}; "
            f"there are: {', '.join(sorted(FUNCTIONS))}"
        )
    if node["filter"] or node["distinct"] or node["order_bys"]["orders"]:
        raise ExpressionError(f"FILTER, DISTINCT and ORDER BY are not allowed inside {name}()")


def _column(node: Tree, names: dict[str, str]) -> str:
    path = node["column_names"]
    if len(path) != 1 or path[0].lower() not in names:
        wanted = ".".join(path)
        raise ExpressionError(
            f"there is no column {wanted!r}{_nearest(path[-1], names)}; there are: {', '.join(names.values())}"
        )
    return names[path[0].lower()]


def _nearest(name: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f" (nearest: {matches[0]})" if matches else ""
