"""What the law is told: the instruments, the accounts that trade, and how much happens."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fauxchange.domain.errors import check
from fauxchange.domain.listings import Listing

DAY_NOTIONAL: Final = 500_000_000
"""What is traded in a day of an instrument of which nothing else is known. Units: whole units of the quote asset"""
DAY_VOLATILITY: Final = 0.03

SLICE_NS: Final = 200_000_000
"""The venue's slices, unless it is set otherwise: what the law was fitted with. Units: nanoseconds of venue time"""

CLASSES: Final = 3
"""Near, middle and deep orders; each class has an account of its own, so that an order's account tells its class."""
TAKERS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowInstrument:
    """An instrument as the law sees it.

    Units: day_lots in lots that are traded in a day when the intensity is `busy`, day_volatility the standard deviation
           of a day's log return
    """

    number: int
    symbol: str
    day_lots: float
    day_volatility: float = DAY_VOLATILITY

    def __post_init__(self) -> None:
        check(self.day_lots > 0, "an instrument has a volume")
        check(0 < self.day_volatility < 1, "the volatility of a day is a part of the price")


def flow_instrument(
    listing: Listing, price_ticks: int, *, day_notional: float = DAY_NOTIONAL, day_volatility: float = DAY_VOLATILITY
) -> FlowInstrument:
    """Return a listing as the law sees it, of which so much is traded in a day at about this price.

    Units: day_notional in whole units of the quote asset
    """
    instrument = listing.instrument
    lot_price = float(instrument.tick_size) * price_ticks * float(instrument.lot_size)
    return FlowInstrument(
        number=listing.number,
        symbol=listing.symbol,
        day_lots=day_notional / lot_price,
        day_volatility=day_volatility,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowAccounts:
    """The accounts that the flow trades for: makers of near, middle and deep orders, and takers."""

    makers: tuple[int, int, int]
    takers: tuple[int, int]

    def __post_init__(self) -> None:
        check(len(set(self.all)) == CLASSES + TAKERS, "the accounts of the flow are different ones")

    @property
    def all(self) -> tuple[int, ...]:
        """All of them, makers first."""
        return self.makers + self.takers


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """How much happens, and how quickly traders react.

    Units: orders_per_s are new orders a second of an instrument, on average; volume_share is the part of an
           instrument's `day_lots` that is traded; taking_s, closing_s and fleeing_s are mean times in seconds until
           somebody takes a quote that the price has left behind, quotes into a wide spread, or pulls a threatened
           quote; patience is how far the price may leave the quotes before anybody reacts, in standard deviations of a
           second
    """

    orders_per_s: float
    volume_share: float
    taking_s: float
    closing_s: float
    fleeing_s: float
    patience: float

    def __post_init__(self) -> None:
        check(0 < self.orders_per_s <= 20_000, "a flow has orders, and no more than 20,000 a second")
        check(0 < self.volume_share <= 1, "the share of the volume is a part")
        check(min(self.taking_s, self.closing_s, self.fleeing_s) > 0, "reactions take time")
        check(self.patience >= 0, "patience is not negative")


CALM: Final = Intensity(orders_per_s=4.0, volume_share=0.03, taking_s=1.0, closing_s=0.3, fleeing_s=0.2, patience=2.0)
# Books that are thin for a while, and prices that leap, cost orders: over an hour this is 200 a second.
BUSY: Final = Intensity(
    orders_per_s=212.0, volume_share=1.0, taking_s=1.0, closing_s=0.0018, fleeing_s=0.03, patience=0.85
)
INTENSITIES: Final[Mapping[str, Intensity]] = MappingProxyType({"calm": CALM, "busy": BUSY})
