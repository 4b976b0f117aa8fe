"""The screener's text fields as values: `"$1,120.00"`, `"-1.42%"`, `""`, `"N/A"`."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import html
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import ListingUnreadableError
from pipeline.sources.protocol import Company

#: Keys of both forms of the answer; the others are there with `download=true` alone.
REQUIRED = ("symbol", "name", "lastsale", "netchange", "marketCap")
#: More unreadable values of one field than this share of the rows mean that the format has changed.
MAX_UNREADABLE = 0.01

_MISSING = frozenset({"", "N/A", "NA", "--", "-"})
_NUMBER = re.compile(r"([+-]?)\$?([+-]?)(\d[\d,]*\.?\d*|\.\d+)%?")

logger = logging.getLogger("pipeline")


def text(value: object) -> str | None:
    """A trimmed text with its HTML entities resolved; None when there is none. `NA` and `N/A` are texts."""
    return html.unescape("" if value is None else str(value)).strip() or None


def number(value: object) -> float | None:
    """A number written with or without `$`, `%` and thousands separators; `UNCH` (unchanged) is 0.

    None for a missing value. Raises ValueError for anything else, `nan` and `inf` among it.
    """
    written = "" if value is None else str(value).strip()
    if written.upper() in _MISSING:
        return None
    if written.upper() == "UNCH":
        return 0.0
    match = _NUMBER.fullmatch(written)
    if match is None or (match[1] and match[2]):
        raise ValueError(f"{written!r} is no number")
    return float(f"{match[1]}{match[2]}{match[3].replace(',', '')}")


@dataclasses.dataclass
class RowReader:
    """Types rows of the screener, of one exchange, and counts the values that it could not read (they become None)."""

    exchange: str = "nasdaq"
    unreadable: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    examples: dict[str, str] = dataclasses.field(default_factory=dict)

    def company(self, row: Mapping[str, Any], symbol: str) -> Company:
        market_cap = self._number(row, "marketCap")
        return Company(
            symbol=symbol,
            name=text(row["name"]) or symbol,
            sector=self._label(row, "sector"),
            industry=self._label(row, "industry"),
            country=self._label(row, "country"),
            market_cap=market_cap if market_cap else None,  # "0.00" is how a missing one is often written
            ipo_year=self._whole(row, "ipoyear"),
            last_sale=self._number(row, "lastsale"),
            net_change=self._number(row, "netchange"),
            volume=self._whole(row, "volume"),
            exchange=self.exchange,
        )

    def _label(self, row: Mapping[str, Any], field: str) -> str | None:
        label = text(row.get(field))
        return None if label in _MISSING else label

    def _whole(self, row: Mapping[str, Any], field: str) -> int | None:
        value = self._number(row, field)
        return None if not value and field == "ipoyear" else None if value is None else int(value)

    def _number(self, row: Mapping[str, Any], field: str) -> float | None:
        try:
            return number(row.get(field))
        except ValueError as error:
            self.unreadable[field] += 1
            self.examples.setdefault(field, f"{row['symbol']}: {str(error)[:60]}")
            return None

    def check(self, rows: int) -> None:
        """Raises ListingUnreadableError when a field could not be read in more than MAX_UNREADABLE of the rows."""
        for field, count in self.unreadable.items():
            if count > rows * MAX_UNREADABLE:
                raise ListingUnreadableError(
                    f"the screener's field {field} could not be read in {count:,} of {rows:,} rows "
                    f"(first: {self.examples[field]}): its format has changed; pipeline/sources/nasdaq/text.py reads it"
                )
            logger.warning(
                "%d value(s) of %s are unreadable and count as missing (%s)", count, field, self.examples[field]
            )


def companies(rows: Sequence[Mapping[str, Any]], exchange: str = "nasdaq") -> tuple[Company, ...]:
    """The companies of an exchange's rows, in their order; of a repeated symbol the first row counts.

    Raises ListingUnreadableError for a row that is no object or lacks a key of REQUIRED.
    """
    reader, listed, repeated, nameless = RowReader(exchange), dict[str, Company](), 0, 0
    for row in rows:
        check_keys(row)
        symbol = text(row["symbol"])
        if symbol is None:
            nameless += 1
        elif symbol in listed:
            repeated += 1
        else:
            listed[symbol] = reader.company(row, symbol)
    if repeated or nameless:
        logger.info("the listing repeats %d symbol(s), and %d row(s) have none; both are left out", repeated, nameless)
    reader.check(len(rows))
    return tuple(listed.values())


def check_keys(row: object) -> None:
    if not isinstance(row, Mapping):
        raise ListingUnreadableError(f"the screener sent a row that is no object but {type(row).__name__}")
    for key in REQUIRED:
        if key not in row:
            near = difflib.get_close_matches(key, row, n=1) or ["none like it"]
            raise ListingUnreadableError(
                f"the screener's rows lack the key {key!r} (nearest: {near[0]}); they have {', '.join(sorted(map(str, row)))[:300]}"
            )
