"""The data adapter over one PostgreSQL database, with cache and registry in memory."""

import asyncio
import time

from fauxchange.data.connected_journal import ConnectedJournal
from fauxchange.data.memory.adapter import CACHE_KEYS
from fauxchange.data.memory.cache import MemoryCache, MemoryKeyspace, WallTime
from fauxchange.data.memory.price_streams import MemoryPriceStreams
from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.data.metrics import StoreMetrics
from fauxchange.data.postgres.configuration import PostgresConfiguration
from fauxchange.data.postgres.connections import PostgresConfig, describe
from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.data.postgres.exchange import PostgresExchange
from fauxchange.data.postgres.journal import JournalTable
from fauxchange.data.postgres.kernel_snapshots import PostgresKernelSnapshots
from fauxchange.data.postgres.statements import DIALECT
from fauxchange.data.postgres.trail import PostgresAudit, PostgresState
from fauxchange.data.relational import Candles, PriceFeeds, Snapshots, Symbols
from fauxchange.domain.errors import Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus


class PostgresDataAdapter:
    """All repositories. While the server is away those of SQL raise `Unavailable`, and recover by themselves.

    Units: TTLs in seconds of wall time
    """

    def __init__(
        self,
        config: PostgresConfig,
        *,
        metrics: StoreMetrics | None = None,
        cache_namespace: str = "market_data",
        cache_ttl_s: float = 300.0,
        service_ttl_s: float = 90.0,
        cache_keys: int = CACHE_KEYS,
        wall_ns: WallTime = time.time_ns,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._name = describe(config.url)
        self._database: PostgresDatabase | None = None
        self._journal: JournalTable | None = None
        self._changing = asyncio.Lock()
        self.price_feeds = PriceFeeds(DIALECT, self._connected)
        self.candles = Candles(DIALECT, self._connected)
        self.snapshots = Snapshots(DIALECT, self._connected)
        self.symbols = Symbols(DIALECT, self._connected)
        self.audit = PostgresAudit(self._connected)
        self.state = PostgresState(self._connected)
        self.configuration = PostgresConfiguration(self._connected)
        self.journal = ConnectedJournal(self._connected_journal)
        self.kernel_snapshots = PostgresKernelSnapshots(self._connected)
        self.exchange = PostgresExchange(self._connected)
        keyspace = MemoryKeyspace(wall_ns=wall_ns, max_keys=cache_keys)
        self.cache = MemoryCache(keyspace, namespace=cache_namespace, ttl_s=cache_ttl_s)
        self.discovery = MemoryRegistry(wall_ns=wall_ns, ttl_s=service_ttl_s)
        self.price_streams = MemoryPriceStreams()

    async def connect(self) -> None:
        """Connect and bring the schema up to date, or begin to wait for the server; safe to call twice.

        Raises: ConfigurationError if the server is there and cannot be used as it is
        """
        async with self._changing:
            if self._database is None:
                self._database = await PostgresDatabase.open(self._config, metrics=self._metrics)
                self._journal = JournalTable(self._database)

    async def disconnect(self) -> None:
        """Finish what is under way and close all connections; safe to call twice."""
        async with self._changing:
            journal, self._journal = self._journal, None
            database, self._database = self._database, None
            try:
                if journal is not None:
                    await journal.close()
            finally:
                if database is not None:
                    await database.close()

    def health(self) -> dict[str, DependencyHealth]:
        """Return the state of the server, as last seen, and of what is in memory."""
        in_memory = DependencyHealth(DependencyStatus.OK, "in memory")
        closed = DependencyHealth(DependencyStatus.DOWN, f"{self._name} is not connected")
        return {
            "postgresql": closed if self._database is None else self._database.health(),
            "journal": closed if self._journal is None else self._journal.health(),
            "cache": in_memory,
            "registry": in_memory,
        }

    def _connected(self) -> PostgresDatabase:
        if self._database is None:
            raise Unavailable(f"PostgreSQL at {self._name} is not connected")
        return self._database

    def _connected_journal(self) -> JournalTable:
        if self._journal is None:
            raise Unavailable(f"PostgreSQL at {self._name} is not connected")
        return self._journal
