"""Open the data adapter that the settings ask for.

What belongs into SQL is in memory, SQLite or PostgreSQL; what is hot (cache, registry, the newest prices) in memory or
Redis. Each store is watched by itself, and is lost and found without the others.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.memory.cache import WallTime
from fauxchange.data.metrics import StoreMetrics
from fauxchange.data.ports import (
    CacheRepository,
    DataAdapter,
    PriceFeedRepository,
    PriceStreams,
    ServiceDiscoveryRepository,
)
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.platform.logging import get_logger
from fauxchange.platform.ports import DependencyHealth, MetricsPort

if TYPE_CHECKING:
    from fauxchange.data.postgres.connections import PostgresConfig
    from fauxchange.data.redis.server import RedisConfig

_log = get_logger(__name__)


class _Kept(TypedDict):
    """What every adapter wants to know of cache and registry. Units: TTLs in seconds."""

    cache_namespace: str
    cache_ttl_s: float
    service_ttl_s: float
    wall_ns: WallTime


class HotStores(Protocol):
    """Stores of what is quick and may be forgotten."""

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
        """Return the price streams between processes."""
        ...

    def hot_prices(self, inner: PriceFeedRepository) -> PriceFeedRepository:
        """Return price history whose newest part is here, in front of the whole."""
        ...

    async def connect(self) -> None:
        """Open the stores, or begin to wait for their server. Raises: ConfigurationError."""
        ...

    async def disconnect(self) -> None:
        """Finish what is under way and close; safe to call twice."""
        ...

    def health(self) -> dict[str, DependencyHealth]:
        """Return the state of each store by name, without waiting."""
        ...


class ComposedAdapter:
    """All repositories: those of SQL from one adapter, the hot ones from stores of their own."""

    def __init__(self, sql: DataAdapter, hot: HotStores) -> None:
        self._sql = sql
        self._hot = hot
        self.price_feeds = hot.hot_prices(sql.price_feeds)
        self.candles = sql.candles
        self.snapshots = sql.snapshots
        self.symbols = sql.symbols
        self.audit = sql.audit
        self.state = sql.state
        self.configuration = sql.configuration
        self.journal = sql.journal
        self.kernel_snapshots = sql.kernel_snapshots
        self.exchange = sql.exchange
        self.cache = hot.cache
        self.discovery = hot.discovery
        self.price_streams = hot.price_streams

    async def connect(self) -> None:
        """Open both parts, or none; safe to call twice. Raises: ConfigurationError, Unavailable as the parts do."""
        await self._sql.connect()
        try:
            await self._hot.connect()
        except BaseException:
            await self._sql.disconnect()
            raise

    async def disconnect(self) -> None:
        """Close both parts, the one whatever happens to the other; safe to call twice."""
        try:
            await self._hot.disconnect()
        finally:
            await self._sql.disconnect()

    def health(self) -> dict[str, DependencyHealth]:
        """Return the state of each store; where both parts have one of the same name, it is the hot one's."""
        return {**self._sql.health(), **self._hot.health()}


async def open_data_adapter(
    path: Path | None,
    *,
    postgres: "PostgresConfig | None" = None,
    redis: "RedisConfig | None" = None,
    metrics: MetricsPort | None = None,
    cache_namespace: str = "market_data",
    cache_ttl_s: float = 300.0,
    service_ttl_s: float = 90.0,
    discovery_namespace: str = "market_data",
    wall_ns: WallTime = time.time_ns,
    own_processes: bool = False,
) -> DataAdapter:
    """Return a connected adapter over PostgreSQL, else over the SQLite file at `path`, else in memory.

    Cache and registry are in Redis if that is given. With `own_processes` an exchange's files are written by processes
    of their own, as `SqliteDataAdapter` says. A server that is away is waited for in the background.
    Units:  TTLs in seconds
    Raises: ConfigurationError, Unavailable as `DataAdapter.connect`
    """
    counted = StoreMetrics(metrics)
    kept = _Kept(cache_namespace=cache_namespace, cache_ttl_s=cache_ttl_s, service_ttl_s=service_ttl_s, wall_ns=wall_ns)
    adapter: DataAdapter
    # The drivers take a tenth of a second to load each, which a start without servers should not wait for.
    if postgres is not None:
        from fauxchange.data.postgres.adapter import PostgresDataAdapter  # noqa: PLC0415 - see above

        adapter = PostgresDataAdapter(postgres, metrics=counted, **kept)
    elif path is not None:
        adapter = SqliteDataAdapter(path, own_processes=own_processes, **kept)
    else:
        adapter = MemoryDataAdapter(**kept)
    if redis is not None:
        from fauxchange.data.redis.stores import RedisStores  # noqa: PLC0415 - see above

        hot = RedisStores(
            redis, discovery_namespace=discovery_namespace, metrics=metrics, store_metrics=counted, **kept
        )
        adapter = ComposedAdapter(adapter, hot)
    await adapter.connect()
    # A server is announced by who watches it, whenever it is found or lost.
    if postgres is None and path is not None:
        _log.info("DataAdapter connected", store=f"sqlite:{path}")
    elif postgres is None:
        _log.info("Running in stub mode", store="memory")
    return adapter
