"""Price history, candles, snapshots and symbols in memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from fauxchange.data.documents import copy_document
from fauxchange.data.memory.tables import MemoryTable
from fauxchange.data.ports import CandleQuery, Page, PriceFeedQuery, SymbolQuery
from fauxchange.data.queries import candle_span, matching_symbols, position_of, price_span
from fauxchange.domain.errors import Conflict, NotFound
from fauxchange.domain.market_data import CandleRecord, MarketSnapshot, Metadata, PriceFeed, SymbolRecord

Record = TypeVar("Record", PriceFeed, CandleRecord, MarketSnapshot, SymbolRecord)

_price_position = position_of("ts_ns", "epoch", "sequence")
_candle_position = position_of("open_ns")


class MemoryPriceFeeds:
    """Price history of bounded length."""

    def __init__(self, capacity: int) -> None:
        self._table: MemoryTable[PriceFeed] = MemoryTable(capacity)
        self._taken: set[tuple[str, int, int]] = set()

    async def create(self, feed: PriceFeed) -> None:
        """Store one price."""
        await self.create_many((feed,))

    async def create_many(self, feeds: Sequence[PriceFeed]) -> None:
        """Store many prices at once, all or none."""
        kept = [_kept(feed) for feed in feeds]
        keys = set(map(_price_key, kept))
        if len(keys) < len(kept) or not keys.isdisjoint(self._taken):
            raise Conflict("price_feeds has one of these records already")
        self._taken |= keys
        for feed in kept:
            self._table.put(feed.symbol, _price_position(feed), feed)
        for symbol in dict.fromkeys(feed.symbol for feed in kept):
            self._forget(self._table.trim(symbol))

    async def latest(self, symbol: str) -> PriceFeed | None:
        """Return the newest price of a symbol."""
        return self._table.newest(symbol)

    async def history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        """Return a page of a symbol's prices."""
        span = price_span(query)
        return span.page(self._table.read(query.symbol, span), _price_position)

    async def delete_before(self, ts_ns: int) -> int:
        """Delete prices older than `ts_ns`; return how many."""
        return sum(self._forget(self._table.drop_before(key, (ts_ns,))) for key in self._table.series())

    def _forget(self, feeds: list[PriceFeed]) -> int:
        self._taken.difference_update(map(_price_key, feeds))
        return len(feeds)


class MemoryCandles:
    """Candles, a bounded number of them."""

    def __init__(self, capacity: int) -> None:
        self._table: MemoryTable[CandleRecord] = MemoryTable(capacity)

    async def upsert(self, candle: CandleRecord) -> None:
        """Store a candle, or replace the one with its key."""
        await self.upsert_many((candle,))

    async def upsert_many(self, candles: Sequence[CandleRecord]) -> None:
        """Store or replace many at once, all or none."""
        kept = [_kept(candle) for candle in candles]
        for candle in kept:
            self._table.put((candle.symbol, candle.interval_ns), _candle_position(candle), candle)
        for key in dict.fromkeys((candle.symbol, candle.interval_ns) for candle in kept):
            self._table.trim(key)

    async def get(self, symbol: str, interval_ns: int, open_ns: int) -> CandleRecord | None:
        """Return one candle."""
        return self._table.get((symbol, interval_ns), (open_ns,))

    async def query(self, query: CandleQuery) -> Page[CandleRecord]:
        """Return a page of candles."""
        span = candle_span(query)
        return span.page(self._table.read((query.symbol, query.interval_ns), span), _candle_position)

    async def delete_before(self, ts_ns: int, *, interval_ns: int) -> int:
        """Delete candles of one interval that opened before `ts_ns`; return how many."""
        keys = (key for key in self._table.series() if isinstance(key, tuple) and key[1] == interval_ns)
        return sum(len(self._table.drop_before(key, (ts_ns,))) for key in keys)


class MemorySnapshots:
    """Snapshots by symbol and time, a bounded number of them."""

    def __init__(self, capacity: int) -> None:
        self._table: MemoryTable[MarketSnapshot] = MemoryTable(capacity)

    async def create(self, snapshot: MarketSnapshot) -> None:
        """Store a snapshot, or replace the one of its symbol and time."""
        self._table.put(snapshot.symbol, (snapshot.ts_ns,), _kept(snapshot))
        self._table.trim(snapshot.symbol)

    async def latest(self, symbol: str) -> MarketSnapshot | None:
        """Return the newest snapshot of a symbol."""
        return self._table.newest(symbol)

    async def delete_before(self, ts_ns: int) -> int:
        """Delete snapshots older than `ts_ns`; return how many."""
        return sum(len(self._table.drop_before(key, (ts_ns,))) for key in self._table.series())


class MemorySymbols:
    """The symbols that are or were served."""

    def __init__(self) -> None:
        self._records: dict[str, SymbolRecord] = {}

    async def upsert(self, record: SymbolRecord) -> None:
        """Store a symbol, or replace its record."""
        self._records[record.symbol] = _kept(record)

    async def get(self, symbol: str) -> SymbolRecord | None:
        """Return one symbol."""
        return self._records.get(symbol)

    async def query(self, query: SymbolQuery) -> Sequence[SymbolRecord]:
        """Return the symbols that match, in alphabetical order."""
        return matching_symbols(self._records.values(), query)

    async def active_symbols(self) -> Sequence[str]:
        """Return the texts of the active symbols, in alphabetical order."""
        return [record.symbol for record in await self.query(SymbolQuery(active=True))]

    async def update_metadata(self, symbol: str, metadata: Metadata) -> None:
        """Replace a symbol's metadata. Raises: NotFound."""
        copied = copy_document(metadata)
        if symbol not in self._records:
            raise NotFound(f"no symbol {symbol} is stored", code="unknown_symbol", field="symbol")
        self._records[symbol] = replace(self._records[symbol], metadata=copied)


def _price_key(feed: PriceFeed) -> tuple[str, int, int]:
    return feed.symbol, feed.epoch, feed.sequence


def _kept(record: Record) -> Record:
    # What the caller does to its document afterwards must not reach the stored one.
    return replace(record, metadata=copy_document(record.metadata)) if record.metadata else record
