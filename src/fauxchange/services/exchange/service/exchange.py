"""The exchange's use cases as one: trading, administration, and the questions of both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fauxchange.contracts.exchange.messages import BookMessage
from fauxchange.data.ports import AccountQuery, FillQuery, LedgerQuery, OrderQuery, Page
from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.listings import Asset, Listing
from fauxchange.domain.orders import AccountRecord, FillRecord, LedgerEntry, OrderRecord
from fauxchange.domain.times import format_time
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import Topic
from fauxchange.services.exchange.core.layout import (
    H_EVENT_SEQUENCE,
    H_LAST_ORDER_ID,
    H_LAST_TRADE_ID,
    H_OPEN_ORDERS,
)
from fauxchange.services.exchange.service.administration import Administration
from fauxchange.services.exchange.service.channels import BookTopic, resolve_topics
from fauxchange.services.exchange.service.leftovers import LeavesNothing
from fauxchange.services.exchange.service.requests import Balance, Caller, Origin, Placement
from fauxchange.services.exchange.service.trading import Trading
from fauxchange.services.exchange.service.trail import TrailRecord, read_block

TRAIL_BLOCKS = 8
TRAIL_TURN = 200
MAX_DEPTH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailQuery:
    """Records of the audit trail from a sequence on, oldest first."""

    from_sequence: int = 1
    account: int | None = None
    type: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None


class ExchangeService(Trading, Administration):
    """Everything that edges ask of the exchange."""

    @property
    def hub(self) -> Hub:
        """Who reads which stream."""
        return self.venue.hub

    @property
    def epoch(self) -> int:
        """The epoch of all stream numbers."""
        return self.venue.epoch

    # Markets

    def listings(self) -> list[Listing]:
        """Return all instruments, in the order in which they were listed."""
        return list(self.registry.listings)

    def listing(self, symbol: str) -> Listing:
        """Return an instrument by its symbol in any spelling. Raises: InvalidRequest, NotFound."""
        return self.registry.listing(symbol)

    def listing_of(self, symbol: str) -> Listing:
        """Return the instrument of a record. Raises: NotFound."""
        return self.registry.listing(symbol)

    def asset(self, name: str) -> Asset:
        """Return an asset. Raises: NotFound."""
        return self.registry.asset(name)

    def fees(self, listing: Listing, tier: int) -> tuple[int, int]:
        """Return maker and taker rates. Units: 1/1,000,000 of the notional."""
        return self.registry.fees_of(listing.number, tier)

    def book(self, symbol: str, depth: int) -> BookMessage:
        """Return the visible book to a depth. Raises: InvalidRequest, NotFound."""
        return book_message(self.venue.books[self.registry.listing(symbol).number], depth)

    # Records

    async def orders(self, query: OrderQuery) -> Page[OrderRecord]:
        """Return a page of orders. Raises: InvalidRequest, Unavailable."""
        _check_range(query.start_ns, query.end_ns)
        await self.projector.flush()
        return await self.read_models.orders(query)

    async def fills(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of fills. Raises: InvalidRequest, Unavailable."""
        _check_range(query.start_ns, query.end_ns)
        await self.projector.flush()
        return await self.read_models.fills(query)

    async def trades(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of trades, each as its taker's fill. Raises: InvalidRequest, Unavailable."""
        return await self.fills(query)

    async def ledger(self, query: LedgerQuery) -> Page[LedgerEntry]:
        """Return a page of ledger entries. Raises: InvalidRequest, Unavailable."""
        _check_range(query.start_ns, query.end_ns)
        await self.projector.flush()
        return await self.read_models.ledger(query)

    async def accounts(self, query: AccountQuery) -> Page[AccountRecord]:
        """Return a page of accounts. Raises: InvalidRequest, Unavailable."""
        await self.projector.flush()
        return await self.read_models.accounts(query)

    async def placements(self, query: OrderQuery) -> Page[Placement]:
        """Return a page of orders, each with the fills that are in memory. Raises: InvalidRequest, Unavailable."""
        page = await self.orders(query)
        fills = self.fills_in_memory
        return Page([Placement(record, fills(record.order_id)) for record in page.items], page.next_cursor)

    def balances(self, account: int) -> list[Balance]:
        """Return an account's balances that are not zero."""
        return self.venue.balances_of(account)

    async def current_balances(self, account: int) -> list[Balance]:
        """Return an account's balances that are not zero."""
        return self.balances(account)

    # Streams

    def resolve_topics(self, channel: str, symbol: str | None, caller: Caller | None) -> list[Topic]:
        """Return the topics of a channel. Raises: InvalidRequest, NotFound, Unauthenticated."""
        return resolve_topics(
            channel,
            symbol,
            caller,
            registry=self.registry,
            books=self.venue.books,
            trades=self.venue.trades,
            private=self.venue.private_topics,
        )

    async def watch(self, account: int) -> Callable[[], None]:  # noqa: ARG002 - as `ExchangeApi` has it
        """Return what does nothing: private channels are here."""
        return lambda: None

    def kernel_session(self, account: int, origin: Origin) -> LeavesNothing | None:  # noqa: ARG002 - as `ExchangeApi`
        """Leave it to the session to cancel what it has placed: this is the kernel process."""
        return None

    # Audit

    async def trail(self, query: TrailQuery) -> AsyncIterator[TrailRecord]:
        """Yield records of the audit trail, oldest first, up to what has been carried out by now.

        Raises: DamagedJournal that names the first bad record; Unavailable
        """
        await self.projector.flush()
        last, sequence, read = self.projector.position, max(1, query.from_sequence), 0
        while sequence <= last:
            blocks = await self.read_models.trail(sequence, TRAIL_BLOCKS)
            if not blocks:
                return
            for block in blocks:
                for record in read_block(block):
                    if record.last_sequence >= sequence and _is_wanted(record, query):
                        yield record
                    read += 1
                    if read % TRAIL_TURN == 0:
                        # Who reads the whole trail must not keep orders waiting.
                        await asyncio.sleep(0)
            sequence = blocks[-1].last_sequence + 1

    def state(self) -> dict[str, Any]:
        """Return the internal state: sequences, queues, books, sums of the ledger, the kernel's hash."""
        header = self.venue.engine.state.memory
        sums: dict[str, dict[str, int]] = {}
        for account in range(int(self.venue.account_count)):
            for balance in self.venue.balances_of(account):
                total = sums.setdefault(balance.asset, {"free": 0, "held": 0})
                total["free"] += balance.free
                total["held"] += balance.held
        return {
            "epoch": self.epoch,
            "sequence": self.venue.sequence,
            "event_sequence": int(header[H_EVENT_SEQUENCE]),
            "last_order_id": int(header[H_LAST_ORDER_ID]),
            "last_trade_id": int(header[H_LAST_TRADE_ID]),
            "open_orders": int(header[H_OPEN_ORDERS]),
            "accounts": len(self.registry.accounts),
            "queue": {"waiting": self.sequencer.waiting, "batches": self.sequencer.batches},
            "read_models": {"position": self.projector.position, "behind": self.projector.behind},
            "books": {
                topic.symbol: {
                    "sequence": topic.sequence,
                    "subscribers": topic.subscribers,
                    "best_bid": topic.book.texts(topic.book.best(0, 1)),
                    "best_ask": topic.book.texts(topic.book.best(1, 1)),
                    "checksum": topic.book.checksum(),
                }
                for topic in self.venue.books
            },
            "ledger": {asset: {name: str(value) for name, value in total.items()} for asset, total in sums.items()},
            "state_hash": self.venue.engine.state_hash(),
        }


def book_message(topic: BookTopic, depth: int) -> BookMessage:
    """Return a visible book to a depth."""
    book = topic.book
    return BookMessage(
        symbol=book.listing.symbol,
        bids=book.texts(book.best(0, depth)),
        asks=book.texts(book.best(1, depth)),
        sequence=topic.sequence,
        timestamp=format_time(book.ts_ns),
        checksum=book.checksum(),
    )


def _check_range(start_ns: int | None, end_ns: int | None) -> None:
    if start_ns is not None and end_ns is not None and start_ns > end_ns:
        raise InvalidRequest("start comes after end", code="invalid_range", field="start")


def _is_wanted(record: TrailRecord, query: TrailQuery) -> bool:
    return (
        (query.account is None or record.concerns(query.account))
        and (query.type is None or record.type == query.type)
        and (query.start_ns is None or record.ts_ns >= query.start_ns)
        and (query.end_ns is None or record.ts_ns < query.end_ns)
    )
