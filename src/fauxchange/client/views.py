"""What the messages of each channel mean: a kept book, trades, the caller's orders and balances, prices.

A view takes messages in order and returns what its reader is told. It knows what to make of a snapshot that comes in
the middle, because messages were lost for good or the venue was started again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from fauxchange.client.book import Book
from fauxchange.client.errors import OutOfStep
from fauxchange.contracts.exchange.messages import (
    BalanceMessage,
    BookMessage,
    OrderMessage,
    ReportMessage,
    StreamFrame,
    TradeMessage,
)
from fauxchange.contracts.market_data.messages import PriceMessage

T_co = TypeVar("T_co", covariant=True)

SNAPSHOT = "snapshot"


class View(Protocol[T_co]):
    """What one channel's messages mean."""

    def take(self, message: StreamFrame) -> Iterable[T_co]:
        """Return what a message tells. Raises: OutOfStep if the topic has to begin anew."""
        ...


class BookView:
    """The book of one symbol, the same object each time."""

    def __init__(self) -> None:
        self.book: Book | None = None

    def take(self, message: StreamFrame) -> Iterable[Book]:
        """Return the book after a message. Raises: OutOfStep if its checksum is another than the venue's."""
        change = msgspec.convert(message.data, BookMessage)
        book = self.book
        if book is None:
            book = self.book = Book(message.symbol)
        agrees = book.begin(change) if message.type == SNAPSHOT else book.change(change)
        if not agrees:
            raise OutOfStep(f"the book of {message.symbol} has another checksum than the venue's at {message.sequence}")
        return (book,)


class TradesView:
    """The trades of one symbol from now on, each once."""

    def __init__(self) -> None:
        self._newest: int | None = None

    def take(self, message: StreamFrame) -> Iterable[TradeMessage]:
        """Return the trades that are new; those of the first snapshot are not."""
        if message.type != SNAPSHOT:
            trade = msgspec.convert(message.data, TradeMessage)
            self._newest = int(trade.trade_id)
            return (trade,)
        recent = msgspec.convert(message.data, list[TradeMessage])
        newest, self._newest = self._newest, max((int(trade.trade_id) for trade in recent), default=self._newest or 0)
        return [] if newest is None else [trade for trade in recent if int(trade.trade_id) > newest]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersUpdate:
    """An execution report; or, at the beginning and after messages were lost, all open orders and no report."""

    report: ReportMessage | None = None
    open_orders: list[OrderMessage] | None = None


class OrdersView:
    """The caller's orders."""

    def take(self, message: StreamFrame) -> Iterable[OrdersUpdate]:
        """Return what happened to an order, or which are open."""
        if message.type == SNAPSHOT:
            return (OrdersUpdate(open_orders=msgspec.convert(message.data, list[OrderMessage])),)
        return (OrdersUpdate(report=msgspec.convert(message.data, ReportMessage)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancesUpdate:
    """All balances by asset after a change, and those that it changed."""

    balances: dict[str, BalanceMessage]
    changed: list[BalanceMessage]


class BalancesView:
    """The caller's balances."""

    def __init__(self) -> None:
        self._balances: dict[str, BalanceMessage] = {}

    def take(self, message: StreamFrame) -> Iterable[BalancesUpdate]:
        """Return the balances after a message."""
        changed = msgspec.convert(message.data, list[BalanceMessage])
        if message.type == SNAPSHOT:
            self._balances.clear()
        self._balances.update({balance.asset: balance for balance in changed})
        return (BalancesUpdate(balances=dict(self._balances), changed=changed),)


class PricesView:
    """The newest prices."""

    def take(self, message: StreamFrame) -> Iterable[PriceMessage]:
        """Return a message's price."""
        return (msgspec.convert(message.data, PriceMessage),)
