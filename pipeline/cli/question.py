"""One question to the replica in SQL: a single SELECT over its tables, bounded in time and memory.

Three bounds, each of which holds alone: the connection has no way out (see `watchlist/sandbox.py`), the statement is
read by DuckDB's own parser before it runs and may only be a SELECT of the functions that compute, and the process may
not grow beyond its memory.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import pathlib
import resource
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.database.moments import KEPT, go_back
from pipeline.errors import QueryError
from pipeline.watchlist.sandbox import closed_replica
from pipeline.watchlist.syntax import Tree, nodes, parsed

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Functions that make rows, or tell of the tables. The others read files, settings, secrets, pointers or SQL.
TABLE_FUNCTIONS = frozenset({
    "range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "summary",
    "duckdb_columns", "duckdb_constraints", "duckdb_functions", "duckdb_keywords", "duckdb_tables", "duckdb_types",
    "duckdb_views", "pragma_table_info", "icu_calendar_names", "pg_timezone_names",
})  # fmt: skip
#: Functions beside a column's name that see or change more than their arguments, or wait.
REFUSED_FUNCTIONS = frozenset({
    "current_setting", "getenv", "getvariable", "write_log", "nextval", "currval", "setval", "setseed", "sleep_ms",
    "pg_sleep", "json_serialize_plan", "index_key", "invoke", "get_block_size", "current_query", "finalize", "combine",
    "to_aggregate_state", "pg_conf_load_time", "pg_postmaster_start_time", "parse_duckdb_log_message", "set_config",
})  # fmt: skip
REFUSED_PREFIXES = ("__internal", "inet_", "variant_bytes", "st_")
#: Views of DuckDB itself that tell of the process and its settings.
REFUSED_VIEWS = frozenset({
    "pg_settings", "pg_prepared_statements", "duckdb_logs", "duckdb_databases", "duckdb_settings", "duckdb_secrets",
    "pragma_database_list", "pg_database",
})  # fmt: skip

#: Beside DuckDB's own memory: what rows take in Python, and what it allocates beside its limit.
HEADROOM = 512 * 1024 * 1024
_PAGE_SIZE = resource.getpagesize()


@contextlib.contextmanager
def asked(
    path: pathlib.Path, text: str, memory_mb: int, timeout: float, known_at: dt.datetime | None = None
) -> Iterator[tuple[DuckDBPyConnection, str]]:
    """The connection that may run the statement, and the statement, in a block that reads its rows.

    With `known_at` the tables are as they were at that moment (`database/moments.py`), and the others are refused.
    Raises QueryError for a statement that is refused, that DuckDB cannot answer, or that takes too long or too much.
    """
    import duckdb

    with closed_replica(path, f"{memory_mb}MB") as connection, limited_memory(memory_mb):
        statement = checked(connection, text, known_at is not None)
        if known_at is not None:
            go_back(connection, known_at)
        late = threading.Event()

        def stop() -> None:
            late.set()
            connection.interrupt()

        timer = threading.Timer(timeout, stop)
        timer.daemon = True
        timer.start()
        try:
            yield connection, statement
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise QueryError(f"the answer takes more than {memory_mb:,} MB; ask for less, or raise --memory") from error
        except (duckdb.Error, OSError) as error:  # Arrow's stream hands DuckDB's errors on as OSError
            if getattr(error, "errno", None):  # one of writing what was answered
                raise
            if late.is_set():
                raise QueryError(f"no answer within {timeout:g} s; ask for less, or raise --timeout") from error
            raise QueryError(f"the replica cannot answer: {error}") from error
        finally:
            timer.cancel()


@contextlib.contextmanager
def limited_memory(memory_mb: int) -> Iterator[None]:
    """This process may take `memory_mb` twice and HEADROOM beside what it has, until the block ends.

    DuckDB's limit does not count every value: one of 3 GB passes a limit of 200 MB.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        taken = int(pathlib.Path("/proc/self/statm").read_text().split()[5]) * _PAGE_SIZE
    except OSError:  # no Linux: DuckDB's own limit alone
        yield
        return
    wanted = taken + 2 * memory_mb * 1024 * 1024 + HEADROOM
    limits = [wanted, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def checked(connection: DuckDBPyConnection, text: str, kept_alone: bool = False) -> str:
    """The text, when it is one SELECT that touches tables alone; EXPLAIN may stand before it. Raises QueryError.

    With `kept_alone` only of tables that can be asked as of a moment.
    """
    words = text.split(maxsplit=2)
    analyzes = len(words) > 1 and words[1].upper() == "ANALYZE"
    if words and words[0].upper() == "EXPLAIN":
        body = text.split(maxsplit=2 if analyzes else 1)[-1]
    else:
        body = text
    answer = parsed(connection, body)
    if answer["error"]:
        raise QueryError(_explained(answer["error_message"]))
    if len(answer["statements"]) != 1:
        raise QueryError(f"one statement is answered at a time; these are {len(answer['statements'])}")
    for node in nodes(answer):
        _check(node)
    if kept_alone:
        _check_moments(connection, answer)
    return text


def _check_moments(connection: DuckDBPyConnection, tree: Tree) -> None:
    """Raises QueryError for a table whose past is not kept, under whatever name it is reached."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    views = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    if not tables.issuperset(KEPT):
        raise QueryError("the replica is of an older version, which kept no past; the next run makes one that does")
    stored = tables | {name for (name,) in views}
    named = {str(entry["key"]).lower() for node in nodes(tree) for entry in (node.get("cte_map") or {}).get("map", ())}
    for node in nodes(tree):
        name = str(node.get("table_name", "")).lower()
        if node.get("type") != "BASE_TABLE" or (name in named and name not in stored) or not name:
            continue
        if node.get("schema_name") or node.get("catalog_name"):
            raise QueryError(f"with --known-at a table is named without its schema: {name}")
        if name not in KEPT:
            raise QueryError(
                f"what {name} said before is not kept, so that it cannot be asked as of a moment; --known-at knows "
                f"{', '.join(KEPT)}"
            )


def _explained(message: str) -> str:
    if message.startswith("Only SELECT statements"):
        return (
            "this is no SELECT: the replica is read-only, and a query starts with SELECT, FROM, WITH, DESCRIBE, "
            "SUMMARIZE or SHOW (a PIVOT needs its IN list). "
            "--output writes files; docs/analysis.md says how to attach others"
        )
    return f"the replica cannot read the statement: {message}"


def _check(node: Tree) -> None:
    kind = node.get("type")
    if kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).lower()
        if name not in TABLE_FUNCTIONS:
            raise QueryError(
                f"{name}() is not callable here; as a table there are: {', '.join(sorted(TABLE_FUNCTIONS))}"
            )
    elif kind == "BASE_TABLE":
        _check_table(str(node["table_name"]).lower())
    elif "function_name" in node:
        name = str(node["function_name"]).lower()
        if name in REFUSED_FUNCTIONS or name.startswith(REFUSED_PREFIXES):
            raise QueryError(f"{name}() is not callable here: it sees or changes more than the tables")


def _check_table(name: str) -> None:
    if name in REFUSED_VIEWS:
        raise QueryError(f"{name} is not readable here: it tells of the process, not of the market")
    if "/" in name or "." in name:
        raise QueryError(
            f"{name!r} is a file, and this command reads the replica alone; docs/analysis.md says how to attach it"
        )
