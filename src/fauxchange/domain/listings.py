"""Assets, and the instruments that are traded: their numbers in the kernel, their grids, their limits."""

from dataclasses import dataclass, field
from decimal import Decimal

from fauxchange.domain.errors import check
from fauxchange.domain.instruments import Grid, Instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """Something that accounts have balances of. Units: amounts in minor units, 10**-decimals of the asset."""

    number: int
    name: str
    decimals: int = 8
    amounts: Grid = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "amounts", Grid(step=Decimal(1).scaleb(-self.decimals)))


@dataclass(slots=True, kw_only=True)
class Listing:
    """An instrument as it is traded; a limit of 0 is none.

    Units: tick_value in minor units of the quote asset for one tick times one lot, lot_value in minor units of the base
           asset for one lot, notionals in minor units of the quote asset, price_band in 1/10,000 of the reference price
    """

    number: int
    instrument: Instrument
    base: Asset
    quote: Asset
    status: int = 0
    min_lots: int = 1
    max_lots: int = 0
    min_notional: int = 0
    max_notional: int = 0
    price_band: int = 0
    max_open_orders: int = 0
    tick_value: int = field(init=False)
    lot_value: int = field(init=False)

    def __post_init__(self) -> None:
        lot_value = self.instrument.lot_size.scaleb(self.base.decimals)
        tick_value = (self.instrument.tick_size * self.instrument.lot_size).scaleb(self.quote.decimals)
        check(lot_value == int(lot_value), "a lot is a whole number of the base asset's minor units")
        check(tick_value == int(tick_value), "a tick times a lot is a whole number of the quote asset's minor units")
        self.lot_value, self.tick_value = int(lot_value), int(tick_value)

    @property
    def symbol(self) -> str:
        """The instrument's symbol."""
        return self.instrument.symbol

    def notional(self, price_ticks: int, lots: int) -> int:
        """Return what so many lots cost at a price, in minor units of the quote asset."""
        return price_ticks * lots * self.tick_value
