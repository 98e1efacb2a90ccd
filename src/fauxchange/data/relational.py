"""Price history, candles, snapshots and symbols in tables, as every SQL store keeps them.

A store differs in how statements are made and run: its `Dialect` makes them, its `Database` runs them on a connection.
What runs there is the store's own (a function in SQLite's threads, a coroutine on PostgreSQL's connections) and is only
passed on here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Select, Table, bindparam, delete, func, select, tuple_, update
from sqlalchemy.sql import ClauseElement

from fauxchange.data.documents import encode_document
from fauxchange.data.ports import CandleQuery, Page, PriceFeedQuery, SymbolQuery
from fauxchange.data.queries import candle_span, matching_symbols, price_span
from fauxchange.data.tables import candles, market_snapshots, price_feeds, symbols
from fauxchange.domain.errors import NotFound
from fauxchange.domain.market_data import CandleRecord, MarketSnapshot, Metadata, PriceFeed, SymbolRecord

DELETE_CHUNK = 5_000
"""How many rows one deletion takes: in SQLite other writes wait for it about 10 ms, and it is well within the deadline
of a call to PostgreSQL."""


class Database(Protocol):
    """A connected store, which runs work on a connection of its own."""

    async def read(self, work: Any) -> Any:
        """Run work that changes nothing. Raises: Unavailable; what the work raises."""
        ...

    async def write(self, work: Any, *, rows: int = 1) -> Any:
        """Run work that changes about so many rows, all or none. Raises: Unavailable; what the work raises."""
        ...


class Statement(Protocol):
    """A statement that was compiled once; the results are for `Database` to come by."""

    def execute(self, connection: Any, **parameters: object) -> Any:
        """Run the statement; the result is how many rows it changed."""
        ...

    def value(self, connection: Any, **parameters: object) -> Any:
        """Run the statement; the result is the first column of the first row, or None."""
        ...


class Records(Protocol):
    """A table whose rows are records of one class."""

    def insert(self, connection: Any, records: Sequence[Any]) -> Any:
        """Insert records, all or none. Raises: Conflict."""
        ...

    def upsert(self, connection: Any, records: Sequence[Any]) -> Any:
        """Insert or replace records, all or none."""
        ...

    def packed(self, rows: Select[Any]) -> Statement:
        """Return the statement whose value is all records that `rows` selects."""
        ...

    def unpack(self, text: str, /) -> list[Any]:
        """Return the records of a packed statement's value."""
        ...


class Pages(Protocol):
    """Records of a table in the order of their position, a page at a time."""

    def newest(self, connection: Any, **fixed: object) -> Any:
        """Find the record of the greatest position."""
        ...

    def read(self, connection: Any, span: Any, **fixed: object) -> Any:
        """Find the page of a span."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a store makes what it runs; `deletion_rows` is as how many rows it counts a piece of a deletion."""

    statement: Callable[[ClauseElement], Statement]
    records: Callable[[Table, type], Records]
    pages: Callable[..., Pages]
    deletion_rows: int


Connected = Callable[[], Database]
"""Returns the database. Raises: Unavailable while there is none."""


class Retention:
    """Deletion of a table's old rows, symbol by symbol in bounded pieces, between which other writes go on."""

    def __init__(self, dialect: Dialect, table: Table, *, time: str, fixed: Iterable[str] = ()) -> None:
        key = list(table.primary_key.columns)
        old = (
            select(*key)
            .where(
                table.c.symbol == bindparam("symbol"),
                *(table.c[name] == bindparam(name) for name in fixed),
                table.c[time] < bindparam("before", type_=table.c[time].type),
            )
            .limit(bindparam("count"))
        )
        self._rows = dialect.deletion_rows
        self._delete = dialect.statement(delete(table).where(tuple_(*key).in_(old)))
        # The next symbol after another is one look into the key; DISTINCT would read all of it.
        self._next_symbol = dialect.statement(
            select(func.min(table.c.symbol)).where(table.c.symbol > bindparam("symbol"))
        )

    async def run(self, database: Database, before: int, **fixed: object) -> int:
        """Delete what is older than `before`; return how many rows."""
        deleted = 0
        symbol = await database.read(partial(self._next_symbol.value, symbol=""))
        while symbol is not None:
            parameters = {"before": before, "symbol": symbol, "count": DELETE_CHUNK, **fixed}
            gone: int = await database.write(partial(self._delete.execute, **parameters), rows=self._rows)
            deleted += gone
            if gone < DELETE_CHUNK:
                symbol = await database.read(partial(self._next_symbol.value, symbol=symbol))
        return deleted


class PriceFeeds:
    """Price history by symbol and time."""

    def __init__(self, dialect: Dialect, database: Connected) -> None:
        self._database = database
        self._records = dialect.records(price_feeds, PriceFeed)
        self._pages = dialect.pages(self._records, fixed=["symbol"], position=["ts_ns", "epoch", "sequence"])
        self._retention = Retention(dialect, price_feeds, time="ts_ns")

    async def create(self, feed: PriceFeed) -> None:
        """Store one price."""
        await self.create_many((feed,))

    async def create_many(self, feeds: Sequence[PriceFeed]) -> None:
        """Store many prices at once, all or none."""
        if feeds:
            await self._database().write(partial(self._records.insert, records=feeds), rows=len(feeds))

    async def latest(self, symbol: str) -> PriceFeed | None:
        """Return the newest price of a symbol."""
        newest: PriceFeed | None = await self._database().read(partial(self._pages.newest, symbol=symbol))
        return newest

    async def history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        """Return a page of a symbol's prices."""
        page = partial(self._pages.read, span=price_span(query), symbol=query.symbol)
        found: Page[PriceFeed] = await self._database().read(page)
        return found

    async def delete_before(self, ts_ns: int) -> int:
        """Delete prices older than `ts_ns`; return how many."""
        return await self._retention.run(self._database(), ts_ns)


