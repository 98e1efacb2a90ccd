"""Open the data adapter that the settings ask for."""

import time
from pathlib import Path

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.memory.cache import WallTime
from fauxchange.data.ports import DataAdapter
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)


async def open_data_adapter(
    path: Path | None,
    *,
    cache_namespace: str = "market_data",
    cache_ttl_s: float = 300.0,
    service_ttl_s: float = 90.0,
    wall_ns: WallTime = time.time_ns,
) -> DataAdapter:
    """Return a connected adapter over the SQLite file at `path`, or in memory if that is None.

    Units:  TTLs in seconds
    Raises: ConfigurationError, Unavailable as `DataAdapter.connect`
    """
    adapter: DataAdapter
    if path is None:
        adapter = MemoryDataAdapter(
            cache_namespace=cache_namespace, cache_ttl_s=cache_ttl_s, service_ttl_s=service_ttl_s, wall_ns=wall_ns
        )
    else:
        adapter = SqliteDataAdapter(
            path, cache_namespace=cache_namespace, cache_ttl_s=cache_ttl_s, service_ttl_s=service_ttl_s, wall_ns=wall_ns
        )
    await adapter.connect()
    if path is None:
        _log.info("Running in stub mode", store="memory")
    else:
        _log.info("DataAdapter connected", store=f"sqlite:{path}")
    return adapter
