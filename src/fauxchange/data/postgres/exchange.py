"""The exchange's read models in PostgreSQL: a projection is one transaction.

It begins with its place in the journal, which no other process may have gone past: what an exchange still holds whose
journal another one has taken over would put back orders that went on since.

Records go out as JSON, some thousands to a statement, and the server makes rows of them. That takes the event loop
about 1 us for each; COPY into a staging table takes it 4 us and arrays 10 us. In all, with the server's part, JSON is
quicker for the small batches that are the rule, and COPY for some thousands of orders at once (13 against 32 us a row).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Column, Table, Text, bindparam, cast, false, func, select, text
from sqlalchemy.dialects.postgresql import insert

from fauxchange.data.documents import decode_document, encode_document
from fauxchange.data.filters import given_filters, inside, one_of
from fauxchange.data.ports import AccountQuery, FillQuery, LedgerQuery, OrderQuery, Page, Projection
from fauxchange.data.postgres.engine import Connected
from fauxchange.data.postgres.statements import Connection, PostgresStatement, RecordPages, RecordTable
from fauxchange.data.queries import (
    FILL_KEY,
    LEDGER_KEY,
    MAX_INT64,
    MAX_TEXT,
    MIN_INT64,
    ORDER_KEY,
    Position,
    Span,
    account_span,
    fill_span,
    ledger_span,
    order_span,
)
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
from fauxchange.domain.errors import Unavailable
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
from fauxchange.domain.trail import GENESIS

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
_CHUNK = 4_000
"""How many records go into a statement: making their JSON then holds the event loop for some milliseconds."""
_MANY = 10_000
"""How many records of a list without end are read at a time."""


class PostgresExchange:
    """Accounts, keys, orders, fills, ledger entries and the audit trail, as the journal makes them."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._statements = _Statements()

    async def store(self, projection: Projection) -> None:
        """Store what a projection holds, and how far it goes, in one transaction.

        Raises: Unavailable, also if another process has stored one that goes farther
        """
        document = encode_document(projection.document, field="document")
        work = partial(self._statements.store, projection=projection, document=document)
        await self._database().run(work, rows=projection.size + 1)

    async def position(self) -> tuple[int, Metadata]:
        """Return the sequence and the document of the last projection stored; (0, {}) if there is none."""
        rows = await self._database().run(self._statements.position.rows)
        return (int(rows[0][0]), decode_document(rows[0][1])) if rows else (0, {})

    async def clear(self) -> None:
        """Forget everything, position and trail included."""
        await self._database().run(self._statements.clear.execute)

    async def accounts(self, query: AccountQuery) -> Page[AccountRecord]:
        """Return a page of accounts, by number."""
        fixed = given_filters(status=query.status)
        return await self._page(self._statements.account_pages(tuple(fixed)), account_span(query), fixed)

    async def keys(self, account: int | None = None) -> Sequence[KeyRecord]:
        """Return all API keys, or those of one account, oldest first, revoked ones too."""
        fixed = given_filters(account=account)
        whole = Span("", (MIN_INT64, ""), (MAX_INT64, MAX_TEXT), _MANY, newest_first=False)
        return await self._all(self._statements.key_pages(tuple(fixed)), whole, fixed)

    async def order(self, order_id: int) -> OrderRecord | None:
        """Return one order."""
        value = await self._database().run(partial(self._statements.order.value, of=order_id))
        found = self._statements.orders.unpack(value)
        return found[0] if found else None

    async def orders(self, query: OrderQuery) -> Page[OrderRecord]:
        """Return a page of orders."""
        fixed = given_filters(account=query.account, symbol=query.symbol, client_order_id=query.client_order_id)
        bounds = given_filters(start_ns=query.start_ns, end_ns=query.end_ns)
        pages = self._statements.order_pages(tuple(fixed), _distinct(query.statuses), tuple(bounds))
        return await self._page(pages, order_span(query), fixed | bounds)

    async def named_orders(self, since_ns: int) -> Sequence[OrderRecord]:
        """Return the orders that are open, and those with a client order id that changed at or after `since_ns`."""
        whole = Span("", (MIN_INT64, MIN_INT64), (MAX_INT64, MAX_INT64), _MANY, newest_first=False)
        lately = replace(whole, low=(since_ns - 1, MAX_INT64))
        found = {order.order_id: order for order in await self._all(self._statements.open_orders, whole, {})}
        found |= {order.order_id: order for order in await self._all(self._statements.named, lately, {})}
        return [found[order_id] for order_id in sorted(found)]

    async def fills(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of fills."""
        fixed = given_filters(account=query.account, symbol=query.symbol, order_id=query.order_id)
        bounds = given_filters(start_ns=query.start_ns, end_ns=query.end_ns)
        span = fill_span(query)
        # Whether a fill is the maker's is a truth value here. No trade has the number of an unbounded position.
        span = replace(span, low=_with_truth(span.low), high=_with_truth(span.high))
        pages = self._statements.fill_pages(tuple(fixed), query.taker_only, tuple(bounds))
        return await self._page(pages, span, fixed | bounds)

    async def ledger(self, query: LedgerQuery) -> Page[LedgerEntry]:
        """Return a page of ledger entries."""
        fixed = given_filters(account=query.account, asset=query.asset, order_id=query.order_id)
        bounds = given_filters(start_ns=query.start_ns, end_ns=query.end_ns)
        pages = self._statements.ledger_pages(tuple(fixed), _distinct(query.causes), tuple(bounds))
        return await self._page(pages, ledger_span(query), fixed | bounds)

    async def trail(self, from_sequence: int, limit: int) -> Sequence[TrailBlock]:
        """Return up to `limit` trail blocks that end at or after a command's sequence, oldest first."""
        return await self._blocks(partial(self._statements.trail.rows, after=from_sequence, count=limit))

    async def last_trail(self) -> TrailBlock | None:
        """Return the newest trail block."""
        blocks = await self._blocks(self._statements.last_trail.rows)
        return blocks[0] if blocks else None

    async def _page(self, pages: RecordPages[Record], span: Span, filters: dict[str, Any]) -> Page[Record]:
        return await self._database().run(partial(pages.read, span=span, **filters), rows=span.limit)

    async def _all(self, pages: RecordPages[Record], span: Span, filters: dict[str, Any]) -> list[Record]:
        """Return everything in a span, read a page at a time."""
        found: list[Record] = []
        while True:
            page = await self._page(pages, span, filters)
            found += page.items
            if page.next_cursor is None:
                return found
            span = replace(span, low=pages.position(page.items[-1]))

    async def _blocks(self, read: Callable[[Connection], Awaitable[list[Any]]]) -> list[TrailBlock]:
        names = TrailBlock.__struct_fields__
        return [TrailBlock(**dict(zip(names, row, strict=True))) for row in await self._database().run(read)]


class _Upsert(Generic[Record]):
    """Puts records of one class into their table, replacing those that are there; of two with one key the later stays.

    The class has a field for each column, and no documents.
    """

    def __init__(self, table: Table) -> None:
        self._key_of = attrgetter(*(column.name for column in table.primary_key))
        names, keys = (", ".join(column.name for column in columns) for columns in (table.c, table.primary_key))
        replaced = ", ".join(f"{column.name} = excluded.{column.name}" for column in table.c if not column.primary_key)
        self._statement = (
            f"INSERT INTO {table.fullname} ({names}) "  # noqa: S608 - made of the table's names
            f"SELECT {names} FROM json_populate_recordset(NULL::{table.fullname}, %s::json) "
            f"ON CONFLICT ({keys}) DO UPDATE SET {replaced}"
        ).encode()

    async def store(self, connection: Connection, records: Sequence[Record]) -> None:
        """Store the records, in the transaction that is under way."""
        unique = list({self._key_of(record): record for record in records}.values())
        for start in range(0, len(unique), _CHUNK):
            rows = msgspec.json.encode(unique[start : start + _CHUNK])
            await connection.execute(self._statement, (rows.decode(),))

    async def store_made(self, connection: Connection, records: Iterator[Record]) -> None:
        """Store records that are made while they are taken, which happens in a thread: it takes 3 us for each."""
        while rows := await asyncio.to_thread(self._next_rows, records):
            await connection.execute(self._statement, (rows,))

    def _next_rows(self, records: Iterator[Record]) -> str:
        """Return the JSON of the next records, nothing behind the last."""
        unique = list({self._key_of(record): record for record in islice(records, _CHUNK)}.values())
        return msgspec.json.encode(unique).decode() if unique else ""


class _Statements:
    """The statements of the read models; those of pages are made for the filters that are used, and kept."""

    def __init__(self) -> None:
        self.orders = RecordTable(exchange_orders, OrderRecord)
        self._accounts = RecordTable(exchange_accounts, AccountRecord)
        self._keys = RecordTable(exchange_keys, KeyRecord)
        self._fills = RecordTable(exchange_fills, FillRecord)
        self._ledger = RecordTable(exchange_ledger, LedgerEntry)
        self.order = self.orders.packed(select(exchange_orders).where(exchange_orders.c.order_id == bindparam("of")))
        self.account_pages = lru_cache(_STATEMENTS_KEPT)(self._account_pages)
        self.key_pages = lru_cache(_STATEMENTS_KEPT)(self._key_pages)
        self.order_pages = lru_cache(_STATEMENTS_KEPT)(self._order_pages)
        self.fill_pages = lru_cache(_STATEMENTS_KEPT)(self._fill_pages)
        self.ledger_pages = lru_cache(_STATEMENTS_KEPT)(self._ledger_pages)
        self.open_orders = RecordPages(
            self.orders, fixed=[], position=["account", "order_id"], conditions=[text(OPEN_ORDERS)]
        )
        named = exchange_orders.c.client_order_id.is_not(None)
        self.named = RecordPages(self.orders, fixed=[], position=["updated_ns", "order_id"], conditions=[named])
        trail = exchange_trail.c
        begun = select(func.max(trail.first_sequence)).where(trail.first_sequence <= bindparam("after"))
        self.trail = PostgresStatement(
            select(exchange_trail)
            .where(
                trail.first_sequence >= func.coalesce(begun.scalar_subquery(), 0),
                trail.last_sequence >= bindparam("after"),
            )
            .order_by(trail.first_sequence)
            .limit(bindparam("count"))
        )
        before = select(trail.hash).where(trail.first_sequence < bindparam("first"))
        self._hash_before = PostgresStatement(before.order_by(trail.first_sequence.desc()).limit(1))
        self.last_trail = PostgresStatement(select(exchange_trail).order_by(trail.first_sequence.desc()).limit(1))
        position = exchange_position.c
        self.position = PostgresStatement(select(position.sequence, cast(position.document, Text)))
        self.clear = PostgresStatement(text("TRUNCATE " + ", ".join(table.fullname for table in _TABLES)))
        self._upserts = {table: _Upsert[Any](table) for table in _TABLES[:5]}
        self._store_block = _replacing(exchange_trail)
        self._store_position = _replacing(exchange_position, not_before=exchange_position.c.sequence)

    async def store(self, connection: Connection, *, projection: Projection, document: str) -> None:
        """Store everything, or nothing."""
        parts: list[tuple[Table, Sequence[Any]]] = [
            (exchange_accounts, projection.accounts),
            (exchange_keys, projection.keys),
            (exchange_orders, projection.orders),
            (exchange_fills, projection.fills),
            (exchange_ledger, projection.ledger),
        ]
        made: list[tuple[Table, Sequence[Iterator[Any]]]] = [
            (exchange_orders, [orders.records() for orders in projection.resting]),
            (exchange_ledger, [rows.entries() for rows in projection.postings]),
        ]
        async with connection.transaction():
            # It also keeps a second writer waiting until this one has stored everything.
            place = {"name": _NAME, "sequence": projection.sequence, "document": document}
            if await self._store_position.execute(connection, **place) == 0:
                raise Unavailable(
                    f"the read models go past command {projection.sequence}: another exchange stores them",
                    code="journal_taken_over",
                    retryable=False,
                )
            # Before the records, which may be those of the same orders later on.
            for table, columns in made:
                if columns:
                    await self._upserts[table].store_made(connection, chain.from_iterable(columns))
            for table, records in parts:
                await self._upserts[table].store(connection, records)
            for block in projection.trail:
                before = await self._hash_before.value(connection, first=block.first_sequence)
                stored = await asyncio.to_thread(block.pack, bytes.fromhex(before) if before else GENESIS)
                fields = {name: getattr(stored, name) for name in stored.__struct_fields__}
                await self._store_block.execute(connection, **fields)

    def _account_pages(self, fixed: tuple[str, ...]) -> RecordPages[AccountRecord]:
        return RecordPages(self._accounts, fixed=fixed, position=["account"])

    def _key_pages(self, fixed: tuple[str, ...]) -> RecordPages[KeyRecord]:
        return RecordPages(self._keys, fixed=fixed, position=["created_ns", "api_key"])

    def _order_pages(
        self, fixed: tuple[str, ...], statuses: tuple[int, ...] | None, bounds: tuple[str, ...]
    ) -> RecordPages[OrderRecord]:
        columns = exchange_orders.c
        conditions = [*one_of(columns.status, statuses), *inside(columns.created_ns, bounds)]
        if statuses is not None and set(statuses) <= set(OPEN_STATUSES):
            # In the words of the index of open orders.
            conditions.append(text(OPEN_ORDERS))
        return RecordPages(self.orders, fixed=fixed, position=ORDER_KEY, conditions=conditions)

    def _fill_pages(self, fixed: tuple[str, ...], taker_only: bool, bounds: tuple[str, ...]) -> RecordPages[FillRecord]:
        columns = exchange_fills.c
        conditions = inside(columns.ts_ns, bounds)
        if taker_only:
            conditions.append(columns.is_maker.is_(false()))
        return RecordPages(self._fills, fixed=fixed, position=FILL_KEY, conditions=conditions)

    def _ledger_pages(
        self, fixed: tuple[str, ...], causes: tuple[int, ...] | None, bounds: tuple[str, ...]
    ) -> RecordPages[LedgerEntry]:
        columns = exchange_ledger.c
        conditions = [*one_of(columns.cause, causes), *inside(columns.ts_ns, bounds)]
        return RecordPages(self._ledger, fixed=fixed, position=LEDGER_KEY, conditions=conditions)


def _distinct(values: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(sorted(set(values)))


def _with_truth(position: Position) -> Position:
    number, is_maker = position
    return number, int(is_maker) > 0


def _replacing(table: Table, *, not_before: Column[int] | None = None) -> PostgresStatement:
    """Return the statement that puts a row; one that is there stays if it is ahead in the column `not_before`."""
    row = insert(table).values({column.name: bindparam(column.name) for column in table.c})
    replaced = {column.name: row.excluded[column.name] for column in table.c if not column.primary_key}
    where = None if not_before is None else not_before <= row.excluded[not_before.name]
    return PostgresStatement(row.on_conflict_do_update(index_elements=table.primary_key, set_=replaced, where=where))
