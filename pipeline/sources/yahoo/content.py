"""What a chart says, looked at before yfinance makes a frame of it: whose it is, and values that the frame would lose.

yfinance looks at no more of `meta` than it needs, makes 0 of a volume that is missing, and another number of one that
is too large for it.
"""

from __future__ import annotations

import math
from typing import Any

#: Key of `meta` -> what it must be for a daily chart of a security that trades on a US exchange.
EXPECTED = {"currency": "USD", "dataGranularity": "1d", "exchangeTimezoneName": "America/New_York"}
#: Stand in the volumes for one that is missing beside prices, and for one that is no number of shares.
MISSING, ABSURD = -(2**53), 2**53
#: Digits of an integer that are read exactly; a longer one becomes a float, infinite when it is too large for that.
EXACT_DIGITS = 18


def number(text: str) -> float:
    """The integer of a JSON document, however long it is."""
    return int(text) if len(text) <= EXACT_DIGITS else float(text)


def contradiction(meta: dict[str, Any], asked: str) -> str:
    """Why a chart is not that of the symbol asked for, in its own words; empty when it is."""
    if str(meta.get("symbol")).upper() != asked.upper():
        return f"the chart is that of {str(meta.get('symbol'))[:20]}"
    for name, expected in EXPECTED.items():
        if meta.get(name) != expected:
            return f"the chart has {name} {str(meta.get(name))[:20]}, not {expected}"
    return ""


def mend(result: dict[str, Any]) -> None:
    """Mark the volumes that yfinance would turn into another number, and leave out splits that are told twice."""
    quote = result["indicators"]["quote"][0]
    prices = [quote[name] for name in ("open", "high", "low", "close")]
    quote["volume"] = [
        volume_of(volume, any(value is not None for value in bar))
        for volume, *bar in zip(quote["volume"], *prices, strict=True)
    ]
    splits = (result.get("events") or {}).get("splits")
    if splits:
        once = {
            (event["date"] // 86400, event["numerator"], event["denominator"]): key for key, event in splits.items()
        }
        result["events"]["splits"] = {key: splits[key] for key in once.values()}


def volume_of(volume: Any, is_traded: bool) -> Any:
    """A volume as yfinance can take it: MISSING beside prices, ABSURD where it is beyond what a float holds exactly."""
    if volume is None:
        return MISSING if is_traded else None
    if not isinstance(volume, int | float) or not math.isfinite(volume) or abs(volume) >= ABSURD:
        return ABSURD
    return volume
