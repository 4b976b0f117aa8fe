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
from pipeline.sources.protocol import Company, is_symbol
from pipeline.text import clean

#: Keys of both forms of the answer; the others are there with `download=true` alone.
REQUIRED = ("symbol", "name", "lastsale", "netchange", "marketCap")
#: More unreadable values of one field than this share of the rows mean that the format has changed.
MAX_UNREADABLE = 0.01

_MISSING = frozenset({"", "N/A", "NA", "--", "-"})
#: Dollars or shares; all companies of the world together are some 10^14 dollars.
MOST = 1e15
#: No company is older, and none goes public later than that.
YEARS = range(1600, 2200)
#: Characters of a text that are looked at; the longest name is 207.
LONGEST_TEXT = 2000
_NUMBER = re.compile(r"([+-]?)\$?([+-]?)(\d[\d,]*\.?\d*|\.\d+)%?", re.ASCII)

logger = logging.getLogger("pipeline")


class OddRow(Exception):
    """A row that cannot be of a company: it is no object, lacks a key, or holds what its field can never be."""


def text(value: object) -> str | None:
    """A text cleaned, with its HTML entities resolved; None when there is none. `NA` and `N/A` are texts.

    Raises OddRow for what is neither a text nor a number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise OddRow(f"{type(value).__name__} where a text belongs")
    return clean(html.unescape(str(value)[:LONGEST_TEXT])) or None


def number(value: object) -> float | None:
    """A number written with or without `$`, `%` and thousands separators; `UNCH` (unchanged) is 0.

    None for a missing value. Raises ValueError for anything else, `nan` and `inf` among it, and OddRow for a number
    beyond all that is traded (MOST).
    """
    written = "" if value is None else str(value).strip()
    if written.upper() in _MISSING:
        return None
    if written.upper() == "UNCH":
        return 0.0
    match = _NUMBER.fullmatch(written)
    if match is None or (match[1] and match[2]):
        raise ValueError(f"{written[:40]!r} is no number")
    figure = float(f"{match[1]}{match[2]}{match[3].replace(',', '')}")
    if not abs(figure) <= MOST:
        raise OddRow(f"{written[:40]} is more than anything that is traded")
    return figure


def whole(value: object) -> int | None:
    """The whole part of a `number`."""
    figure = number(value)
    return None if figure is None else int(figure)


@dataclasses.dataclass
class RowReader:
    """Types rows of the screener, of one exchange.

    Counts the values that it could not read (they become None), and under `row` the rows that it refused.
    """

    exchange: str = "nasdaq"
    unreadable: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    examples: dict[str, str] = dataclasses.field(default_factory=dict)

    def company(self, row: object) -> Company | None:
        """The company of a row, None for a row that is refused."""
        try:
            return self._company(checked(row))
        except OddRow as error:
            named = f"{str(row.get('symbol'))[:20]}: " if isinstance(row, Mapping) else ""
            self._note("row", clean(f"{named}{error}"))
            return None

    def _company(self, row: Mapping[str, Any]) -> Company:
        symbol = text(row["symbol"])
        if symbol is None:
            raise OddRow("no symbol")
        if not is_symbol(symbol):
            raise OddRow("the symbol is none")
        market_cap = self._number(row, "marketCap")
        return Company(
            symbol=symbol,
            name=text(row["name"]) or symbol,
            sector=self._label(row, "sector"),
            industry=self._label(row, "industry"),
            country=self._label(row, "country"),
            market_cap=market_cap if market_cap else None,  # "0.00" is how a missing one is often written
            ipo_year=self._year(row),
            last_sale=self._number(row, "lastsale"),
            net_change=self._number(row, "netchange"),
            volume=self._whole(row, "volume"),
            exchange=self.exchange,
        )

    def _label(self, row: Mapping[str, Any], field: str) -> str | None:
        label = text(row.get(field))
        return None if label in _MISSING else label

    def _year(self, row: Mapping[str, Any]) -> int | None:
        year = self._whole(row, "ipoyear") or None  # 0 is none
        if year and year not in YEARS:
            raise OddRow(f"{year} is no year of a company")
        return year

    def _whole(self, row: Mapping[str, Any], field: str) -> int | None:
        value = self._number(row, field)
        return None if value is None else int(value)

    def _number(self, row: Mapping[str, Any], field: str) -> float | None:
        try:
            return number(row.get(field))
        except ValueError as error:
            self._note(field, f"{row['symbol']}: {str(error)[:60]}")
            return None

    def _note(self, field: str, example: str) -> None:
        self.unreadable[field] += 1
        self.examples.setdefault(field, example)

    def check(self, rows: int) -> None:
        """Raises ListingUnreadableError if a field, or the row, was unreadable in over MAX_UNREADABLE of the rows."""
        for field, count in self.unreadable.items():
            what = "rows" if field == "row" else f"field {field}"
            if count > rows * MAX_UNREADABLE:
                raise ListingUnreadableError(
                    f"the screener's {what} could not be read in {count:,} of {rows:,} rows "
                    f"(first: {self.examples[field]}): its format has changed; pipeline/sources/nasdaq/text.py reads it"
                )
            if field == "row":
                logger.warning("%d row(s) are refused (%s)", count, self.examples[field])
            else:
                logger.warning(
                    "%d value(s) of %s are unreadable and count as missing (%s)", count, field, self.examples[field]
                )


def companies(rows: Sequence[object], exchange: str = "nasdaq") -> tuple[Company, ...]:
    """The companies of an exchange's rows, in their order; of a repeated symbol the first row counts.

    Raises ListingUnreadableError when more rows, or values of a field, are unreadable than MAX_UNREADABLE.
    """
    reader, listed, repeated, nameless = RowReader(exchange), dict[str, Company](), 0, 0
    for row in rows:
        if is_nameless(row):
            nameless += 1
            continue
        company = reader.company(row)
        if company is not None and listed.setdefault(company.symbol, company) is not company:
            repeated += 1
    if repeated or nameless:
        logger.info("the listing repeats %d symbol(s), and %d row(s) have none; both are left out", repeated, nameless)
    reader.check(len(rows))
    return tuple(listed.values())


def is_nameless(row: object) -> bool:
    return isinstance(row, Mapping) and isinstance(row.get("symbol"), str) and not row["symbol"].strip()


def checked(row: object) -> Mapping[str, Any]:
    """The row. Raises OddRow when it is no object or lacks a key of REQUIRED."""
    if not isinstance(row, Mapping):
        raise OddRow(f"no object but {type(row).__name__}")
    for key in REQUIRED:
        if key not in row:
            near = difflib.get_close_matches(key, row, n=1) or ["none like it"]
            raise OddRow(
                f"they lack the key {key!r} (nearest: {near[0]}); they have {', '.join(sorted(map(str, row)))[:300]}"
            )
    return row
