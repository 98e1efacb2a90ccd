"""The repositories as protocols; each has an in-memory form and a real one, and one contract suite runs over all.

Queries are typed objects. Ranges are half-open: `start_ns <= t < end_ns`. Lists page by an opaque cursor: pass the
`next_cursor` of one page as `cursor` of the next query; it is None on the last page.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from fauxchange.domain.audit import AuditEvent
from fauxchange.domain.configuration import ConfigurationChange
from fauxchange.domain.market_data import CandleRecord, MarketSnapshot, Metadata, PriceFeed, SymbolRecord
from fauxchange.domain.order_columns import LedgerRows, RestingOrders
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord, TrailBlock
from fauxchange.domain.trail import OpenBlock
from fauxchange.platform.ports import CacheRepository, DependencyHealth, ServiceDiscoveryRepository

__all__ = [
    "AccountQuery",
    "AuditQuery",
    "AuditRepository",
    "CacheRepository",
    "CandleQuery",
    "CandleRepository",
    "ConfigurationQuery",
    "ConfigurationRepository",
    "Continuity",
    "DataAdapter",
    "ExchangeReadModels",
    "FillQuery",
    "JournalBatch",
    "JournalRepository",
    "KernelSnapshot",
    "KernelSnapshotRepository",
    "LedgerQuery",
    "MarketSnapshotRepository",
    "OrderQuery",
    "Page",
    "PriceFeedQuery",
    "PriceFeedRepository",
    "PriceStreams",
    "Projection",
    "ServiceDiscoveryRepository",
    "StateRepository",
    "StreamedPrices",
    "SymbolQuery",
    "SymbolRepository",
]

Record = TypeVar("Record")

MAX_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Page(Generic[Record]):
    """Some records in the asked order, and where the next page starts."""

    items: Sequence[Record]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFeedQuery:
    """Price history of one symbol, ordered by (ts_ns, epoch, sequence), oldest first unless `newest_first`."""

    symbol: str
    start_ns: int | None = None
    end_ns: int | None = None
    limit: int = 1_000
    cursor: str | None = None
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleQuery:
    """Candles of one symbol and interval, ordered by open time, oldest first unless `newest_first`."""

    symbol: str
    interval_ns: int
    start_ns: int | None = None
    end_ns: int | None = None
    limit: int = 1_000
    cursor: str | None = None
    newest_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolQuery:
    """Symbols in alphabetical order; with `active`, only those that are (or are not) served."""

    active: bool | None = None
    base: str | None = None
    quote: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Audit events of one source by sequence, oldest first."""

    source: str
    type: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    limit: int = 1_000
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationQuery:
    """Changes of a service's keys in an environment, by version, newest first unless `oldest_first`.

    With `key` only those of this key; with `after` only those of greater versions.
    """

    service: str
    environment: str
    key: str | None = None
    after: int = 0
    oldest_first: bool = False
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountQuery:
    """Accounts by number; with `status`, only those."""

    status: int | None = None
    limit: int = 1_000
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """Orders by order id, newest first unless `oldest_first`; times are those of creation."""

    account: int | None = None
    symbol: str | None = None
    statuses: Sequence[int] | None = None
    client_order_id: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    oldest_first: bool = False
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillQuery:
    """Fills by (trade id, is_maker), newest first unless `oldest_first`."""

    account: int | None = None
    symbol: str | None = None
    order_id: int | None = None
    taker_only: bool = False
    """With this there is one fill for each trade, which makes a list of trades."""
    start_ns: int | None = None
    end_ns: int | None = None
    oldest_first: bool = False
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerQuery:
    """Ledger entries of one account by event sequence, newest first unless `oldest_first`."""

    account: int
    asset: str | None = None
    causes: Sequence[int] | None = None
    order_id: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    oldest_first: bool = False
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class JournalBatch:
    """The commands that were made durable together; `payload` is opaque here.

    Units: sequences of commands, gapless from batch to batch, from 1; hashes in lower-case hex, `hash` the SHA-256
           over prev_hash, both sequences and the payload
    """

    first_sequence: int
    last_sequence: int
    payload: bytes
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class KernelSnapshot:
    """The kernel's state after the command `sequence`; `state_hash` is the state's own."""

    sequence: int
    ts_ns: int
    state_hash: str
    payload: bytes


