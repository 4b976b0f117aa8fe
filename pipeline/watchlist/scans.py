"""Watchlist scans as declarations in TOML files, checked before anything runs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.config import absolute, indicators, scans
from pipeline.errors import ExpressionError, ScanError
from pipeline.watchlist.day_view import columns, create_empty_day_view
from pipeline.watchlist.expressions import condition_columns, order_columns
from pipeline.watchlist.sandbox import sandbox

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclasses.dataclass(frozen=True)
class Scan:
    """One declaration. `condition` and `order` are SQL expressions over the columns of `day_view`."""

    name: str
    description: str
    priority: int
    condition: str
    order: str
    limit: int

    @property
    def version(self) -> str:
        """12 digits of a hash of all but the description. Definitions of the indicators that it names are not in it."""
        facts = [self.name, self.priority, self.condition, self.order, self.limit]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class CheckedScan(Scan):
    """A scan that can be run.

    `columns` are those that its condition names, whose values made it fire, `order_columns` those that its order names.
    """

    columns: tuple[str, ...]
    order_columns: tuple[str, ...]


def holds(condition: str) -> str:
    """The condition as SQL that is true, false or null; where it cannot be computed, it does not hold."""
    return f"TRY(\n{condition}\n)"


def ranked(order: str) -> str:
    """The order as a clause of SQL, ties by symbol."""
    return f"ORDER BY\n{order}\n, symbol"


def configured_scans() -> list[CheckedScan]:
    """The scans of `[scans] file` and `[scans] extra`, smallest priority first, checked.

    Raises ScanError for a file that is missing or no TOML, a scan that lacks a setting or has one of the wrong kind, a
    name that occurs twice, and a condition or an order that is no allowed expression over the columns of `day_view`.
    """
    declared: dict[str, Scan] = {}
    for path in scan_files():
        for scan in _read(path):
            if scan.name in declared:
                raise ScanError(
                    f"{path}, scan [{scan.name}]: another scan has this name already; give it one of its own"
                )
            declared[scan.name] = scan
    return list(
        check(tuple(sorted(declared.values(), key=lambda scan: (scan.priority, scan.name))), indicators().extra)
    )


def scan_files() -> list[pathlib.Path]:
    return [absolute(name.strip()) for name in [scans().file, *scans().extra.split(",")] if name.strip()]


def _read(path: pathlib.Path) -> Iterator[Scan]:
    import tomllib

    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ScanError(f"{path}, named by [scans] file or [scans] extra: there is no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScanError(f"{path} is no valid TOML: {error}") from error
    for name, settings in declared.items():
        yield _scan(f"{path}, scan [{name}]", name, settings)


def _scan(place: str, name: str, settings: object) -> Scan:
    """The declaration, every setting of its kind; `place` says in errors where it stands."""
    kinds = {"description": str, "priority": int, "condition": str, "order": str, "limit": int}
    if not NAME.fullmatch(name):
        raise ScanError(f"{place}: a name is up to 40 lower-case letters, digits and underscores, a letter first")
    if not isinstance(settings, dict) or settings.keys() != kinds.keys():
        raise ScanError(f"{place}: a scan has exactly the settings {', '.join(kinds)}; found: {_found(settings)}")
    for setting, kind in kinds.items():
        if type(settings[setting]) is not kind:  # True is an int, too
            raise ScanError(
                f"{place}: {setting} = {settings[setting]!r} should be {'a text' if kind is str else 'a whole number'}"
            )
    if settings["limit"] < 1:
        raise ScanError(f"{place}: limit = {settings['limit']} would never find anything; the smallest is 1")
    return Scan(name=name, **settings)


def _found(settings: object) -> str:
    return ", ".join(settings) or "none" if isinstance(settings, dict) else repr(settings)


@functools.lru_cache(maxsize=16)
def check(declared: tuple[Scan, ...], extra: str = "", place: str = "") -> tuple[CheckedScan, ...]:
    """The scans with the columns that they use. Needs no database; raises ScanError for one that cannot be run.

    `extra` is `[indicators] extra`, which adds columns: another value of it is another answer. `place` is where the
    scans stand, when not in the configured files.
    """
    with sandbox() as connection:
        create_empty_day_view(connection)
        _add_sample(connection)
        known = columns(connection)
        return tuple(_checked(connection, scan, known, place) for scan in declared)


def _add_sample(connection: DuckDBPyConnection) -> None:
    """One row to try expressions on: a text that can never be a number shows itself there."""
    values = {"VARCHAR": "''", "DATE": "DATE '2000-01-03'"}
    kinds = [row[1] for row in connection.execute("DESCRIBE day_view").fetchall()]
    connection.execute(f"INSERT INTO day_view VALUES ({', '.join(values.get(kind, '1') for kind in kinds)})")


def _checked(connection: DuckDBPyConnection, scan: Scan, known: tuple[str, ...], place: str) -> CheckedScan:
    place = place or f"scan [{scan.name}] of {' and '.join(map(str, scan_files()))}"
    try:
        used = condition_columns(connection, scan.condition, known)
        ordered = order_columns(connection, scan.order, known)
        _try(connection, scan)
    except ExpressionError as error:
        raise ScanError(f"{place}: {error}") from error
    return CheckedScan(**dataclasses.asdict(scan), columns=used, order_columns=ordered)


def _try(connection: DuckDBPyConnection, scan: Scan) -> None:
    """Raises ExpressionError when the kinds of values do not fit each other, or the condition is not true or false."""
    import duckdb

    try:
        described = connection.execute(f"DESCRIBE SELECT (\n{scan.condition}\n) FROM day_view").fetchall()
        connection.execute(f"SELECT (\n{scan.condition}\n) FROM day_view ORDER BY\n{scan.order}\n").fetchall()
    except duckdb.OutOfRangeException:
        return  # the logarithm of a negative number: null where it happens, and no mistake of the rule
    except duckdb.Error as error:
        raise ExpressionError(f"cannot be computed: {error}") from error
    if described[0][1] != "BOOLEAN":
        raise ExpressionError(
            f"{scan.condition!r} is a {described[0][1]}; a condition is true or false, such as rsi_14 < 30"
        )
