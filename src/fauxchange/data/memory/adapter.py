"""The data adapter that keeps everything in memory."""

import time

from fauxchange.data.memory.cache import MemoryCache, MemoryKeyspace, WallTime
from fauxchange.data.memory.configuration import MemoryConfiguration
from fauxchange.data.memory.exchange import MemoryExchange
from fauxchange.data.memory.journal import MemoryJournal, MemoryKernelSnapshots
from fauxchange.data.memory.market_data import MemoryCandles, MemoryPriceFeeds, MemorySnapshots, MemorySymbols
from fauxchange.data.memory.price_streams import MemoryPriceStreams
from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.data.memory.trail import MemoryAudit, MemoryState
from fauxchange.platform.ports import DependencyHealth, DependencyStatus

HISTORY_ROWS = 50_000
"""How many prices, candles, snapshots, finished orders, fills and ledger entries each are kept in memory (200 MB)."""
CACHE_KEYS = 100_000


class MemoryDataAdapter:
    """All repositories in memory: always there, and gone with the process.

    Units: TTLs in seconds of wall time
    """

    def __init__(
        self,
        *,
        cache_namespace: str = "market_data",
        cache_ttl_s: float = 300.0,
        service_ttl_s: float = 90.0,
        history_rows: int = HISTORY_ROWS,
        cache_keys: int = CACHE_KEYS,
        wall_ns: WallTime = time.time_ns,
    ) -> None:
        self.price_feeds = MemoryPriceFeeds(history_rows)
        self.candles = MemoryCandles(history_rows)
        self.snapshots = MemorySnapshots(history_rows)
        self.symbols = MemorySymbols()
        self.audit = MemoryAudit()
        self.state = MemoryState()
        self.configuration = MemoryConfiguration()
        self.journal = MemoryJournal()
        self.kernel_snapshots = MemoryKernelSnapshots()
        self.exchange = MemoryExchange(history_rows)
        keyspace = MemoryKeyspace(wall_ns=wall_ns, max_keys=cache_keys)
        self.cache = MemoryCache(keyspace, namespace=cache_namespace, ttl_s=cache_ttl_s)
        self.discovery = MemoryRegistry(wall_ns=wall_ns, ttl_s=service_ttl_s)
        self.price_streams = MemoryPriceStreams()

    async def connect(self) -> None:
        """Do nothing: memory is connected."""

    async def disconnect(self) -> None:
        """Do nothing: what is stored stays until the adapter goes."""

    def health(self) -> dict[str, DependencyHealth]:
        """Return `ok` for each store."""
        in_memory = DependencyHealth(DependencyStatus.OK, "in memory")
        return {"memory": in_memory, "journal": in_memory, "cache": in_memory, "registry": in_memory}
