"""The repositories as protocols; each has an in-memory form and a real one, and one contract suite runs over all.

Queries are typed objects. Ranges are half-open: `start_ns <= t < end_ns`. Lists page by an opaque cursor: pass the
`next_cursor` of one page as `cursor` of the next query; it is None on the last page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fauxchange.domain.audit import AuditEvent
from fauxchange.domain.market_data import CandleRecord, MarketSnapshot, Metadata, PriceFeed, SymbolRecord
from fauxchange.platform.ports import CacheRepository, DependencyHealth, ServiceDiscoveryRepository

__all__ = [
    "AuditQuery",
    "AuditRepository",
    "CacheRepository",
    "CandleQuery",
    "CandleRepository",
    "DataAdapter",
    "MarketSnapshotRepository",
    "Page",
    "PriceFeedQuery",
    "PriceFeedRepository",
    "ServiceDiscoveryRepository",
    "StateRepository",
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


class StateRepository(Protocol):
    """Small named JSON documents by which a service goes on where it stopped."""

    async def load(self, name: str) -> Metadata | None:
        """Return the document, or None if there is none."""
        ...

    async def save(self, name: str, document: Metadata) -> None:
        """Store or replace the document durably: it is on disk when this returns."""
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
    def cache(self) -> CacheRepository:
        """Return the repository of the cache."""
        ...

    @property
    def discovery(self) -> ServiceDiscoveryRepository:
        """Return the repository of the registry."""
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
