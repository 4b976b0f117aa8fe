"""A market made of random numbers, for demos, tests and work without a network.

It is a function of `[simulated] seed` and the date: every session from 2000 on can be asked for, in any order and on
any machine, and a range agrees with the part of a longer one. It has what real markets have: thin and halted
symbols, sessions without values, splits in both directions, dividends, companies that come and go, warrants beside
the shares, symbols that the source of the bars does not know, and the tickers NA, TRUE and ON.

Like Yahoo, it adjusts prices and volumes for splits and not for dividends. Its present is the session `last` of the
request: a later request that crosses a split restates the history before it.
"""

from __future__ import annotations

import datetime as dt
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import calendar
from pipeline.config import simulated
from pipeline.errors import ConfigurationError, ListingUnavailableError
from pipeline.sources.answers import ANSWER_SCHEMA
from pipeline.sources.batches import collect_in_batches, repeated
from pipeline.sources.exchanges import configured_exchanges
from pipeline.sources.protocol import BarRequest, Company, Listing, Progress
from pipeline.sources.simulated.companies import (
    FIRST_YEAR,
    MAX_SEATS,
    Floats,
    business,
    country,
    is_unknown,
    issuer,
    name,
    roster,
    seats_by_ticker,
    ticker,
)
from pipeline.sources.simulated.market import Seats, Window, window

FIRST_SESSION = dt.date(FIRST_YEAR, 1, 3)
#: How far back a listing looks for the last sale of a company that did not trade.
LAST_SALE_SESSIONS = 40
PRICES = ("open", "high", "low", "close")
NOBODY = (0, -1)


class SimulatedSource:
    """The `Source` of `[market] source = simulated`."""

    name = "simulated"
    keeps_listings = True

    def __init__(self) -> None:
        settings = simulated()
        if not 1 <= settings.companies <= MAX_SEATS:
            raise ConfigurationError(f"[simulated] companies = {settings.companies}: it must be 1 to {MAX_SEATS}")
        self.roster = roster(settings.seed, settings.companies)
        self.seats = seats_by_ticker(settings.seed, settings.companies)
        self.exchanges = configured_exchanges()

    def listing(self, session: dt.date) -> Listing:
        """The companies listed on exactly this session. One that did not trade has volume 0 and its last sale.

        Raises ListingUnavailableError for a day before 2000 or without a session.
        """
        if session < FIRST_SESSION or not calendar.is_session(session):
            near = max(FIRST_SESSION, calendar.session_before(session))
            raise ListingUnavailableError(
                f"the simulated market has no session {session}; the nearest earlier one is {near}"
            )
        first = max(FIRST_SESSION, calendar.session_before(session, LAST_SALE_SESSIONS - 1))
        seen = self._window(slice(None), calendar.sessions_between(first, session))
        companies = tuple(self._companies(seen))
        raw = json.dumps([company.__dict__ for company in companies]).encode()
        return Listing(session, companies, raw)

    def collect(self, requests: Sequence[BarRequest], folder: pathlib.Path, progress: Progress) -> None:
        """See `Source`. A company that is not listed yet, or no more, is known and has no bars then."""
        collect_in_batches(requests, folder, progress, self.answer)

    def answer(self, requests: Sequence[BarRequest]) -> pa.Table:
        """The answers to all requests, as rows of ANSWER_SCHEMA. Looks at each year once for all of them."""
        first = max(min(request.first for request in requests), FIRST_SESSION)
        sessions = calendar.sessions_between(first, max(request.last for request in requests))
        found = [self.seats.get(request.symbol, NOBODY) for request in requests]
        seen = self._window([seat for seat, _ in found], sessions) if sessions else None
        days = np.array(sessions, dtype="datetime64[D]")
        tables = []
        for row, (request, (seat, generation)) in enumerate(zip(requests, found, strict=True)):
            if (seat, generation) == NOBODY or is_unknown(seat):
                tables.append(_answer_table(request, "unknown", "the simulated market has no such symbol", {}))
                continue
            columns = adjusted_bars(request, seen, row, generation, days) if seen else {}
            tables.append(_answer_table(request, "ok", None, columns))
        return pa.concat_tables(tables)

    def _window(self, seats: Seats, sessions: Sequence[dt.date]) -> Window:
        return window(self.roster, seats, sessions, calendar.session_before(sessions[0]))

    def _companies(self, seen: Window) -> list[Company]:
        generation = seen.generation[:, -1]
        quotes = last_quotes(seen)
        shares = self.roster.shares * seen.factor[:, -1]
        return [
            self._company(seat, int(generation[seat]), quotes[seat], shares[seat])
            for seat in np.flatnonzero(generation >= 0).tolist()
        ]

    def _company(
        self, seat: int, generation: int, quote: tuple[float | None, float | None, int], shares: float
    ) -> Company:
        last_sale, net_change, volume = quote
        has_cap = self.roster.is_share[seat] and seat % 100 != 63 and last_sale is not None
        sector, industry, _ = business(self.roster, issuer(seat))
        return Company(
            symbol=ticker(seat, generation),
            name=name(self.roster, seat, generation),
            sector=sector,
            industry=industry,
            country=country(self.roster, issuer(seat)),
            market_cap=float(round(shares * last_sale)) if has_cap and last_sale is not None else None,
            ipo_year=self._ipo_year(issuer(seat), generation),
            last_sale=last_sale,
            net_change=net_change,
            volume=volume,
            exchange=self.exchanges[issuer(seat) % len(self.exchanges)],
        )

    def _ipo_year(self, seat: int, generation: int) -> int | None:
        if generation == 0:
            drawn = float(self.roster.draws[seat, 3])
            return 1975 + int(drawn * 25) if drawn < 0.9 else None
        period, phase = int(self.roster.change_period[seat]), int(self.roster.change_phase[seat])
        return FIRST_YEAR + (phase - FIRST_YEAR) % period + (generation - 1) * period


