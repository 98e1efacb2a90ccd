"""The channels of the exchange: the visible book and trades of a symbol, the orders and balances of an account.

Numbers belong to this process: a restart begins a new epoch, and whoever comes back takes a snapshot.
"""

import zlib
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from fauxchange.contracts.exchange import proto, render
from fauxchange.contracts.exchange.messages import (
    BalanceMessage,
    BookMessage,
    OrderMessage,
    ReportMessage,
    StreamFrame,
    TradeMessage,
)
from fauxchange.domain.errors import InvalidRequest, Unauthenticated
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.order_columns import RestingOrder
from fauxchange.domain.orders import FillRecord, OrderRecord, TradeRecord
from fauxchange.domain.times import format_time
from fauxchange.platform.streams.topics import ANY_SYMBOL, EventTopic, MessageType, StreamMessage, Topic
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.requests import Balance, Caller

BOOK = "book"
TRADES = "trades"
ORDERS = "orders"
BALANCES = "balances"
PRIVATE = (ORDERS, BALANCES)

CHECKED_LEVELS = 10
RECENT_TRADES = 100
KEPT_PRIVATE = 1_000
SNAPSHOT_LEVELS = 1_000

_encoder = msgspec.json.Encoder()

Levels = list[tuple[int, int]]
Checked = tuple[list[int], list[int]]
"""Prices and lots of the best bids, then of the best asks."""
Touched = tuple[dict[int, int], dict[int, int]]
"""What prices show now, bids and asks: lots by price."""


class VisibleBook:
    """What everybody may see of one book: lots by price."""

    __slots__ = ("_lots", "_prices", "listing", "ts_ns")

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.ts_ns = 0
        self._lots: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._prices: tuple[list[int], list[int]] = ([], [])

    def put(self, side: int, price_ticks: int, lots: int) -> None:
        """Say what a price shows now; 0 lots take it out."""
        self.take(side, {price_ticks: lots})

    def take(self, side: int, lots_at: Mapping[int, int]) -> None:
        """Say what some prices of a side show now; 0 lots take one out."""
        known, prices = self._lots[side], self._prices[side]
        for price_ticks, lots in lots_at.items():
            if lots:
                if price_ticks not in known:
                    insort(prices, price_ticks)
                known[price_ticks] = lots
            elif known.pop(price_ticks, 0):
                del prices[bisect_left(prices, price_ticks)]

    def best(self, side: int, count: int) -> Levels:
        """Return price and lots of the best levels, the best first."""
        known, prices = self._lots[side], self._prices[side]
        chosen = prices[: -count - 1 : -1] if side == 0 else prices[:count]
        return [(price, known[price]) for price in chosen]

    def texts(self, levels: Levels) -> list[tuple[str, str]]:
        """Return levels as decimal text."""
        price_text = self.listing.instrument.prices.text
        lots_text = self.listing.instrument.quantities.text
        return [(price_text(price), lots_text(lots)) for price, lots in levels]

    def checksum(self) -> int:
        """Return the CRC-32 over `price:quantity` of the ten best bids and then asks, joined by `|`."""
        return self.checksum_of(self.checked())

    def checked(self) -> Checked:
        """Return the levels that the checksum is over."""
        bids, asks = self._prices[0][: -CHECKED_LEVELS - 1 : -1], self._prices[1][:CHECKED_LEVELS]
        lots_at_bid, lots_at_ask = self._lots
        return bids + asks, [lots_at_bid[price] for price in bids] + [lots_at_ask[price] for price in asks]

    def checksum_of(self, checked: Checked) -> int:
        """Return the checksum of a book whose best levels were these."""
        levels = self.texts(list(zip(*checked, strict=True)))
        return zlib.crc32("|".join([f"{price}:{lots}" for price, lots in levels]).encode())


