"""What a gateway knows of the exchange: accounts, keys, instruments and topics, as the kernel process told them.

Numbers are never made here: a message has those with which it was told, and one that does not follow the one before it
is a failure of the link, which begins anew.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from fauxchange.domain.errors import Unavailable
from fauxchange.domain.listings import Listing
from fauxchange.domain.orders import OPEN_STATUSES, KeyRecord, OrderRecord, TradeRecord
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import StreamMessage, Topic
from fauxchange.services.exchange.service import links
from fauxchange.services.exchange.service.channels import (
    ORDERS,
    BookChange,
    BookTopic,
    PrivateTopics,
    Report,
    TradeTopic,
    VisibleBook,
)
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.requests import Balance

PUBLIC: Final = -1

_read_book: Final = msgspec.msgpack.Decoder(links.BookData).decode
_read_trade: Final = msgspec.msgpack.Decoder(TradeRecord).decode
_read_trades: Final = msgspec.msgpack.Decoder(list[TradeRecord]).decode
_read_report: Final = msgspec.msgpack.Decoder(links.ReportData).decode
_read_orders: Final = msgspec.msgpack.Decoder(list[OrderRecord]).decode
_read_balances: Final = msgspec.msgpack.Decoder(list[Balance]).decode


class Watched:
    """The private channels of one account, while somebody reads them here."""

    def __init__(self, registry: Registry, epoch: int, ready: "asyncio.Future[Any]") -> None:
        self.watchers = 0
        self.ready = ready
        """What everybody waits for who begins to watch."""
        self._orders: dict[int, OrderRecord] = {}
        self._balances: dict[str, Balance] = {}
        self._listing = registry.listing
        self.topics = PrivateTopics(
            epoch=epoch, open_orders=self._open_orders, balances=self._shown_balances, asset=registry.asset
        )

    def _open_orders(self) -> list[tuple[OrderRecord, Listing]]:
        return [(record, self._listing(record.symbol)) for _, record in sorted(self._orders.items())]

    def _shown_balances(self) -> list[Balance]:
        return [each for each in self._balances.values() if each.free or each.held]

    def begin(self, told: links.Told) -> None:
        """Take up how orders or balances stand."""
        if told.topic == ORDERS:
            self._orders = {record.order_id: record for record in _read_orders(told.data)}
        else:
            self._balances = {balance.asset: balance for balance in _read_balances(told.data)}

    def read(self, told: links.Told) -> object:
        """Take in what happened; return what the message carries."""
        if told.topic == ORDERS:
            report = _read_report(told.data)
            record = report.record
            if record.status in OPEN_STATUSES:
                self._orders[record.order_id] = record
            else:
                self._orders.pop(record.order_id, None)
            return Report(report.exec_type, record, self._listing(record.symbol), report.fill)
        balances = _read_balances(told.data)
        self._balances.update({balance.asset: balance for balance in balances})
        return balances

    def topic(self, name: str) -> Topic:
        """Return the topic of a channel."""
        return self.topics.orders if name == ORDERS else self.topics.balances


class Replica:
    """A copy that one link keeps up; without the link it is not current, and `check_live` says so."""

    def __init__(self, hub: Hub, *, keep: int) -> None:
        self.hub = hub
        self.registry = Registry()
        self.epoch = 0
        self.books: list[BookTopic] = []
        self.trades: list[TradeTopic] = []
        self.watched: dict[int, Watched] = {}
        self.is_live: Callable[[], bool] = lambda: False
        self._keep = keep
        self._public: dict[str, BookTopic | TradeTopic] = {}
        self._fresh: list[StreamMessage] = []
        self._handlers: Mapping[type[links.Message], Callable[[Any], None]] = {
            links.Accounts: self._accounts,
            links.Keys: self._keys,
            links.ListingStatus: self._status,
            links.Told: self._told,
        }

    def check_live(self) -> None:
        """Let pass who wants what is known now. Raises: Unavailable while the kernel process is away."""
        if not self.is_live():
            raise kernel_away()

    def find(self, api_key: str) -> KeyRecord | None:
        """Return an API key's record, a revoked one's too."""
        return self.registry.find(api_key)

    def known(self) -> dict[str, tuple[int, int]]:
        """Return up to which number of which epoch the public topics are known."""
        return {name: (topic.epoch, topic.sequence) for name, topic in self._public.items()}

    # What is told

    def welcome(self, message: links.Welcome) -> None:
        """Begin with what a kernel process says it has; topics of the same epoch go on."""
        self.registry = Registry()
        self.registry.restore(message.venue, (), ())
        if message.epoch != self.epoch:
            self.epoch = message.epoch
            listings = self.registry.listings
            self.books = [BookTopic(VisibleBook(each), epoch=self.epoch, keep=self._keep) for each in listings]
            self.trades = [TradeTopic(each, epoch=self.epoch, keep=self._keep) for each in listings]
            self._public = {**{each.key: each for each in self.books}, **{each.key: each for each in self.trades}}

    def take(self, message: links.Message) -> bool:
        """Take in a message; return False if it is none for a replica. Raises: Unavailable if one is missing."""
        handler = self._handlers.get(type(message))
        if handler is None:
            return False
        handler(message)
        return True

    def publish(self) -> None:
        """Hand on what was told since the last time."""
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self.hub.publish(fresh)

    def _accounts(self, message: links.Accounts) -> None:
        for record in message.records:
            self.registry.put_account(record)

    def _keys(self, message: links.Keys) -> None:
        for record in message.records:
            self.registry.put_key(record)

    def _status(self, message: links.ListingStatus) -> None:
        self.registry.listing(message.symbol).status = message.status

    def _told(self, told: links.Told) -> None:
        if told.account == PUBLIC:
            self._told_public(told)
            return
        watched = self.watched.get(told.account)
        if watched is None:
            return
        topic = watched.topic(told.topic)
        if told.kind == "snapshot":
            watched.begin(told)
            topic.sequence = told.sequence
        else:
            if not topic.kept:
                # The first that is told again, for those who resume.
                topic.sequence = told.first_sequence - 1
            self._keep_message(topic, told, watched.read(told))

    def _told_public(self, told: links.Told) -> None:
        topic = self._public[told.topic]
        if told.kind == "snapshot":
            # What was kept does not reach up to it.
            topic.kept.clear()
            topic.sequence = told.sequence
        if isinstance(topic, BookTopic):
            data = _read_book(told.data)
            if told.kind == "snapshot":
                topic.book = VisibleBook(topic.book.listing)
            for side, levels in enumerate((data.bids, data.asks)):
                for price, lots in levels:
                    topic.book.put(side, price, lots)
            topic.book.ts_ns = data.ts_ns
            if told.kind != "snapshot":
                change = BookChange(topic.book, data.bids, data.asks, data.checksum, data.ts_ns)
                self._keep_message(topic, told, change)
        elif told.kind == "snapshot":
            topic.recent.clear()
            topic.recent.extend(_read_trades(told.data))
        else:
            trade = _read_trade(told.data)
            topic.recent.append(trade)
            self._keep_message(topic, told, trade)

    def _keep_message(self, topic: Topic, told: links.Told, data: object) -> None:
        if told.first_sequence != topic.sequence + 1:
            self._forget_numbers()
            raise Unavailable(
                f"{topic.channel} {topic.symbol} went on with {told.first_sequence} after {topic.sequence}",
                code="kernel_away",
            )
        message = StreamMessage(topic, told.first_sequence, told.sequence, told.kind, data)
        topic.sequence = told.sequence
        topic.keep(message)
        self._fresh.append(message)

    def _forget_numbers(self) -> None:
        """Begin every topic anew with the next welcome: a message is missing."""
        self.epoch = 0
        self._public = {}

    # Private channels

    def private_topics(self, account: int) -> PrivateTopics:
        """Return the private channels of an account that is watched. Raises: Unavailable."""
        watched = self.watched.get(account)
        if watched is None or not watched.ready.done():
            raise kernel_away()
        return watched.topics


def kernel_away() -> Unavailable:
    """Return why nothing was done."""
    return Unavailable("nothing was done: the exchange's kernel process is away", code="kernel_away", retry_after_s=1.0)
