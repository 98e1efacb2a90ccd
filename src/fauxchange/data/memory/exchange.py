"""The exchange's read models in memory: accounts and open orders whole, the past in bounded numbers."""

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

from fauxchange.data.documents import decode_document, encode_document
from fauxchange.data.memory.tables import MemoryTable
from fauxchange.data.ports import AccountQuery, FillQuery, LedgerQuery, OrderQuery, Page, Projection
from fauxchange.data.queries import (
    FILL_KEY,
    LEDGER_KEY,
    ORDER_KEY,
    Position,
    Span,
    account_span,
    fill_span,
    ledger_span,
    order_span,
    position_of,
)
from fauxchange.domain.market_data import Metadata
from fauxchange.domain.orders import (
    OPEN_STATUSES,
    AccountRecord,
    FillRecord,
    KeyRecord,
    LedgerEntry,
    OrderRecord,
    TrailBlock,
)
from fauxchange.domain.trail import GENESIS, OpenBlock

Record = TypeVar("Record", AccountRecord, KeyRecord, OrderRecord)
Row = TypeVar("Row")

_order_position = position_of(*ORDER_KEY)
_fill_position = position_of(*FILL_KEY)
_ledger_position = position_of(*LEDGER_KEY)

_ALL = "all"
"""The one series of tables that have no other."""


class MemoryExchange:
    """Projections of the journal; about `capacity` finished orders, fills and ledger entries each are kept."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._forget()

    async def store(self, projection: Projection) -> None:
        """Store what a projection holds, and how far it goes."""
        document = encode_document(projection.document, field="document")
        trail = await asyncio.to_thread(self._chained, projection.trail) if projection.trail else []
        self._accounts |= {record.account: copy.copy(record) for record in projection.accounts}
        self._keys |= {record.api_key: copy.copy(record) for record in projection.keys}
        for resting in projection.resting:
            for order in resting.records():
                self._put_order(order)
        for order in projection.orders:
            self._put_order(copy.copy(order))
        for fill in projection.fills:
            self._fills.put(_ALL, _fill_position(fill), fill)
        if projection.fills:
            self._fills.trim(_ALL)
        for entry in chain(projection.ledger, *(rows.entries() for rows in projection.postings)):
            self._put_entry(entry)
        for block in trail:
            self._trail.put(_ALL, (block.first_sequence,), block)
        self._position = projection.sequence, document

    async def position(self) -> tuple[int, Metadata]:
        """Return the sequence and the document of the last projection stored; (0, {}) if there is none."""
        sequence, document = self._position
        return sequence, decode_document(document)

    async def clear(self) -> None:
        """Forget everything, position and trail included."""
        self._forget()

    async def accounts(self, query: AccountQuery) -> Page[AccountRecord]:
        """Return a page of accounts, by number."""
        span = account_span(query)
        found = [
            copy.copy(self._accounts[account])
            for account in sorted(self._accounts)
            if (account,) > span.low and query.status in {None, self._accounts[account].status}
        ]
        return span.page(found[: span.limit + 1], position_of("account"))

    async def keys(self, account: int | None = None) -> Sequence[KeyRecord]:
        """Return all API keys, or those of one account, oldest first, revoked ones too."""
        found = [copy.copy(record) for record in self._keys.values() if account in {None, record.account}]
        return sorted(found, key=lambda record: (record.created_ns, record.api_key))

    async def order(self, order_id: int) -> OrderRecord | None:
        """Return one order."""
        return copy.copy(self._orders.get(_ALL, (order_id,)))

    async def orders(self, query: OrderQuery) -> Page[OrderRecord]:
        """Return a page of orders."""
        span = order_span(query)
        found = self._orders.select(_ALL, span, lambda order: _order_matches(order, query))
        return span.page([copy.copy(order) for order in found], _order_position)

    async def named_orders(self, since_ns: int) -> Sequence[OrderRecord]:
        """Return the orders that are open, and those with a client order id that changed at or after `since_ns`."""

        def matches(order: OrderRecord) -> bool:
            named = order.client_order_id is not None and order.updated_ns >= since_ns
            return named or order.status in OPEN_STATUSES

        everything = Span("", (-1,), (2**63 - 1,), limit=2**62, newest_first=False)
        return [copy.copy(order) for order in self._orders.select(_ALL, everything, matches)]

    async def fills(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of fills."""
        return _page(self._fills, _ALL, fill_span(query), lambda fill: _fill_matches(fill, query), _fill_position)

    async def ledger(self, query: LedgerQuery) -> Page[LedgerEntry]:
        """Return a page of ledger entries."""
        span = ledger_span(query)
        return _page(self._ledger, query.account, span, lambda entry: _entry_matches(entry, query), _ledger_position)

    async def trail(self, from_sequence: int, limit: int) -> Sequence[TrailBlock]:
        """Return up to `limit` trail blocks that end at or after a command's sequence, oldest first."""
        everything = Span("", (-1,), (2**63 - 1,), limit, newest_first=False)
        return self._trail.select(_ALL, everything, lambda block: block.last_sequence >= from_sequence)[:limit]

    async def last_trail(self) -> TrailBlock | None:
        """Return the newest trail block."""
        return self._trail.newest(_ALL)

    def _forget(self) -> None:
        self._accounts: dict[int, AccountRecord] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._orders: MemoryTable[OrderRecord] = MemoryTable(self._capacity)
        self._finished: deque[int] = deque()
        self._fills: MemoryTable[FillRecord] = MemoryTable(self._capacity)
        self._ledger: MemoryTable[LedgerEntry] = MemoryTable(self._capacity)
        self._posted: deque[tuple[int, Position]] = deque()
        self._trail: MemoryTable[TrailBlock] = MemoryTable(self._capacity)
        self._position = 0, "{}"

    def _chained(self, blocks: Sequence[OpenBlock]) -> list[TrailBlock]:
        """Return the blocks, each behind the one before it, and the first behind those that are there."""
        everything = Span("", (-1,), (blocks[0].first_sequence,), 1, newest_first=True)
        before = self._trail.read(_ALL, everything)
        last_hash = bytes.fromhex(before[0].hash) if before else GENESIS
        chained: list[TrailBlock] = []
        for block in blocks:
            chained.append(block.pack(last_hash))
            last_hash = bytes.fromhex(chained[-1].hash)
        return chained

    def _put_order(self, order: OrderRecord) -> None:
        before = self._orders.get(_ALL, _order_position(order))
        self._orders.put(_ALL, _order_position(order), order)
        if order.status in OPEN_STATUSES or (before is not None and before.status not in OPEN_STATUSES):
            return
        self._finished.append(order.order_id)
        if len(self._finished) > self._capacity:
            self._orders.drop(_ALL, (self._finished.popleft(),))

    def _put_entry(self, entry: LedgerEntry) -> None:
        position = _ledger_position(entry)
        if self._ledger.get(entry.account, position) is None:
            self._posted.append((entry.account, position))
        self._ledger.put(entry.account, position, entry)
        if len(self._posted) > self._capacity:
            self._ledger.drop(*self._posted.popleft())