@dataclass(slots=True, kw_only=True)
class Projection:
    """What some consecutive commands change in the read models, stored all or none.

    `sequence` is that of the last command; records are whole, so that storing them twice changes nothing.
    `document` is JSON that is kept beside the sequence (stream numbers and the like). `resting` and `postings` are
    orders and ledger entries in columns; `orders` may hold a later state of one that is in `resting`, and wins. The
    records of `trail` are chained to the last block that is stored before them.
    """

    sequence: int
    document: Metadata
    accounts: Sequence[AccountRecord] = ()
    keys: Sequence[KeyRecord] = ()
    resting: Sequence[RestingOrders] = ()
    orders: Sequence[OrderRecord] = ()
    fills: Sequence[FillRecord] = ()
    ledger: Sequence[LedgerEntry] = ()
    postings: Sequence[LedgerRows] = ()
    trail: Sequence[OpenBlock] = ()

    @property
    def size(self) -> int:
        """How many records it has, the blocks of the trail apart."""
        kinds: tuple[Sized, ...] = (self.accounts, self.keys, self.orders, self.fills, self.ledger)
        return sum(map(len, (*kinds, *self.resting, *self.postings)))


class JournalRepository(Protocol):
    """The exchange's journal: append-only batches, each durable (on disk) before `append` answers.

    Every read checks what it reads: sequences without a gap, hashes that follow from each other.
    """

    async def append(self, first_sequence: int, last_sequence: int, payload: bytes) -> None:
        """Store a batch durably, behind the last one.

        Raises: Unavailable if it is not stored, or it is not known whether it is: `last_sequence` then tells;
                Conflict if `first_sequence` does not follow the last stored
        """
        ...

    def append_soon(
        self, first_sequence: int, last_sequence: int, payload: bytes, done: Callable[[Exception | None], None]
    ) -> None:
        """Do what `append` does, and call `done` on the event loop with the outcome: no task and no future."""
        ...

    async def last_sequence(self) -> int:
        """Return the sequence of the last command stored, 0 if there is none, read from the store anew.

        Raises: Unavailable
        """
        ...

    def read(self, after_sequence: int = 0) -> AsyncIterator[Sequence[JournalBatch]]:
        """Yield the batches after a sequence (which ends a batch, or is 0), oldest first, some at a time.

        Raises: DamagedJournal that names the first bad batch; Unavailable
        """
        ...


class KernelSnapshotRepository(Protocol):
    """Snapshots of the kernel's state; the newest few are kept."""

    async def save(self, snapshot: KernelSnapshot) -> None:
        """Store a snapshot durably and forget those that are too old."""
        ...

    async def newest(self, at_most: int | None = None) -> KernelSnapshot | None:
        """Return the snapshot of the highest sequence, or the highest one up to `at_most`."""
        ...

    async def all(self) -> Sequence[tuple[int, str]]:
        """Return sequence and state hash of every snapshot kept, oldest first."""
        ...


class ExchangeReadModels(Protocol):
    """What the exchange tells of the past: projections of its journal, which can be rebuilt from it."""

    async def store(self, projection: Projection) -> None:
        """Store what a projection holds, and how far it goes, in one transaction."""
        ...

    async def position(self) -> tuple[int, Metadata]:
        """Return the sequence and the document of the last projection stored; (0, {}) if there is none."""
        ...

    async def clear(self) -> None:
        """Forget everything, position and trail included: a rebuild begins."""
        ...

    async def accounts(self, query: AccountQuery) -> Page[AccountRecord]:
        """Return a page of accounts, by number."""
        ...

    async def keys(self, account: int | None = None) -> Sequence[KeyRecord]:
        """Return all API keys, or those of one account, oldest first, revoked ones too."""
        ...

    async def order(self, order_id: int) -> OrderRecord | None:
        """Return one order."""
        ...

    async def orders(self, query: OrderQuery) -> Page[OrderRecord]:
        """Return a page of orders."""
        ...

    async def named_orders(self, since_ns: int) -> Sequence[OrderRecord]:
        """Return the orders that are open, and those with a client order id that changed at or after `since_ns`.

        By order id; this is what a restart goes on from.
        """
        ...

    async def fills(self, query: FillQuery) -> Page[FillRecord]:
        """Return a page of fills."""
        ...

    async def ledger(self, query: LedgerQuery) -> Page[LedgerEntry]:
        """Return a page of ledger entries."""
        ...

    async def trail(self, from_sequence: int, limit: int) -> Sequence[TrailBlock]:
        """Return up to `limit` trail blocks that end at or after a command's sequence, oldest first."""
        ...

    async def last_trail(self) -> TrailBlock | None:
        """Return the newest trail block: the chain goes on from it."""
        ...


