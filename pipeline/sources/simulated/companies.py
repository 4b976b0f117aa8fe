"""The companies of the simulated market.

The market has a fixed number of seats. A seat keeps its character (sector, size, volatility) for ever; a quarter of
them change their company every few years: one is delisted, and after a pause another one, with its own ticker and
name, is listed in its place. `generation` counts the companies of a seat. Some seats are no shares but the warrants,
units or rights of the seat before.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

#: `ticker` has codes for this many seats and generations (a generation lasts 7 years or more).
MAX_SEATS = 5000
GENERATIONS = 16
FIRST_YEAR = 2000

#: Tickers that readers of CSV and JSON like to turn into something else.
TRAPS = {4: "NA", 5: "TRUE", 6: "ON"}
DERIVED = (("W", "Warrant"), ("U", "Unit"), ("R", "Right"))

SECTORS = {
    "Technology": (
        ("Semiconductors", "Semiconductor"),
        ("Computer Software: Prepackaged Software", "Software"),
        ("EDP Services", "Data"),
    ),
    "Health Care": (
        ("Biotechnology: Pharmaceutical Preparations", "Therapeutics"),
        ("Medical/Dental Instruments", "Medical"),
    ),
    "Finance": (
        ("Major Banks", "Bancorp"),
        ("Property-Casualty Insurers", "Insurance"),
        ("Blank Checks", "Acquisition"),
    ),
    "Consumer Discretionary": (("Restaurants", "Kitchens"), ("Catalog/Specialty Distribution", "Retail")),
    "Consumer Staples": (("Packaged Foods", "Foods"), ("Beverages (Production/Distribution)", "Beverages")),
    "Industrials": (("Industrial Machinery/Components", "Machines"), ("Aerospace", "Aerospace")),
    "Energy": (("Oil & Gas Production", "Petroleum"), ("Coal Mining", "Resources")),
    "Utilities": (("Power Generation", "Power"), ("Water Supply", "Water")),
    "Real Estate": (("Real Estate Investment Trusts", "Properties"),),
    "Telecommunications": (
        ("Telecommunications Equipment", "Networks"),
        ("Cable & Other Pay Television Services", "Cable"),
    ),
    "Basic Materials": (("Precious Metals", "Gold"), ("Major Chemicals", "Chemicals")),
}
COUNTRIES = ("Israel", "China", "United Kingdom", "Canada", "Ireland", "Netherlands", "Singapore", "Brazil")
FIRST_WORDS = (
    "Alder", "Amber", "Arbor", "Basalt", "Beacon", "Birch", "Bright", "Cedar", "Clear", "Cobalt", "Copper", "Crest",
    "Delta", "Ember", "Falcon", "First", "Fox", "Granite", "Harbor", "Hazel", "Heron", "Indigo", "Iron", "Juniper",
    "Lark", "Maple", "Meridian", "Mesa", "North", "Ocean", "Onyx", "Pine", "Quartz", "Raven", "Sage", "Silver",
    "Summit", "Tidal", "Vale", "Willow",
)  # fmt: skip
SECOND_WORDS = (
    "Bay", "Bridge", "Brook", "Cliff", "Creek", "Field", "Ford", "Gate", "Grove", "Hill", "Lake", "Light", "Path",
    "Peak", "Point", "Ridge", "River", "Rock", "Shore", "Stone", "Stream", "Valley", "Wave", "Wood",
)  # fmt: skip
FORMS = ("Inc.", "Corp.", "Holdings Inc.", "Group Ltd.", "plc")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


def words(seed: int, stream: int, rows: int, columns: int) -> npt.NDArray[np.uint64]:
    """Random words of 64 bits from the counter-based generator Philox, the same on every machine.

    Row r does not depend on the number of rows. NumPy keeps the words of `random_raw` stable, and what its
    distributions make of them not: `uniform` and `normal` therefore are our own.
    """
    key = np.array([seed % 2**64, stream], dtype=np.uint64)
    return np.random.Philox(key=key).random_raw(rows * columns).reshape(rows, columns)


def uniform(drawn: npt.NDArray[np.uint64]) -> Floats:
    """Numbers in [0, 1), one a word."""
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(drawn: npt.NDArray[np.uint64]) -> Floats:
    """Numbers with mean 0 and deviation 1, one a word: the sum of four uniform ones (Irwin-Hall), within 3.5."""
    quarters = [(drawn >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    return (np.sum(quarters, axis=0, dtype=np.float64) - 2.0 * 65535) / (65536 * (4 / 12) ** 0.5)


@dataclasses.dataclass(frozen=True)
class Roster:
    """The seats' lasting character, an array entry a seat.

    `market_cap` and `price` in dollars are what the seat moves around, at one share for one; `volatility` is the
    deviation of a day's own log return; `turnover` the share of all shares that is traded on a quiet day.
    `split_factor` shares become of one when the company splits; it does so every `split_period` years, there and back.
    """

    seed: int
    market_cap: Floats
    price: Floats
    volatility: Floats
    beta: Floats
    turnover: Floats
    sector: Integers
    split_factor: Floats
    split_period: Integers
    split_phase: Integers
    change_period: Integers
    change_phase: Integers
    dividend: Floats
    dividend_day: Integers
    is_share: Booleans
    is_thin: Booleans
    draws: Floats

    def __len__(self) -> int:
        return len(self.price)

    @property
    def shares(self) -> Floats:
        """Shares outstanding before any split."""
        return self.market_cap / self.price

    def splits_before(self, year: int) -> Integers:
        return turns_before(year, self.split_period, self.split_phase)

    def changes_before(self, year: int) -> Integers:
        """The generation with which a seat enters the year."""
        return np.where(
            self.change_period > 0, turns_before(year, np.maximum(self.change_period, 1), self.change_phase), 0
        )


def turns_before(year: int, period: Integers, phase: Integers) -> Integers:
    """How often (y - phase) was a multiple of the period for the years y from FIRST_YEAR to the one before `year`."""
    return (year - 1 - phase) // period - (FIRST_YEAR - 1 - phase) // period


@functools.lru_cache(maxsize=2)
def roster(seed: int, seats: int) -> Roster:
    """A seat does not depend on the number of seats."""
    drawn = words(seed, 0, seats, 24)
    u = uniform(drawn)
    seat = np.arange(seats)
    is_share = np.array([issuer(number) == number for number in range(seats)])
    size = u[:, 0]
    price = np.maximum(np.exp(1.4 + 2.6 * size + 0.8 * normal(drawn[:, 1])), 1.0)
    price = np.where(is_share, price, 0.5 + u[:, 1])
    forward = np.array([1.5, 2, 2, 3, 4, 5, 10, 20])[(u[:, 2] * 8).astype(int)]
    reverse = 1 / np.array([3, 4, 5, 8, 10, 10, 15, 20])[(u[:, 2] * 8).astype(int)]
    size_trap = np.isin(seat, list(TRAPS))  # large enough to be collected
    return Roster(
        seed=seed,
        market_cap=np.where(size_trap, 2e9, 10 ** (7.6 + 4.7 * size**2)),
        price=price,
        volatility=0.028 - 0.017 * size + 0.008 * u[:, 3],
        beta=0.5 + u[:, 4],
        turnover=0.002 * 6 ** u[:, 5],
        sector=(u[:, 6] * len(SECTORS)).astype(int),
        split_factor=np.where(is_share, np.where(price > 25, forward, reverse), 1.0),
        split_period=8 + (u[:, 7] * 17).astype(int),
        split_phase=(u[:, 8] * 24).astype(int),
        change_period=np.where(seat % 4 == 3, 7 + (u[:, 9] * 6).astype(int), 0),
        change_phase=(u[:, 10] * 12).astype(int),
        dividend=np.where(is_share & (u[:, 11] < 0.35), price * (0.01 + 0.03 * u[:, 12]), 0.0),
        dividend_day=5 + (u[:, 13] * 75).astype(int),
        is_share=is_share,
        is_thin=seat % 10 == 8,
        draws=u[:, 14:],
    )


def issuer(seat: int) -> int:
    """The seat of the company whose security this is."""
    return seat - 1 if seat % 24 == 10 else seat


def is_unknown(seat: int) -> bool:
    """One seat in a hundred is listed by the exchange and unknown where the bars come from."""
    return seat % 100 == 37


def ticker(seat: int, generation: int) -> str:
    """Four letters, the second a vowel; with a fifth one for warrants, units and rights. Every ticker is unique."""
    if generation == 0 and seat in TRAPS:
        return TRAPS[seat]
    if issuer(seat) != seat:
        return ticker(issuer(seat), 0) + DERIVED[seat // 24 % 3][0]
    code = ((seat * GENERATIONS + generation) * 7919 + 4242) % (26 * 5 * 26 * 26)  # 7919 shares no factor with it
    code, fourth = divmod(code, 26)
    code, third = divmod(code, 26)
    first, second = divmod(code, 5)
    return chr(65 + first) + "AEIOU"[second] + chr(65 + third) + chr(65 + fourth)


def name(people: Roster, seat: int, generation: int) -> str:
    if not people.is_share[seat]:
        return f"{name(people, issuer(seat), 0).removesuffix(' Common Stock')} {DERIVED[seat // 24 % 3][1]}"
    number = int(people.draws[seat, 0] * 10**6) + 7919 * generation
    first, second = FIRST_WORDS[number % len(FIRST_WORDS)], SECOND_WORDS[number // 40 % len(SECOND_WORDS)]
    return f"{first} {second} {business(people, seat)[2]} {FORMS[number // 960 % len(FORMS)]} Common Stock"


def business(people: Roster, seat: int) -> tuple[str, str, str]:
    """Sector, industry, and a word for the name."""
    sector = list(SECTORS)[people.sector[seat]]
    industries = SECTORS[sector]
    return sector, *industries[int(people.draws[seat, 1] * len(industries))]


def country(people: Roster, seat: int) -> str:
    abroad = people.draws[seat, 2] / 0.15
    return COUNTRIES[int(abroad * len(COUNTRIES))] if abroad < 1 else "United States"


@functools.lru_cache(maxsize=2)
def seats_by_ticker(seed: int, seats: int) -> dict[str, tuple[int, int]]:
    """Seat and generation of every ticker that the market ever has."""
    changing = roster(seed, seats).change_period > 0
    return {ticker(s, g): (s, g) for s in range(seats) for g in range(GENERATIONS if changing[s] else 1)}
