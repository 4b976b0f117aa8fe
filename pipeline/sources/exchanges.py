"""The exchanges whose listings are collected: `[market] exchanges`.

The screener's API knows three, by these names. All of them keep the same sessions: the calendars XNYS and XNAS of
exchange_calendars agree from 1990 on, and NYSE American shares the trading floor's calendar of NYSE.
"""

from __future__ import annotations

from pipeline.config import market
from pipeline.errors import ConfigurationError

#: The API's name of an exchange, and its own.
NAMES = {"nasdaq": "NASDAQ", "nyse": "NYSE", "amex": "NYSE American"}


def configured_exchanges() -> tuple[str, ...]:
    """The exchanges of the configuration, in its order. Raises ConfigurationError for one the API does not know."""
    wanted = tuple(dict.fromkeys(name.strip().lower() for name in market().exchanges.split(",") if name.strip()))
    for name in wanted:
        if name not in NAMES:
            raise ConfigurationError(f"[market] exchanges = {market().exchanges}: {name} is none of {', '.join(NAMES)}")
    if not wanted:
        raise ConfigurationError(f"[market] exchanges is empty; it takes any of {', '.join(NAMES)}")
    return wanted


def market_name() -> str:
    """The configured exchanges for people: `NASDAQ`, or `NASDAQ, NYSE and NYSE American`."""
    *others, last = (NAMES[name] for name in configured_exchanges())
    return f"{', '.join(others)} and {last}" if others else last
