"""The exchange's read models in SQLite: a projection is one transaction in the main file.

They are not durable before the next write to the log reaches the disk, and need not be: what a power cut takes from
them is made anew from the journal, which goes on behind their position.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

from sqlalchemy import bindparam, delete, false, func, or_, select, text
from sqlalchemy.dialects import sqlite

from fauxchange.data.documents import decode_document, encode_document
from fauxchange.data.filters import given_filters, inside, one_of
from fauxchange.data.ports import AccountQuery, FillQuery, LedgerQuery, OrderQuery, Page, Projection
from fauxchange.data.queries import (
    FILL_KEY,
    LEDGER_KEY,
    MAX_INT64,
    MIN_INT64,
    ORDER_KEY,
    Span,
    account_span,
    fill_span,
    ledger_span,
    order_span,
)
from fauxchange.data.sqlite.columns import ColumnTables
from fauxchange.data.sqlite.crossing import StoreBlock
from fauxchange.data.sqlite.database import Connected
from fauxchange.data.sqlite.statements import RecordPages, RecordTable, SqliteStatement
from fauxchange.data.sqlite.transactions import Executor, do
from fauxchange.data.tables import (
    OPEN_ORDERS,
    exchange_accounts,
    exchange_fills,
    exchange_keys,
    exchange_ledger,
    exchange_orders,
    exchange_position,
    exchange_trail,
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

Record = TypeVar("Record")

_NAME = "projection"
_TABLES = (
    exchange_accounts,
    exchange_keys,
    exchange_orders,
    exchange_fills,
    exchange_ledger,
    exchange_trail,
    exchange_position,
)
_STATEMENTS_KEPT = 256
_UNBOUNDED = 2**62


class SqliteExchange:
    """Accounts, keys, orders, fills, ledger entries and the audit trail, as the journal makes them."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._statements = ExchangeStatements()

    async def store(self, projection: Projection) -> None:
        """Store what a projection holds, and how far it goes, in one transaction."""
        document = encode_document(projection.document, field="document")
        work = partial(self._statements.store, projection=projection, document=document)
        await self._database().transact(work, rows=projection.size + 1)

    async def position(self) -> tuple[int, Metadata]:
        """Return the sequence and the document of the last projection stored; (0, {}) if there is none."""
        found = await self._database().read(self._statements.position)
        return (0, {}) if found is None else (found[0], decode_document(found[1]))

    async def clear(self) -> None:
        """Forget everything, position and trail included."""
        await self._database().transact(self._statements.clear, rows=1)

    async def accounts(self, query: AccountQuery) -> Page[AccountRecord]:
        """Return a page of accounts, by number."""
        given = given_filters(status=query.status)
        pages = partial(self._statements.account_pages, tuple(given))
        return await self._page(pages, account_span(query), given)

    async def keys(self, account: int | None = None) -> Sequence[KeyRecord]:
        """Return all API keys, or those of one account, oldest first, revoked ones too."""
        found = await self._database().read(partial(self._statements.keys.value, account=account))
        return self._statements.key_records.unpack(found)

    async def order(self, order_id: int) -> OrderRecord | None:
        """Return one order."""
        found = await self._database().read(partial(self._statements.order.value, of=order_id))
        records = self._statements.order_records.unpack(found)
        return records[0] if records else None

    async def orders(self, query: OrderQuery) -> Page[OrderRecord]:
        """Return a page of orders."""
        fixed = given_filters(account=query.account, symbol=query.symbol, client_order_id=query.client_order_id)
        statuses = None if query.statuses is None else tuple(sorted(set(query.statuses)))
        within = given_filters(start_ns=query.start_ns, end_ns=query.end_ns)
        pages = partial(self._statements.order_pages, tuple(fixed), statuses, tuple(within))
        return await self._page(pages, order_span(query), fixed | within)

    async def named_orders(self, since_ns: int) -> Sequence[OrderRecord]:
        """Return the orders that are open, and those with a client order id that changed at or after `since_ns`."""
        return await self._database().read(partial(self._statements.named_orders, since_ns=since_ns))

    async def fills(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of fills."""
        fixed = given_filters(account=query.account, symbol=query.symbol, order_id=query.order_id)
        within = given_filters(start_ns=query.start_ns, end_ns=query.end_ns)
        pages = partial(self._statements.fill_pages, tuple(fixed), query.taker_only, tuple(within))
        return await self._page(pages, fill_span(query), fixed | within)

    async def ledger(self, query: LedgerQuery) -> Page[LedgerEntry]:
        """Return a page of ledger entries."""
        fixed = given_filters(account=query.account, asset=query.asset, order_id=query.order_id)
        causes = None if query.causes is None else tuple(sorted(set(query.causes)))
        within = given_filters(start_ns=query.start_ns, end_ns=query.end_ns)
        pages = partial(self._statements.ledger_pages, tuple(fixed), causes, tuple(within))
        return await self._page(pages, ledger_span(query), fixed | within)

    async def trail(self, from_sequence: int, limit: int) -> Sequence[TrailBlock]:
        """Return up to `limit` trail blocks that end at or after a command's sequence, oldest first."""
        return await self._database().read(partial(self._statements.trail, from_sequence=from_sequence, limit=limit))

    async def last_trail(self) -> TrailBlock | None:
        """Return the newest trail block."""
        return await self._database().read(self._statements.last_trail)

    async def _page(self, pages: Callable[[], RecordPages[Record]], span: Span, given: dict[str, Any]) -> Page[Record]:
        # `pages` is called in the thread, because compiling a new combination of filters takes milliseconds.
        return await self._database().read(lambda connection: pages().read(connection, span, **given))


class ExchangeStatements:
    """The statements of the read models; those of pages are made for the filters that are used, and kept."""

    def __init__(self) -> None:
        self.account_records = RecordTable(exchange_accounts, AccountRecord)
        self.key_records = RecordTable(exchange_keys, KeyRecord)
        self.order_records = RecordTable(exchange_orders, OrderRecord)
        self.fill_records = RecordTable(exchange_fills, FillRecord)
        self.ledger_records = RecordTable(exchange_ledger, LedgerEntry)
        self._columns = ColumnTables()
        keys = exchange_keys.c
        chosen = select(exchange_keys).where(or_(bindparam("account").is_(None), keys.account == bindparam("account")))
        self.keys = self.key_records.packed(chosen.order_by(keys.created_ns, keys.api_key))
        self.order = self.order_records.packed(
            select(exchange_orders).where(exchange_orders.c.order_id == bindparam("of"))
        )
        self.account_pages = lru_cache(_STATEMENTS_KEPT)(self._account_pages)
        self.order_pages = lru_cache(_STATEMENTS_KEPT)(self._order_pages)
        self.fill_pages = lru_cache(_STATEMENTS_KEPT)(self._fill_pages)
        self.ledger_pages = lru_cache(_STATEMENTS_KEPT)(self._ledger_pages)
        self.open_orders = RecordPages(
            self.order_records, fixed=[], position=["account", "order_id"], conditions=[text(OPEN_ORDERS)]
        )
        named = exchange_orders.c.client_order_id.is_not(None)
        self.named = RecordPages(self.order_records, fixed=[], position=["updated_ns", "order_id"], conditions=[named])
        self._store_trail = _upsert(exchange_trail)
        trail = exchange_trail.c
        before = select(trail.hash).where(trail.first_sequence < bindparam("first"))
        self._hash_before = SqliteStatement(before.order_by(trail.first_sequence.desc()).limit(1))
        blocks = select(exchange_trail).order_by(trail.first_sequence).limit(bindparam("count"))
        self._trail = SqliteStatement(
            blocks.where(trail.first_sequence >= bindparam("first"), trail.last_sequence >= bindparam("after"))
        )
        self._trail_start = SqliteStatement(
            select(func.max(trail.first_sequence)).where(trail.first_sequence <= bindparam("after"))
        )
        self._last_trail = SqliteStatement(
            select(exchange_trail).order_by(trail.first_sequence.desc()).limit(bindparam("count"))
        )
        self._store_position = _upsert(exchange_position)
        self._position = SqliteStatement(select(exchange_position.c.sequence, exchange_position.c.document))
        self._clear = [SqliteStatement(delete(table)) for table in _TABLES]

    def store(self, connection: Executor, *, projection: Projection, document: str) -> None:
        """Store everything, in the transaction that is under way."""
        parts: list[tuple[RecordTable[Any], Sequence[Any]]] = [
            (self.account_records, projection.accounts),
            (self.key_records, projection.keys),
            (self.order_records, projection.orders),
            (self.fill_records, projection.fills),
            (self.ledger_records, projection.ledger),
        ]
        # Before the records, which may be those of the same orders later on.
        self._columns.store(connection, projection.resting, projection.postings)
        for table, records in parts:
            if records:
                table.upsert(connection, records)
        for block in projection.trail:
            before = self._hash_before.parameters(first=block.first_sequence)
            do(connection, StoreBlock(block, (self._hash_before.sql, before), self._store_trail.sql))
        self._store_position.execute(connection, name=_NAME, sequence=projection.sequence, document=document)

    def position(self, connection: sqlite3.Connection) -> tuple[int, str] | None:
        """Return the sequence and the document of the last projection."""
        rows = self._position.rows(connection)
        return rows[0] if rows else None

    def clear(self, connection: Executor) -> None:
        """Delete everything, in the transaction that is under way."""
        for statement in self._clear:
            statement.execute(connection)

    def named_orders(self, connection: sqlite3.Connection, *, since_ns: int) -> list[OrderRecord]:
        """Return the open orders and the named ones that changed lately, by order id."""
        whole = Span("", (MIN_INT64, MIN_INT64), (MAX_INT64, MAX_INT64), _UNBOUNDED, newest_first=False)
        lately = Span("", (since_ns - 1, MAX_INT64), whole.high, _UNBOUNDED, newest_first=False)
        found = {order.order_id: order for order in self.open_orders.read(connection, whole).items}
        found |= {order.order_id: order for order in self.named.read(connection, lately).items}
        return [found[order_id] for order_id in sorted(found)]

    def trail(self, connection: sqlite3.Connection, *, from_sequence: int, limit: int) -> list[TrailBlock]:
        """Return the blocks from the one that holds a sequence on."""
        first = self._trail_start.value(connection, after=from_sequence) or 0
        rows = self._trail.rows(connection, first=first, after=from_sequence, count=limit)
        return [_block(row) for row in rows]

    def last_trail(self, connection: sqlite3.Connection) -> TrailBlock | None:
        """Return the newest block."""
        rows = self._last_trail.rows(connection, count=1)
        return _block(rows[0]) if rows else None

    def _account_pages(self, fixed: tuple[str, ...]) -> RecordPages[AccountRecord]:
        return RecordPages(self.account_records, fixed=fixed, position=["account"])

    def _order_pages(
        self, fixed: tuple[str, ...], statuses: tuple[int, ...] | None, within: tuple[str, ...]
    ) -> RecordPages[OrderRecord]:
        columns = exchange_orders.c
        conditions = [*one_of(columns.status, statuses), *inside(columns.created_ns, within)]
        if statuses is not None and set(statuses) <= set(OPEN_STATUSES):
            # In the words of the index of open orders, which SQLite would not use otherwise.
            conditions.append(text(OPEN_ORDERS))
        return RecordPages(self.order_records, fixed=fixed, position=ORDER_KEY, conditions=conditions)

    def _fill_pages(self, fixed: tuple[str, ...], taker_only: bool, within: tuple[str, ...]) -> RecordPages[FillRecord]:
        columns = exchange_fills.c
        conditions = inside(columns.ts_ns, within)
        if taker_only:
            conditions.append(columns.is_maker.is_(false()))
        return RecordPages(self.fill_records, fixed=fixed, position=FILL_KEY, conditions=conditions)

    def _ledger_pages(
        self, fixed: tuple[str, ...], causes: tuple[int, ...] | None, within: tuple[str, ...]
    ) -> RecordPages[LedgerEntry]:
        columns = exchange_ledger.c
        conditions = [*one_of(columns.cause, causes), *inside(columns.ts_ns, within)]
        return RecordPages(self.ledger_records, fixed=fixed, position=LEDGER_KEY, conditions=conditions)


def _upsert(table: Any) -> SqliteStatement:
    insert = sqlite.insert(table).values({column.name: bindparam(column.name) for column in table.c})
    replaced = {column.name: insert.excluded[column.name] for column in table.c if not column.primary_key}
    return SqliteStatement(insert.on_conflict_do_update(index_elements=table.primary_key, set_=replaced))


def _block(row: tuple[Any, ...]) -> TrailBlock:
    return TrailBlock(**dict(zip(TrailBlock.__struct_fields__, row, strict=True)))
