"""The data adapter of embedded mode: SQLite files, with cache and registry in memory."""

import asyncio
import time
from pathlib import Path

from fauxchange.data.connected_journal import ConnectedJournal
from fauxchange.data.memory.adapter import CACHE_KEYS
from fauxchange.data.memory.cache import MemoryCache, MemoryKeyspace, WallTime
from fauxchange.data.memory.price_streams import MemoryPriceStreams
from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.data.relational import Candles, PriceFeeds, Snapshots, Symbols
from fauxchange.data.sqlite.configuration import SqliteConfiguration
from fauxchange.data.sqlite.database import SqliteDatabase
from fauxchange.data.sqlite.exchange import SqliteExchange
from fauxchange.data.sqlite.files import Open, open_connection
from fauxchange.data.sqlite.journal import JournalFile
from fauxchange.data.sqlite.kernel_snapshots import SnapshotFile, SqliteKernelSnapshots
from fauxchange.data.sqlite.statements import DIALECT
from fauxchange.data.sqlite.trail import SqliteAudit, SqliteState
from fauxchange.data.sqlite.writer import MAX_WAITING_ROWS, PROBE_INTERVAL_S
from fauxchange.domain.errors import Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus


class SqliteDataAdapter:
    """All repositories over the file at `path` and two beside it: the exchange's journal and its kernel's snapshots.

    With `own_processes` the journal and the exchange's read models are written by processes of their own, for a venue
    that takes orders meanwhile; else by threads.

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
        own_processes: bool = False,
    ) -> None:
        self._path = path
        self._max_waiting_rows = max_waiting_rows
        self._probe_interval_s = probe_interval_s
        self._opener = opener
        self._own_processes = own_processes
        self._journal_path = path.with_name(f"{path.stem}-journal.sqlite")
        self._snapshots_path = path.with_name(f"{path.stem}-snapshots.sqlite")
        self._database: SqliteDatabase | None = None
        self._journal: JournalFile | None = None
        self._snapshots: SnapshotFile | None = None
        self._changing = asyncio.Lock()
        self.price_feeds = PriceFeeds(DIALECT, self._connected)
        self.candles = Candles(DIALECT, self._connected)
        self.snapshots = Snapshots(DIALECT, self._connected)
        self.symbols = Symbols(DIALECT, self._connected)
        self.audit = SqliteAudit(self._connected)
        self.state = SqliteState(self._connected)
        self.configuration = SqliteConfiguration(self._connected)
        self.journal = ConnectedJournal(self._connected_journal)
        self.kernel_snapshots = SqliteKernelSnapshots(self._connected_snapshots)
        self.exchange = SqliteExchange(self._connected)
        keyspace = MemoryKeyspace(wall_ns=wall_ns, max_keys=cache_keys)
        self.cache = MemoryCache(keyspace, namespace=cache_namespace, ttl_s=cache_ttl_s)
        self.discovery = MemoryRegistry(wall_ns=wall_ns, ttl_s=service_ttl_s)
        self.price_streams = MemoryPriceStreams()

    async def connect(self) -> None:
        """Open the files, or create them; safe to call twice.

        Raises: ConfigurationError if a file cannot be used; Unavailable if another process keeps it locked
        """
        async with self._changing:
            try:
                await self._open()
            except BaseException:
                await self._close()
                raise

    async def disconnect(self) -> None:
        """Store what was accepted and close the files; safe to call twice."""
        async with self._changing:
            await self._close()

    def health(self) -> dict[str, DependencyHealth]:
        """Return the state of the files and of what is in memory."""
        in_memory = DependencyHealth(DependencyStatus.OK, "in memory")
        return {
            "sqlite": _closed(self._path) if self._database is None else self._database.health(),
            "journal": _closed(self._journal_path) if self._journal is None else self._journal.health(),
            "cache": in_memory,
            "registry": in_memory,
        }

    async def _open(self) -> None:
        if self._database is None:
            self._database = await SqliteDatabase.open(
                self._path,
                opener=self._opener,
                max_waiting_rows=self._max_waiting_rows,
                probe_interval_s=self._probe_interval_s,
                own_process=self._own_processes,
            )
        if self._journal is None:
            self._journal = await JournalFile.open(
                self._journal_path,
                opener=self._opener,
                probe_interval_s=self._probe_interval_s,
                own_process=self._own_processes,
            )
        if self._snapshots is None:
            self._snapshots = await SnapshotFile.open(self._snapshots_path, opener=self._opener)

    async def _close(self) -> None:
        journal, self._journal = self._journal, None
        snapshots, self._snapshots = self._snapshots, None
        database, self._database = self._database, None
        for file in (journal, snapshots, database):
            if file is not None:
                await file.close()

    def _connected(self) -> SqliteDatabase:
        if self._database is None:
            raise Unavailable(f"the database {self._path} is not open")
        return self._database

    def _connected_journal(self) -> JournalFile:
        if self._journal is None:
            raise Unavailable(f"the journal {self._journal_path} is not open")
        return self._journal

    def _connected_snapshots(self) -> SnapshotFile:
        if self._snapshots is None:
            raise Unavailable(f"the database {self._snapshots_path} is not open")
        return self._snapshots


def _closed(path: Path) -> DependencyHealth:
    return DependencyHealth(DependencyStatus.DOWN, f"{path} is not open")