class PriceFeedRepository(Protocol):
    """Price history."""

    async def create(self, feed: PriceFeed) -> None:
        """Store one price. Raises: Conflict if (symbol, epoch, sequence) is taken."""
        ...

    async def create_many(self, feeds: Sequence[PriceFeed]) -> None:
        """Store many prices at once, all or none. Raises: Conflict as `create`."""
        ...

    async def latest(self, symbol: str) -> PriceFeed | None:
        """Return the newest price of a symbol by (ts_ns, epoch, sequence)."""
        ...

    async def history(self, query: PriceFeedQuery) -> Page[PriceFeed]:
        """Return a page of a symbol's prices. Raises: InvalidRequest on a cursor that is not its own."""
        ...

    async def delete_before(self, ts_ns: int) -> int:
        """Delete prices older than `ts_ns`, all symbols; return how many."""
        ...


class CandleRepository(Protocol):
    """Candles; at most one per symbol, interval and open time."""

    async def upsert(self, candle: CandleRecord) -> None:
        """Store a candle, or replace the one with its symbol, interval and open time."""
        ...

    async def upsert_many(self, candles: Sequence[CandleRecord]) -> None:
        """Store or replace many at once, all or none; of two with one key the later in the sequence stays."""
        ...

    async def get(self, symbol: str, interval_ns: int, open_ns: int) -> CandleRecord | None:
        """Return one candle."""
        ...

    async def query(self, query: CandleQuery) -> Page[CandleRecord]:
        """Return a page of candles. Raises: InvalidRequest on a cursor that is not its own."""
        ...

    async def delete_before(self, ts_ns: int, *, interval_ns: int) -> int:
        """Delete candles of one interval that opened before `ts_ns`, all symbols; return how many."""
        ...


class MarketSnapshotRepository(Protocol):
    """Snapshots by symbol and time."""

    async def create(self, snapshot: MarketSnapshot) -> None:
        """Store a snapshot; a second one of the same symbol and time replaces the first."""
        ...

    async def latest(self, symbol: str) -> MarketSnapshot | None:
        """Return the newest snapshot of a symbol."""
        ...

    async def delete_before(self, ts_ns: int) -> int:
        """Delete snapshots older than `ts_ns`; return how many."""
        ...


class SymbolRepository(Protocol):
    """The symbols that are or were served."""

    async def upsert(self, record: SymbolRecord) -> None:
        """Store a symbol, or replace its record."""
        ...

    async def get(self, symbol: str) -> SymbolRecord | None:
        """Return one symbol."""
        ...

    async def query(self, query: SymbolQuery) -> Sequence[SymbolRecord]:
        """Return the symbols that match, in alphabetical order."""
        ...

    async def active_symbols(self) -> Sequence[str]:
        """Return the texts of the active symbols, in alphabetical order."""
        ...

    async def update_metadata(self, symbol: str, metadata: Metadata) -> None:
        """Replace a symbol's metadata. Raises: NotFound."""
        ...


class AuditRepository(Protocol):
    """Audit trails, append-only; events of a source are stored in the order of their sequence."""

    async def append(self, events: Sequence[AuditEvent]) -> None:
        """Store events, all or none.

        Raises: Conflict if a (source, sequence) is taken or does not follow the last one stored
        """
        ...

    async def last(self, source: str) -> AuditEvent | None:
        """Return the newest event of a source: the chain goes on from it."""
        ...

    async def query(self, query: AuditQuery) -> Page[AuditEvent]:
        """Return a page of events."""
        ...