class Candles:
    """Candles by symbol, interval and open time."""

    def __init__(self, dialect: Dialect, database: Connected) -> None:
        self._database = database
        self._records = dialect.records(candles, CandleRecord)
        self._pages = dialect.pages(self._records, fixed=["symbol", "interval_ns"], position=["open_ns"])
        self._retention = Retention(dialect, candles, time="open_ns", fixed=["interval_ns"])
        key = (candles.c[name] == bindparam(name) for name in ("symbol", "interval_ns", "open_ns"))
        self._one = self._records.packed(select(candles).where(*key))

    async def upsert(self, candle: CandleRecord) -> None:
        """Store a candle, or replace the one with its key."""
        await self.upsert_many((candle,))

    async def upsert_many(self, candles: Sequence[CandleRecord]) -> None:
        """Store or replace many at once, all or none."""
        if candles:
            await self._database().write(partial(self._records.upsert, records=candles), rows=len(candles))

    async def get(self, symbol: str, interval_ns: int, open_ns: int) -> CandleRecord | None:
        """Return one candle."""
        one = partial(self._one.value, symbol=symbol, interval_ns=interval_ns, open_ns=open_ns)
        found: list[CandleRecord] = self._records.unpack(await self._database().read(one))
        return found[0] if found else None

    async def query(self, query: CandleQuery) -> Page[CandleRecord]:
        """Return a page of candles."""
        page = partial(self._pages.read, span=candle_span(query), symbol=query.symbol, interval_ns=query.interval_ns)
        found: Page[CandleRecord] = await self._database().read(page)
        return found

    async def delete_before(self, ts_ns: int, *, interval_ns: int) -> int:
        """Delete candles of one interval that opened before `ts_ns`; return how many."""
        return await self._retention.run(self._database(), ts_ns, interval_ns=interval_ns)


class Snapshots:
    """Snapshots by symbol and time."""

    def __init__(self, dialect: Dialect, database: Connected) -> None:
        self._database = database
        self._records = dialect.records(market_snapshots, MarketSnapshot)
        self._pages = dialect.pages(self._records, fixed=["symbol"], position=["ts_ns"])
        self._retention = Retention(dialect, market_snapshots, time="ts_ns")

    async def create(self, snapshot: MarketSnapshot) -> None:
        """Store a snapshot, or replace the one of its symbol and time."""
        await self._database().write(partial(self._records.upsert, records=(snapshot,)))

    async def latest(self, symbol: str) -> MarketSnapshot | None:
        """Return the newest snapshot of a symbol."""
        newest: MarketSnapshot | None = await self._database().read(partial(self._pages.newest, symbol=symbol))
        return newest

    async def delete_before(self, ts_ns: int) -> int:
        """Delete snapshots older than `ts_ns`; return how many."""
        return await self._retention.run(self._database(), ts_ns)


class Symbols:
    """The symbols that are or were served: few, so a query reads them all and chooses."""

    def __init__(self, dialect: Dialect, database: Connected) -> None:
        self._database = database
        self._records = dialect.records(symbols, SymbolRecord)
        self._all = self._records.packed(select(symbols))
        self._one = self._records.packed(select(symbols).where(symbols.c.symbol == bindparam("of")))
        change = (
            update(symbols).where(symbols.c.symbol == bindparam("of")).values(metadata=bindparam("text", type_=None))
        )
        self._set_metadata = dialect.statement(change)

    async def upsert(self, record: SymbolRecord) -> None:
        """Store a symbol, or replace its record."""
        await self._database().write(partial(self._records.upsert, records=(record,)))

    async def get(self, symbol: str) -> SymbolRecord | None:
        """Return one symbol."""
        found: list[SymbolRecord] = self._records.unpack(
            await self._database().read(partial(self._one.value, of=symbol))
        )
        return found[0] if found else None

    async def query(self, query: SymbolQuery) -> Sequence[SymbolRecord]:
        """Return the symbols that match, in alphabetical order."""
        return matching_symbols(self._records.unpack(await self._database().read(self._all.value)), query)

    async def active_symbols(self) -> Sequence[str]:
        """Return the texts of the active symbols, in alphabetical order."""
        return [record.symbol for record in await self.query(SymbolQuery(active=True))]

    async def update_metadata(self, symbol: str, metadata: Metadata) -> None:
        """Replace a symbol's metadata. Raises: NotFound."""
        change = partial(self._set_metadata.execute, of=symbol, text=encode_document(metadata))
        if await self._database().write(change) == 0:
            raise NotFound(f"no symbol {symbol} is stored", code="unknown_symbol", field="symbol")
