"""Price history, candles, snapshots and symbols in PostgreSQL."""

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import bindparam, select, update

from fauxchange.data.documents import encode_document
from fauxchange.data.ports import CandleQuery, Page, PriceFeedQuery, SymbolQuery
from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.data.postgres.retention import Retention
from fauxchange.data.postgres.statements import PostgresStatement, RecordPages, RecordTable
from fauxchange.data.queries import candle_span, matching_symbols, price_span
from fauxchange.data.tables import candles, market_snapshots, price_feeds, symbols
from fauxchange.domain.errors import NotFound
from fauxchange.domain.market_data import CandleRecord, MarketSnapshot, Metadata, PriceFeed, SymbolRecord

Connected = Callable[[], PostgresDatabase]
"""Returns the database, connected or waiting for its server. Raises: Unavailable while there is none."""


class PostgresPriceFeeds:
    """Price history, keyed by symbol and time."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._records = RecordTable(price_feeds, PriceFeed)
        self._pages = RecordPages(self._records, fixed=["symbol"], position=["ts_ns", "epoch", "sequence"])
        self._retention = Retention(price_feeds, time="ts_ns")

    async def create(self, feed: PriceFeed) -> None:
        """Store one price."""
        await self.create_many((feed,))

    async def create_many(self, feeds: Sequence[PriceFeed]) -> None:
        """Store many prices at once, all or none."""
        if feeds:
            await self._database().run(partial(self._records.insert, records=feeds), rows=len(feeds))

    async def latest(self, symbol: str) -> PriceFeed | None:
        """Return the newest price of a symbol."""
        return await self._database().run(partial(self._pages.newest, symbol=symbol))

    async def history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        """Return a page of a symbol's prices."""
        return await self._database().run(partial(self._pages.read, span=price_span(query), symbol=query.symbol))

    async def delete_before(self, ts_ns: int) -> int:
        """Delete prices older than `ts_ns`; return how many."""
        return await self._retention.run(self._database(), ts_ns)


class PostgresCandles:
    """Candles, keyed by symbol, interval and open time."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._records = RecordTable(candles, CandleRecord)
        self._pages = RecordPages(self._records, fixed=["symbol", "interval_ns"], position=["open_ns"])
        self._retention = Retention(candles, time="open_ns", fixed=["interval_ns"])
        key = (candles.c[name] == bindparam(name) for name in ("symbol", "interval_ns", "open_ns"))
        self._one = self._records.packed(select(candles).where(*key))

    async def upsert(self, candle: CandleRecord) -> None:
        """Store a candle, or replace the one with its key."""
        await self.upsert_many((candle,))

    async def upsert_many(self, candles: Sequence[CandleRecord]) -> None:
        """Store or replace many at once, all or none."""
        if candles:
            await self._database().run(partial(self._records.upsert, records=candles), rows=len(candles))

    async def get(self, symbol: str, interval_ns: int, open_ns: int) -> CandleRecord | None:
        """Return one candle."""
        one = partial(self._one.value, symbol=symbol, interval_ns=interval_ns, open_ns=open_ns)
        found = self._records.unpack(await self._database().run(one))
        return found[0] if found else None

    async def query(self, query: CandleQuery) -> Page[CandleRecord]:
        """Return a page of candles."""
        page = partial(self._pages.read, span=candle_span(query), symbol=query.symbol, interval_ns=query.interval_ns)
        return await self._database().run(page)

    async def delete_before(self, ts_ns: int, *, interval_ns: int) -> int:
        """Delete candles of one interval that opened before `ts_ns`; return how many."""
        return await self._retention.run(self._database(), ts_ns, interval_ns=interval_ns)


class PostgresSnapshots:
    """Snapshots by symbol and time."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._records = RecordTable(market_snapshots, MarketSnapshot)
        self._pages = RecordPages(self._records, fixed=["symbol"], position=["ts_ns"])
        self._retention = Retention(market_snapshots, time="ts_ns")

    async def create(self, snapshot: MarketSnapshot) -> None:
        """Store a snapshot, or replace the one of its symbol and time."""
        await self._database().run(partial(self._records.upsert, records=(snapshot,)))

    async def latest(self, symbol: str) -> MarketSnapshot | None:
        """Return the newest snapshot of a symbol."""
        return await self._database().run(partial(self._pages.newest, symbol=symbol))

    async def delete_before(self, ts_ns: int) -> int:
        """Delete snapshots older than `ts_ns`; return how many."""
        return await self._retention.run(self._database(), ts_ns)


class PostgresSymbols:
    """The symbols that are or were served: few, so a query reads them all and chooses."""

    def __init__(self, database: Connected) -> None:
        self._database = database
        self._records = RecordTable(symbols, SymbolRecord)
        self._all = self._records.packed(select(symbols))
        self._one = self._records.packed(select(symbols).where(symbols.c.symbol == bindparam("of")))
        change = (
            update(symbols).where(symbols.c.symbol == bindparam("of")).values(metadata=bindparam("text", type_=None))
        )
        self._set_metadata = PostgresStatement(change)

    async def upsert(self, record: SymbolRecord) -> None:
        """Store a symbol, or replace its record."""
        await self._database().run(partial(self._records.upsert, records=(record,)))

    async def get(self, symbol: str) -> SymbolRecord | None:
        """Return one symbol."""
        found = self._records.unpack(await self._database().run(partial(self._one.value, of=symbol)))
        return found[0] if found else None

    async def query(self, query: SymbolQuery) -> Sequence[SymbolRecord]:
        """Return the symbols that match, in alphabetical order."""
        return matching_symbols(self._records.unpack(await self._database().run(self._all.value)), query)

    async def active_symbols(self) -> Sequence[str]:
        """Return the texts of the active symbols, in alphabetical order."""
        return [record.symbol for record in await self.query(SymbolQuery(active=True))]

    async def update_metadata(self, symbol: str, metadata: Metadata) -> None:
        """Replace a symbol's metadata. Raises: NotFound."""
        change = partial(self._set_metadata.execute, of=symbol, text=encode_document(metadata))
        if await self._database().run(change) == 0:
            raise NotFound(f"no symbol {symbol} is stored", code="unknown_symbol", field="symbol")