class ConfigurationRepository(Protocol):
    """Configuration as the changes that made it, append-only; their versions are 1, 2, 3 and so on."""

    async def append(self, changes: Sequence[ConfigurationChange]) -> None:
        """Store changes durably, all or none.

        Raises: Conflict if a version is taken or does not follow the last one stored; Unavailable
        """
        ...

    async def current(self) -> Sequence[ConfigurationChange]:
        """Return the last change of every key of every service and environment, deletions too, by version."""
        ...

    async def history(self, query: ConfigurationQuery) -> Page[ConfigurationChange]:
        """Return a page of changes. Raises: InvalidRequest on a cursor that is not its own."""
        ...


class StateRepository(Protocol):
    """Small named JSON documents by which a service goes on where it stopped."""

    async def load(self, name: str) -> Metadata | None:
        """Return the document, or None if there is none."""
        ...

    async def save(self, name: str, document: Metadata) -> None:
        """Store or replace the document durably: it is on disk when this returns."""
        ...


class Continuity(StrEnum):
    """How streamed prices follow those before them."""

    SNAPSHOT = "snapshot"
    """The newest price, where following begins without a number."""
    DELTA = "delta"
    """The numbers go on from those before, or begin at the one that was asked for."""
    GAP = "gap"
    """Prices between those before and these were given up, or another epoch has begun."""
    SNAPSHOT_REQUIRED = "snapshot_required"
    """No prices: the number that was asked for is no longer (or not yet) kept. A snapshot follows."""


@dataclass(frozen=True, slots=True)
class StreamedPrices:
    """Prices of one symbol in the order of their numbers, without a gap among them."""

    symbol: str
    continuity: Continuity
    prices: Sequence[PriceFeed]


class PriceStreams(Protocol):
    """Prices on their way from the process that makes them to those that hand them on.

    A symbol's prices are made by one process, with rising (epoch, sequence). The newest of them are kept for those who
    come back.
    """

    def publish(self, feeds: Sequence[PriceFeed]) -> None:
        """Send prices on, soon and without waiting. What there is no room for is given up, oldest first."""
        ...

    def follow(self, start: Mapping[str, tuple[int, int] | None]) -> AsyncGenerator[StreamedPrices, None]:
        """Yield the prices of these symbols as they come: from (epoch, sequence) on, or from the newest price on.

        It goes on by itself when the store was away; close it when done (`contextlib.aclosing`).
        """
        ...


class DataAdapter(Protocol):
    """All repositories over one set of stores, which it connects, watches and disconnects."""

    @property
    def price_feeds(self) -> PriceFeedRepository:
        """Return the repository of price history."""
        ...

    @property
    def candles(self) -> CandleRepository:
        """Return the repository of candles."""
        ...

    @property
    def snapshots(self) -> MarketSnapshotRepository:
        """Return the repository of market snapshots."""
        ...

    @property
    def symbols(self) -> SymbolRepository:
        """Return the repository of symbols."""
        ...

    @property
    def audit(self) -> AuditRepository:
        """Return the repository of audit trails."""
        ...

    @property
    def state(self) -> StateRepository:
        """Return the repository of service state."""
        ...

    @property
    def configuration(self) -> ConfigurationRepository:
        """Return the repository of configuration."""
        ...

    @property
    def journal(self) -> JournalRepository:
        """Return the exchange's journal."""
        ...

    @property
    def kernel_snapshots(self) -> KernelSnapshotRepository:
        """Return the repository of the kernel's snapshots."""
        ...

    @property
    def exchange(self) -> ExchangeReadModels:
        """Return the exchange's read models."""
        ...

    @property
    def cache(self) -> CacheRepository:
        """Return the repository of the cache."""
        ...

    @property
    def discovery(self) -> ServiceDiscoveryRepository:
        """Return the repository of the registry."""
        ...

    @property
    def price_streams(self) -> PriceStreams:
        """Return the price streams between processes; without Redis they stay within this one."""
        ...

    async def connect(self) -> None:
        """Open the stores and bring their schema up to date. Raises: Unavailable, ConfigurationError."""
        ...

    async def disconnect(self) -> None:
        """Finish what is under way and close; safe to call twice."""
        ...

    def health(self) -> dict[str, DependencyHealth]:
        """Return the state of each store by name (`sqlite`, `cache`, ...), without waiting."""
        ...