class BookChange:
    """What changed in a visible book at once, and its checksum afterwards; rendered when somebody reads it.

    Thousands of these are kept for those who come back, so each is few objects: lots by price as they come from a
    batch, and for the checksum, which is computed when somebody asks for it, the levels that it is over.
    """

    __slots__ = ("_asks", "_bids", "_checked", "book", "ts_ns")

    def __init__(
        self,
        book: VisibleBook,
        bids: Levels | dict[int, int],
        asks: Levels | dict[int, int],
        checked: Checked | int,
        ts_ns: int,
    ) -> None:
        self.book = book
        self._bids = bids
        self._asks = asks
        self._checked = checked
        self.ts_ns = ts_ns

    @property
    def bids(self) -> Levels:
        """Bids that changed, as they are now."""
        return list(self._bids.items()) if isinstance(self._bids, dict) else self._bids

    @property
    def asks(self) -> Levels:
        """Asks that changed, as they are now."""
        return list(self._asks.items()) if isinstance(self._asks, dict) else self._asks

    @property
    def checksum(self) -> int:
        """The book's checksum after the change."""
        if not isinstance(self._checked, int):
            self._checked = self.book.checksum_of(self._checked)
        return self._checked

    def message(self, sequence: int) -> BookMessage:
        """Return the change as a message."""
        return BookMessage(
            symbol=self.book.listing.symbol,
            bids=self.book.texts(self.bids),
            asks=self.book.texts(self.asks),
            sequence=sequence,
            timestamp=format_time(self.ts_ns),
            checksum=self.checksum,
        )


def frame_json(message: StreamMessage, data: object) -> bytes:
    """Return the JSON object of a stream message that carries `data`."""
    topic = message.topic
    return _encoder.encode(
        StreamFrame(
            channel=topic.channel,
            symbol=topic.symbol,
            epoch=topic.epoch,
            first_sequence=message.first_sequence,
            sequence=message.sequence,
            type=message.type,
            data=data,
        )
    )


ProtoElement = Callable[[int, int, int, str, Any], bytes]


class _Codec:
    """Render a channel's data once, then as JSON or protobuf."""

    def __init__(self, rendered: Callable[[StreamMessage], Any], element: ProtoElement) -> None:
        self._rendered = rendered
        self._element = element

    def json(self, message: StreamMessage) -> bytes:
        """Return the message as one JSON object."""
        return frame_json(message, self._rendered(message))

    def proto(self, message: StreamMessage) -> bytes:
        """Return the message as one element of its batch."""
        return self._element(
            message.topic.epoch, message.first_sequence, message.sequence, message.type, self._rendered(message)
        )


BOOK_CODEC = _Codec(lambda message: message.data.message(message.sequence), proto.book_update)


class BookTopic(Topic):
    """The visible book of one symbol; each delta is what one batch of commands has changed."""

    __slots__ = ("book",)

    def __init__(self, book: VisibleBook, *, epoch: int, keep: int) -> None:
        super().__init__(BOOK, book.listing.symbol, epoch=epoch, codec=BOOK_CODEC, keep=keep)
        self.book = book

    def change(self, touched: Touched, ts_ns: int) -> StreamMessage:
        """Take in what prices show now; return the delta, numbered and kept."""
        book = self.book
        book.take(0, touched[0])
        book.take(1, touched[1])
        book.ts_ns = ts_ns
        change = BookChange(book, touched[0], touched[1], book.checked(), ts_ns)
        message = self.number("delta", change)
        self.keep(message)
        return message

    def snapshot(self) -> StreamMessage:
        """Return the book as it stands."""
        book = self.book
        whole = BookChange(
            book, book.best(0, SNAPSHOT_LEVELS), book.best(1, SNAPSHOT_LEVELS), book.checked(), book.ts_ns
        )
        return StreamMessage(self, self.sequence, self.sequence, "snapshot", whole)


class TradeTopic(EventTopic):
    """The trades of one symbol; the snapshot is the newest of them, oldest first."""

    __slots__ = ("listing", "recent")

    def __init__(self, listing: Listing, *, epoch: int, keep: int) -> None:
        self.listing = listing
        self.recent: deque[TradeRecord] = deque(maxlen=RECENT_TRADES)
        codec = _Codec(self._rendered, proto.trade_update)
        super().__init__(TRADES, listing.symbol, epoch=epoch, codec=codec, keep=keep, state=lambda: list(self.recent))

    def traded(self, trade: TradeRecord) -> StreamMessage:
        """Tell of a trade."""
        self.recent.append(trade)
        message = self.number("event", trade)
        self.keep(message)
        return message

    def _rendered(self, message: StreamMessage) -> TradeMessage | list[TradeMessage]:
        if message.type == "snapshot":
            return [render.trade_message(trade, self.listing) for trade in message.data]
        return render.trade_message(message.data, self.listing)


