"""Tables that fit a terminal: nothing in them is squeezed but names; what has no room is left out, and named."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from pipeline.cli.terminal import plain
from pipeline.text import line, shown

#: What rich puts between two columns, and around a table with a frame.
BETWEEN, FRAME = 3, 4


@dataclasses.dataclass(frozen=True)
class Column:
    """`least` is the width that a column of names may be cut down to; without it, it is shown whole or not at all."""

    heading: str
    is_number: bool = False
    least: int | None = None


def fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, title: str = "", more: str = ""
) -> Table:
    """The table in `width` characters: the first columns matter most, the last ones are left out first.

    Under it stand the columns that are left out, and `more`, which says how to see them.
    """
    wide = _widths(columns, rows)
    small = [min(size, one.least or size) for size, one in zip(wide, columns, strict=True)]
    kept = _kept(small, width)
    spare = width - FRAME - sum(small[at] + BETWEEN for at in kept) + BETWEEN
    missing = [one.heading for at, one in enumerate(columns) if at not in kept]
    told = [f"left out at {width} characters: {', '.join(missing)}{more}"] if missing else []
    table = Table(
        title=Text(line(title), "table.title") if title else None,
        caption=Text(shown("\n".join(told)), "table.caption") if told else None,
        caption_justify="left",
    )
    for at in kept:
        room = min(wide[at], small[at] + max(0, spare))
        spare -= room - small[at]
        table.add_column(
            plain(columns[at].heading), justify="right" if columns[at].is_number else "left", no_wrap=True,
            overflow="ellipsis", width=room,
        )  # fmt: skip
    for row in rows:
        table.add_row(*(plain(row[at]) for at in kept))
    return table


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """What each column takes whole, as it is shown."""
    return [
        max([cell_len(line(one.heading)), *(cell_len(line(row[at])) for row in rows)]) for at, one in enumerate(columns)
    ]


def _kept(widths: Sequence[int], width: int) -> list[int]:
    """The columns that have room, in their order: each one that still fits beside those before it; one at the least."""
    kept, room = [], width - FRAME + BETWEEN
    for at, size in enumerate(widths):
        if size + BETWEEN <= room:
            kept.append(at)
            room -= size + BETWEEN
    return kept or [0]


def fits(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether all columns have room."""
    wide = _widths(columns, rows)
    return sum(wide) + BETWEEN * (len(wide) - 1) + FRAME <= width


def as_records(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Iterable[Text]:
    """Each row as lines `name  value`, an empty line after it."""
    wide = max((cell_len(one.heading) for one in columns), default=0)
    for row in rows:
        yield Text(
            "".join(f"{line(one.heading):{wide}}  {line(value)}\n" for one, value in zip(columns, row, strict=True))
        )


def readable(value: object) -> str:
    """A value for people: floats rounded to what tells them apart, truth as SQL writes it, an empty text for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _rounded(value)
    if isinstance(value, list):
        return ", ".join(map(readable, value))
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "seconds")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _rounded(value: float) -> str:
    """Four decimals, or four digits where these would say nothing; trailing zeros are left out."""
    if not math.isfinite(value) or value == int(value) and abs(value) < 1e15:
        return f"{value:.0f}" if math.isfinite(value) else str(value)
    if 1e-3 <= abs(value) < 1e15:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return f"{value:.4g}"
