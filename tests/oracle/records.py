"""What the reference exchange keeps: accounts, instruments and orders, as plain records."""

from collections import defaultdict
from dataclasses import dataclass, field

MILLION = 1_000_000
LARGEST = 2**63 - 1

FEES, HOUSE, TRANSIT = 0, 1, 2
"""The venue's own accounts."""

AMOUNTS = ("QUOTE_AMOUNT",)


class Refused(Exception):
    """A command that changes nothing, with the name of its reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Account:
    """One account: its tier of fees and what it owns of each asset."""

    tier: int
    status: str = "ACTIVE"
    free: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[int, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class Instrument:
    """What is traded for what, on which grid, within which limits."""

    base_asset: int
    quote_asset: int
    tick_value: int
    lot_value: int
    min_lots: int
    max_lots: int
    min_notional: int
    max_notional: int
    band: int
    max_open_orders: int
    unfunded: bool = False
    status: str = "OPEN"
    reference_ticks: int = 0
    last_ticks: int = 0
    fees: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Maker and taker rate of each tier that has rates, in millionths."""
    resting: list["Order"] = field(default_factory=list)
    """Both sides, in the order in which they came to the back of their queues."""
    waiting: list["Order"] = field(default_factory=list)
    """Stops that have not triggered."""

    def rates(self, tier: int) -> tuple[int, int]:
        """Return the maker and the taker rate of a tier."""
        return self.fees.get(tier, (0, 0))

    def notional(self, lots: int, price_ticks: int) -> int:
        """Return what `lots` cost, in minor units of the quote asset."""
        return lots * price_ticks * self.tick_value

    def orders(self) -> list["Order"]:
        """Return every open order, oldest first."""
        return sorted([*self.resting, *self.waiting], key=lambda order: order.order_id)

    def best(self, side: str) -> "Order | None":
        """Return the order that trades next on one side: best price, then longest at its level."""
        queue = [order for order in self.resting if order.side == side]
        if not queue:
            return None
        return min(queue, key=lambda order: order.price_ticks if side == "SELL" else -order.price_ticks)

    def levels(self, side: str) -> dict[int, int]:
        """Return the displayed lots at each price of one side."""
        shown: dict[int, int] = defaultdict(int)
        for order in self.resting:
            if order.side == side:
                shown[order.price_ticks] += order.shown_lots
        return dict(shown)


@dataclass(eq=False)
class Order:
    """One order, from its acceptance to its end."""

    order_id: int
    account: int
    instrument: int
    side: str
    order_type: str
    time_in_force: str
    self_trade: str
    post_only: bool
    price_ticks: int
    stop_ticks: int
    order_lots: int
    display_lots: int
    quote_amount: int
    expires_ns: int
    taker_rate: int
    """The rate with which a buy reserves: the one at its entry."""
    cum_lots: int = 0
    shown_lots: int = 0
    triggered: bool = False
    spent: int = 0
    """Quote traded so far, of an order by quote amount."""

    @property
    def leaves_lots(self) -> int:
        """Return what is not filled."""
        return self.order_lots - self.cum_lots

    def show(self) -> None:
        """Show the next part of an iceberg, or all that is left of any other order."""
        self.shown_lots = min(self.display_lots, self.leaves_lots) if self.display_lots else self.leaves_lots


def other(side: str) -> str:
    """Return the side that a side trades with."""
    return "SELL" if side == "BUY" else "BUY"


def fee_of(notional: int, rate: int) -> int:
    """Return the fee on a notional, rounded up against who pays."""
    return -(-notional * rate // MILLION)