class Report:
    """One execution report: what happened to an order, and the order after it."""

    __slots__ = ("exec_type", "fill", "listing", "record")

    def __init__(self, exec_type: str, record: OrderRecord, listing: Listing, fill: FillRecord | None) -> None:
        self.exec_type = exec_type
        self.record = record
        self.listing = listing
        self.fill = fill


class RestingReport:
    """The report of an order that was accepted and rests, made when somebody reads it."""

    __slots__ = ("_order", "listing")

    exec_type = "new"
    fill = None

    def __init__(self, order: RestingOrder, listing: Listing) -> None:
        self._order = order
        self.listing = listing

    @property
    def record(self) -> OrderRecord:
        """The order as it was placed."""
        return self._order.record()


class PrivateTopics:
    """The channels of one account, made when it first subscribes to one."""

    __slots__ = ("balances", "orders")

    def __init__(
        self,
        *,
        epoch: int,
        open_orders: Callable[[], list[tuple[OrderRecord, Listing]]],
        balances: Callable[[], list[Balance]],
        asset: Callable[[str], Asset],
    ) -> None:
        def shown(message: StreamMessage) -> ReportMessage | list[OrderMessage]:
            if message.type == "snapshot":
                return [render.order_message(record, listing) for record, listing in message.data]
            report: Report | RestingReport = message.data
            return render.report_message(report.exec_type, report.record, report.listing, report.fill)

        def told(message: StreamMessage) -> list[BalanceMessage]:
            return [render.balance_message(balance, asset(balance.asset)) for balance in message.data]

        self.orders = EventTopic(
            ORDERS,
            ANY_SYMBOL,
            epoch=epoch,
            codec=_Codec(shown, proto.order_update),
            keep=KEPT_PRIVATE,
            state=open_orders,
        )
        self.balances = EventTopic(
            BALANCES,
            ANY_SYMBOL,
            epoch=epoch,
            codec=_Codec(told, proto.balance_update),
            keep=KEPT_PRIVATE,
            state=balances,
        )

    def report(self, report: Report | RestingReport) -> StreamMessage:
        """Tell of an order."""
        return _kept(self.orders, "event", report)

    def changed(self, balances: list[Balance]) -> StreamMessage:
        """Tell the balances that changed."""
        return _kept(self.balances, "delta", balances)


def resolve_topics(
    channel: str,
    symbol: str | None,
    caller: Caller | None,
    *,
    registry: Registry,
    books: Sequence[BookTopic],
    trades: Sequence[TradeTopic],
    private: Callable[[int], PrivateTopics],
) -> list[Topic]:
    """Return the topics of a channel. Raises: InvalidRequest, NotFound, Unauthenticated."""
    every = symbol is None or symbol == ANY_SYMBOL
    if channel in {BOOK, TRADES}:
        topics: Sequence[Topic] = books if channel == BOOK else trades
        if every or symbol is None:
            return list(topics)
        return [topics[registry.listing(symbol).number]]
    if channel in PRIVATE:
        if caller is None or caller.account < 0:
            raise Unauthenticated(f"the channel {channel} wants an authenticated session")
        if not every:
            raise InvalidRequest(f"the channel {channel} has no symbol", code="invalid_symbol", field="symbol")
        mine = private(caller.account)
        return [mine.orders if channel == ORDERS else mine.balances]
    raise InvalidRequest(
        f"there is no channel {channel!r}; there are {BOOK}, {TRADES}, {ORDERS} and {BALANCES}",
        code="unknown_channel",
        field="channel",
    )


def _kept(topic: Topic, kind: Literal["event", "delta"], data: object) -> StreamMessage:
    message_type: MessageType = kind
    message = topic.number(message_type, data)
    topic.keep(message)
    return message
