"""Indicators that users define in `[indicators] extra`: `atr_14 = ATR(14); stoch = STOCH(5, 3, 0, 3, 0)`."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re

from pipeline.config import indicators
from pipeline.errors import ConfigurationError, DefinitionError

_DEFINITION = re.compile(r"([a-z][a-z0-9_]{0,39})\s*=\s*([A-Z][A-Z0-9_]*)(?:\s*\(([^()]*)\))?")
_NUMBER = re.compile(r"-?\d{1,9}(\.\d{1,9})?", re.ASCII)

#: The indicators of our own, those of `pipeline.indicators.kernel`: their names must not cost an import of TA-Lib.
NAMES = ("rsi_14", "macd", "bollinger_bands", "sma_20", "sma_50", "avg_volume_30")

#: Names that columns of `technical_indicators` and of the view of a session have already.
TAKEN = frozenset({
    "symbol", "date", "source", "open", "high", "low", "close", "volume", "volume_ratio", "name", "sector", "industry",
    "country", "market_cap", "ipo_year", "security_type", "fetched_at",
})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Definition:
    """A name, a function of TA-Lib with parameters in its order, and the columns of the values."""

    name: str
    function: str
    parameters: tuple[str, ...]
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} = {self.function}({', '.join(self.parameters)})"

    @property
    def argument(self) -> str:
        """As the kernel takes it (`pipeline.indicators.kernel.defined`): without a comma, which parts indicators."""
        return f"{self.name}={':'.join((self.function, *self.parameters))}"


def configured_definitions() -> tuple[Definition, ...]:
    """The definitions of `[indicators] extra`, each tried.

    Raises DefinitionError for one that is no definition, a function that TA-Lib does not have, parameters that it does
    not take, a window longer than the look-back, and a column that exists already.
    """
    return _read(indicators().extra, indicators().lookback)


def configured_names() -> list[str]:
    """The indicators of `[indicators] names`. Raises ConfigurationError for one that there is not."""
    names = [name.strip() for name in indicators().names.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            nearest = difflib.get_close_matches(name, NAMES, n=1) or [", ".join(NAMES)]
            raise ConfigurationError(
                f"[indicators] names = {name!r}: there is no such indicator (nearest: {nearest[0]}); "
                f"one of TA-Lib is defined in [indicators] extra"
            )
    return names


def job_argument() -> str:
    """All indicators that are computed, as the Spark job takes them.

    Raises ConfigurationError and DefinitionError for what cannot be computed.
    """
    return ",".join([*configured_names(), *(definition.argument for definition in configured_definitions())])


@functools.lru_cache(maxsize=16)
def _read(text: str, lookback: int) -> tuple[Definition, ...]:
    found: list[Definition] = []
    taken = set(TAKEN)
    for part in filter(None, (part.strip() for part in re.split(r"[;\n]", text))):
        definition = _checked(_parse(part), lookback, taken)
        taken.update((definition.name, *definition.columns))
        found.append(definition)
    return tuple(found)


def _parse(text: str) -> Definition:
    match = _DEFINITION.fullmatch(text)
    if not match:
        raise DefinitionError(
            f"[indicators] extra: {text[:80]!r} is no definition; "
            f"write name = FUNCTION(number, ...), such as atr_14 = ATR(14)"
        )
    parameters = tuple(part.strip() for part in (match[3] or "").split(",") if part.strip())
    wrong = [part for part in parameters if not _NUMBER.fullmatch(part)]
    if wrong:
        raise DefinitionError(f"[indicators] extra: {text[:80]!r}: {wrong[0][:40]!r} is no number of up to nine digits")
    return Definition(match[1], match[2], parameters)


def _checked(definition: Definition, lookback: int, taken: set[str]) -> Definition:
    import talib

    from pipeline.indicators import kernel

    try:
        indicator = kernel.defined(definition.argument)
    except kernel.BarsError as error:
        nearest = difflib.get_close_matches(definition.function, talib.get_functions(), n=1)
        raise DefinitionError(
            f"[indicators] extra: {definition}: {error}{f' (nearest: {nearest[0]})' if nearest else ''}"
        ) from error
    clash = sorted({definition.name, *indicator.columns} & (taken | {*kernel.INDICATORS, *kernel.COLUMNS}))
    if clash or any(column.startswith("prev_") for column in indicator.columns):
        raise DefinitionError(
            f"[indicators] extra: {definition}: the name {(clash or [definition.name])[0]} is taken; choose another one"
        )
    _try(definition, lookback)
    return dataclasses.replace(definition, columns=indicator.columns)


def _try(definition: Definition, lookback: int) -> None:
    import numpy as np

    from pipeline.indicators import kernel

    rising = np.linspace(10.0, 20.0, lookback)
    try:
        values = kernel.defined(definition.argument).compute(
            kernel.Bars(rising, rising * 1.01, rising * 0.99, rising, rising)
        )
    except Exception as error:  # noqa: BLE001  # TA-Lib raises nothing more precise for a parameter out of its range
        raise DefinitionError(f"[indicators] extra: {definition} cannot be computed: {error}") from error
    if all(np.isnan(column).all() for column in values):
        raise DefinitionError(
            f"[indicators] extra: {definition} has no value within [indicators] lookback = {lookback} bars; "
            f"raise that, or shorten the window"
        )
