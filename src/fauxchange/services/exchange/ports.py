"""What the exchange needs from others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fauxchange.contracts.exchange.messages import OrderRequest
from fauxchange.domain.instruments import Instrument
from fauxchange.domain.orders import OrderRecord


@dataclass(frozen=True, slots=True)
class FeedPrice:
    """The best bid and ask that market data tells of a symbol.

    Units: ticks of the feed's instrument, nanoseconds of venue time
    """

    symbol: str
    ts_ns: int
    bid_ticks: int
    ask_ticks: int


@dataclass(frozen=True, slots=True)
class BookLevels:
    """The best levels of a recorded book, the best of each side first.

    Units: price and quantity of each in ticks and lots of `instrument`, which is the feed's
    """

    instrument: Instrument
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]


class RecordedBooks(Protocol):
    """Where the house takes whole books from: those of the feeds that replay one."""

    def has(self, symbol: str) -> bool:
        """Say whether a symbol's feed replays a recorded book."""
        ...

    def levels(self, symbol: str, ts_ns: int, count: int) -> BookLevels:
        """Return at most `count` levels of each side as they were recorded for this moment of venue time."""
        ...


class MarketPrices(Protocol):
    """Where the house takes its prices from: market data, in the same process or over gRPC."""

    def latest(self, symbol: str) -> FeedPrice | None:
        """Return the newest price of a symbol, None if there is none (yet)."""
        ...

    def subscribe(self, heard: Callable[[Sequence[FeedPrice]], None]) -> None:
        """Call `heard` on the event loop with the prices of each step, from now on; it must not wait or raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """What a user's own check sees of an account. Units: balances in whole units, as exact decimal text."""

    account_id: str
    name: str
    tier: int
    free: Mapping[str, str]
    held: Mapping[str, str]
    open_orders: Sequence[OrderRecord]


class PreTradeCheck(Protocol):
    """A user's own rule, asked before an order is sequenced; its verdict is journalled with the order.

    It must decide by what it is given, quickly and without waiting.
    """

    def __call__(self, account: AccountView, order: OrderRequest) -> str | None:
        """Return None to let the order through, or a stable reason (snake_case) to refuse it."""
        ...