def _page(
    table: MemoryTable[Row],
    key: object,
    span: Span,
    matches: Callable[[Row], bool],
    position: Callable[[Row], Position],
) -> Page[Row]:
    return span.page(table.select(key, span, matches), position)


def _order_matches(order: OrderRecord, query: OrderQuery) -> bool:
    return (
        query.account in {None, order.account}
        and query.symbol in {None, order.symbol}
        and (query.statuses is None or order.status in query.statuses)
        and (query.client_order_id is None or query.client_order_id == order.client_order_id)
        and _within(order.created_ns, query)
    )


def _fill_matches(fill: FillRecord, query: FillQuery) -> bool:
    return (
        query.account in {None, fill.account}
        and query.symbol in {None, fill.symbol}
        and query.order_id in {None, fill.order_id}
        and not (query.taker_only and fill.is_maker)
        and _within(fill.ts_ns, query)
    )


def _entry_matches(entry: LedgerEntry, query: LedgerQuery) -> bool:
    return (
        query.asset in {None, entry.asset}
        and (query.causes is None or entry.cause in query.causes)
        and query.order_id in {None, entry.order_id}
        and _within(entry.ts_ns, query)
    )


def _within(ts_ns: int, query: OrderQuery | FillQuery | LedgerQuery) -> bool:
    return (query.start_ns is None or ts_ns >= query.start_ns) and (query.end_ns is None or ts_ns < query.end_ns)
