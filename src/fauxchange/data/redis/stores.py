"""What is kept in Redis: cache, registry, hot price history and price streams, over one server."""

import asyncio
from contextlib import suppress

from fauxchange.data.memory.cache import MemoryCache, MemoryKeyspace, WallTime
from fauxchange.data.memory.price_streams import KEPT_PRICES
from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.data.metrics import StoreMetrics
from fauxchange.data.ports import PriceFeedRepository
from fauxchange.data.redis.cache import RedisCache
from fauxchange.data.redis.hot_prices import HOT_AGE_NS, HOT_ROWS, HotPrices
from fauxchange.data.redis.metrics import RedisMetrics
from fauxchange.data.redis.price_streams import RedisPriceStreams
from fauxchange.data.redis.registry import RedisRegistry
from fauxchange.data.redis.server import RedisConfig, RedisServer
from fauxchange.domain.errors import Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus, MetricsPort

UPKEEP_INTERVAL_S = 1.0
CACHE_KEYS = 100_000


class RedisStores:
    """The stores of one process. Nothing here is needed to go on: without Redis, memory or the SQL store answers.

    `hot_rows` and `kept_prices` (in the streams) are per symbol.
    Units: TTLs in seconds of wall time; hot_age_ns in nanoseconds of venue time
    """

    def __init__(
        self,
        config: RedisConfig,
        *,
        wall_ns: WallTime,
        cache_namespace: str = "market_data",
        cache_ttl_s: float = 300.0,
        cache_keys: int = CACHE_KEYS,
        discovery_namespace: str = "market_data",
        service_ttl_s: float = 90.0,
        hot_rows: int = HOT_ROWS,
        hot_age_ns: int = HOT_AGE_NS,
        kept_prices: int = KEPT_PRICES,
        metrics: MetricsPort | None = None,
        store_metrics: StoreMetrics | None = None,
    ) -> None:
        # Both the caller and we asking the port for the same metrics is one metric.
        self.server = RedisServer(config, metrics=store_metrics or StoreMetrics(metrics))
        self._metrics = RedisMetrics(metrics)
        self._hot_rows = hot_rows
        self._hot_age_ns = hot_age_ns
        keyspace = MemoryKeyspace(wall_ns=wall_ns, max_keys=cache_keys)
        in_memory = MemoryCache(keyspace, namespace=cache_namespace, ttl_s=cache_ttl_s)
        self.cache = RedisCache(self.server, in_memory, namespace=cache_namespace, ttl_s=cache_ttl_s, wall_ns=wall_ns)
        self.discovery = RedisRegistry(
            self.server,
            MemoryRegistry(wall_ns=wall_ns, ttl_s=service_ttl_s),
            namespace=discovery_namespace,
            ttl_s=service_ttl_s,
            wall_ns=wall_ns,
        )
        self.price_streams = RedisPriceStreams(self.server, metrics=self._metrics, keep=kept_prices)
        self._hot: list[HotPrices] = []
        self._upkeep: asyncio.Task[None] | None = None

    def hot_prices(self, inner: PriceFeedRepository) -> HotPrices:
        """Return `inner` with the newest prices answered from Redis."""
        hot = HotPrices(inner, self.server, metrics=self._metrics, rows=self._hot_rows, age_ns=self._hot_age_ns)
        self._hot.append(hot)
        return hot

    async def connect(self) -> None:
        """Find the server, or go on without it until it comes; safe to call twice.

        Raises: ConfigurationError if it is there and refuses our user or password
        """
        await self.server.connect()
        self.price_streams.start()
        if self._upkeep is None:
            self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(), name="redis upkeep")

    async def disconnect(self) -> None:
        """Close all connections; safe to call twice."""
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.cancel()
            await asyncio.wait([upkeep])
        await self.price_streams.stop()
        await self.server.disconnect()

    def health(self) -> dict[str, DependencyHealth]:
        """Return the state of the server and of what is kept in it."""
        hot = next((hot.problem for hot in self._hot if hot.problem is not None), None)
        return {
            "redis": self.server.health(),
            "cache": self._part(self.cache.problem, "in memory"),
            "registry": self._part(self.discovery.problem, "in memory"),
            "hot-history": self._part(hot, "the store behind it answers"),
            "price-streams": self._part(self.price_streams.problem, "prices wait, then the oldest are given up"),
        }

    def _part(self, problem: str | None, meanwhile: str) -> DependencyHealth:
        reason = self.server.problem or problem
        if reason is None:
            return DependencyHealth(DependencyStatus.OK, f"redis {self.server.name}")
        return DependencyHealth(DependencyStatus.DEGRADED, f"{meanwhile}: {reason}")

    async def _keep_up(self) -> None:
        """Bring back what Redis has lost, and let live what is only claimed for a moment."""
        while True:
            await self.server.is_here.wait()
            with suppress(Unavailable):
                await self.cache.reconcile()
            await self.discovery.refresh()
            for hot in self._hot:
                await hot.renew()
            await asyncio.sleep(UPKEEP_INTERVAL_S)
