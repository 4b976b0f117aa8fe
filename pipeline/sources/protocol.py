"""The sources of listings and bars, one file each, behind one small protocol (`Source`)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pipeline.text import clean

if TYPE_CHECKING:
    import pyarrow as pa

_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.^/$=+*_-]{0,19}")


@dataclasses.dataclass(frozen=True)
class Company:
    """One row of a listing, its texts cleaned.

    `exchange` as in `[market] exchanges`, `market_cap` in dollars, `volume` in shares of the listing's session, None
    when missing.
    """

    symbol: str
    name: str
    sector: str | None = None
    industry: str | None = None
    country: str | None = None
    market_cap: float | None = None
    ipo_year: int | None = None
    last_sale: float | None = None
    net_change: float | None = None
    volume: int | None = None
    exchange: str = "nasdaq"

    def __post_init__(self) -> None:
        for field in ("name", "sector", "industry", "country"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, clean(value) or None)
        if self.name is None:
            object.__setattr__(self, "name", self.symbol)


def is_symbol(text: str) -> bool:
    """Whether a text can be a ticker: letters, digits and the signs of share classes, 20 at most."""
    return _SYMBOL.fullmatch(text) is not None


@dataclasses.dataclass(frozen=True)
class Listing:
    """All companies as listed on `session`; `raw` is the answer as it was received, to be kept."""

    session: dt.date
    companies: tuple[Company, ...]
    raw: bytes


@dataclasses.dataclass(frozen=True)
class BarRequest:
    """The bars of `symbol` wanted, from the session `first` to the session `last`, both included.

    What was received before `not_before` (UTC) is no answer to it: `last` had not settled, or that answer was disputed.
    """

    symbol: str
    first: dt.date
    last: dt.date
    not_before: dt.datetime | None = None


#: `progress(done, total, text)`: symbols answered so far, of how many, and a word for people.
Progress = Callable[[int, int, str], None]


class Source(Protocol):
    """Where listings and bars come from."""

    name: str

    @property
    def keeps_listings(self) -> bool:
        """Whether `listing` knows past sessions, or only the present."""

    def listing(self, session: dt.date) -> Listing:
        """The newest listing that serves `session`; it names the session it is of.

        Raises ListingError's subclasses, each for its situation.
        """

    def collect(self, requests: Sequence[BarRequest], folder: pathlib.Path, progress: Progress) -> None:
        """Ask for every request, in the order given, and land the answers as batch files in `folder` (see answers.py).

        A symbol that fails is an answer with status `failed`, never an exception. Raises SourceOutageError when
        the source as a whole is down.
        """


@runtime_checkable
class StandingSource(Protocol):
    """What a `Source` can do, too, whose whole data lies at hand, so that it can be searched for what has changed."""

    def changed_at(self) -> dt.datetime:
        """When anything in its bars was changed last, in UTC."""

    def digests(self, spans: pa.Table) -> pa.Table:
        """The digests (digests.py) of its bars within `spans` (symbol, first, last), as they are now."""
