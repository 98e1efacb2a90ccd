"""The data adapter of embedded mode: one SQLite file, with cache and registry in memory."""

import asyncio
import time
from pathlib import Path

from fauxchange.data.memory.adapter import CACHE_KEYS
from fauxchange.data.memory.cache import MemoryCache, MemoryKeyspace, WallTime
from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.data.sqlite.database import Open, SqliteDatabase, open_connection
from fauxchange.data.sqlite.market_data import SqliteCandles, SqlitePriceFeeds, SqliteSnapshots, SqliteSymbols
from fauxchange.data.sqlite.trail import SqliteAudit, SqliteState
from fauxchange.data.sqlite.writer import MAX_WAITING_ROWS, PROBE_INTERVAL_S
from fauxchange.domain.errors import Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus


class SqliteDataAdapter:
    """All repositories over one file.

    Units: TTLs and `probe_interval_s` (how often a failing disk is tried) in seconds of wall time
    """

    def __init__(
        self,
        path: Path,
        *,
        cache_namespace: str = "market_data",
        cache_ttl_s: float = 300.0,
        service_ttl_s: float = 90.0,
        cache_keys: int = CACHE_KEYS,
        wall_ns: WallTime = time.time_ns,
        max_waiting_rows: int = MAX_WAITING_ROWS,
        probe_interval_s: float = PROBE_INTERVAL_S,
        opener: Open = open_connection,
    ) -> None:
        self._path = path
        self._max_waiting_rows = max_waiting_rows
        self._probe_interval_s = probe_interval_s
        self._opener = opener
        self._database: SqliteDatabase | None = None
        self._changing = asyncio.Lock()
        self.price_feeds = SqlitePriceFeeds(self._connected)
        self.candles = SqliteCandles(self._connected)
        self.snapshots = SqliteSnapshots(self._connected)
        self.symbols = SqliteSymbols(self._connected)
        self.audit = SqliteAudit(self._connected)
        self.state = SqliteState(self._connected)
        keyspace = MemoryKeyspace(wall_ns=wall_ns, max_keys=cache_keys)
        self.cache = MemoryCache(keyspace, namespace=cache_namespace, ttl_s=cache_ttl_s)
        self.discovery = MemoryRegistry(wall_ns=wall_ns, ttl_s=service_ttl_s)

    async def connect(self) -> None:
        """Open the file, or create it; safe to call twice.

        Raises: ConfigurationError if the file cannot be used; Unavailable if another process keeps it locked
        """
        async with self._changing:
            if self._database is None:
                self._database = await SqliteDatabase.open(
                    self._path,
                    opener=self._opener,
                    max_waiting_rows=self._max_waiting_rows,
                    probe_interval_s=self._probe_interval_s,
                )

    async def disconnect(self) -> None:
        """Store what was accepted and close the file; safe to call twice."""
        async with self._changing:
            database, self._database = self._database, None
            if database is not None:
                await database.close()

    def health(self) -> dict[str, DependencyHealth]:
        """Return the state of the file and of what is in memory."""
        in_memory = DependencyHealth(DependencyStatus.OK, "in memory")
        closed = DependencyHealth(DependencyStatus.DOWN, f"{self._path} is not open")
        file = closed if self._database is None else self._database.health()
        return {"sqlite": file, "cache": in_memory, "registry": in_memory}

    def _connected(self) -> SqliteDatabase:
        if self._database is None:
            raise Unavailable(f"the database {self._path} is not open")
        return self._database