def last_quotes(seen: Window) -> list[tuple[float | None, float | None, int]]:
    """Last sale, net change and volume of each seat at the end of the window, on the basis of its last session."""
    quotes: list[tuple[float | None, float | None, int]] = []
    closes = np.round(seen.close * seen.factor / seen.factor[:, -1:], 4)
    tenant = seen.generation == seen.generation[:, -1:]
    for close, traded, volume in zip(closes, seen.has_bar & tenant, seen.volume[:, -1], strict=True):
        sales = close[traded].tolist()
        if not traded[-1]:
            quotes.append((sales[-1], 0.0, 0) if sales else (None, None, 0))
            continue
        net_change = round(sales[-1] - sales[-2], 4) if len(sales) > 1 else None
        quotes.append((sales[-1], net_change, int(volume)))
    return quotes


def adjusted_bars(
    request: BarRequest, seen: Window, row: int, generation: int, days: npt.NDArray[np.datetime64]
) -> dict[str, pa.Array]:
    """The columns of one company's bars in the range asked for, adjusted for the splits up to its last session."""
    begin, end = (
        np.searchsorted(days, np.datetime64(request.first)),
        np.searchsorted(days, np.datetime64(request.last), "right"),
    )
    rows = begin + np.flatnonzero((seen.generation[row, begin:end] == generation) & seen.has_bar[row, begin:end])
    basis = seen.factor[row, end - 1] / seen.factor[row, rows]
    empty = seen.is_null[row, rows]
    prices = {field: pa.array(getattr(seen, field)[row, rows] / basis, mask=empty) for field in PRICES}
    return {
        "date": pa.array(days[rows]),
        **prices,
        "volume": pa.array(np.round(seen.volume[row, rows] * basis).astype(np.int64), mask=empty),
        "dividend": _without_nan(seen.dividend[row, rows] / basis),
        "split_ratio": _without_nan(seen.split[row, rows]),
    }


def _without_nan(values: Floats) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _answer_table(request: BarRequest, status: str, reason: str | None, columns: dict[str, pa.Array]) -> pa.Table:
    """The rows of one answer; a single one without a date where there are no bars."""
    count = len(columns["date"]) if columns else 0
    facts = {
        "symbol": request.symbol,
        "asked_from": request.first,
        "asked_to": request.last,
        "status": status,
        "reason": reason,
        "fetched_at": calendar.now(),
    }
    arrays = {name: repeated(value, name, max(count, 1)) for name, value in facts.items()}
    rest = [field.name for field in ANSWER_SCHEMA if field.name not in facts]
    arrays |= {name: columns[name] if count else repeated(None, name, 1) for name in rest}
    return pa.table([arrays[field.name].cast(field.type) for field in ANSWER_SCHEMA], schema=ANSWER_SCHEMA)
