"""How Yahoo writes the symbols that the screener writes with a sign.

The screener's API lists preferred shares as `BAC^L` (and `TY^` where there is no series), classes as `BRK/A`, and the
SIAC suffixes of other securities behind a slash (`/WS`, `/U`, `/R`); a `$` stands for when-issued shares in the
exchange's older lists. What the suffixes mean is the "Ticker Symbol Convention" of
nasdaqtrader.com/trader.aspx?id=CQSSymbolConvention; Yahoo's side is that of its own quote pages (BAC-PL, BRK-A).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote


class Spelling(NamedTuple):
    """The end of a symbol as the exchange writes it (a pattern), as Yahoo writes it, what it is, and a known pair."""

    listed: str
    yahoo: str
    security: str
    example: tuple[str, str]


#: The first one that fits counts.
SPELLINGS = (
    Spelling(r"\^([A-Z]*)", r"-P\1", "preferred share, of a series or of none", ("BAC^L", "BAC-PL")),
    Spelling(r"[/.]WS(?:[/.]([A-Z]))?", r"-WT\1", "warrant, of a class or of none", ("ACHR/WS", "ACHR-WT")),
    Spelling(r"[/.]U", "-UN", "unit", ("NFYS/U", "NFYS-UN")),
    Spelling(r"[/.]RT?", "-RI", "right", ("GAB/R", "GAB-RI")),
    Spelling(r"\$|[/.]W[ID]", "-WI", "when issued or distributed", ("GEV$", "GEV-WI")),
    Spelling(r"[/.]([A-Z])", r"-\1", "share class", ("BRK/A", "BRK-A")),
)
_PATTERNS = [(re.compile(rf"(?<=[A-Z]){spelling.listed}$"), spelling.yahoo) for spelling in SPELLINGS]


def yahoo_name(symbol: str) -> str:
    """The symbol as Yahoo writes it, fit for a URL; one without a sign is the same at both."""
    for pattern, replacement in _PATTERNS:
        if pattern.search(symbol):
            symbol = pattern.sub(replacement, symbol)
            break
    return quote(symbol, safe="-")
