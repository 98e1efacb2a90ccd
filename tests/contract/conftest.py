"""Every store that the contract suite runs over; a new one joins by a line in STORES."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from postgres_kit import patient
from redis_kit import patient as patient_redis

from fauxchange.data.adapter import ComposedAdapter
from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import DataAdapter
from fauxchange.data.postgres.adapter import PostgresDataAdapter
from fauxchange.data.redis.stores import RedisStores
from fauxchange.data.sqlite.adapter import SqliteDataAdapter
from fauxchange.domain.times import NS_PER_S

CACHE_TTL_S = 300.0
SERVICE_TTL_S = 90.0


class WallClock:
    """Wall time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * NS_PER_S

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)


def _memory(_request: pytest.FixtureRequest, wall: WallClock) -> DataAdapter:
    return MemoryDataAdapter(wall_ns=wall, cache_ttl_s=CACHE_TTL_S, service_ttl_s=SERVICE_TTL_S)


def _sqlite(request: pytest.FixtureRequest, wall: WallClock) -> DataAdapter:
    folder: Path = request.getfixturevalue("tmp_path")
    return SqliteDataAdapter(
        folder / "fauxchange.db", wall_ns=wall, cache_ttl_s=CACHE_TTL_S, service_ttl_s=SERVICE_TTL_S
    )


def _postgres(request: pytest.FixtureRequest, wall: WallClock) -> DataAdapter:
    config = patient(request.getfixturevalue("postgres_url"))
    return PostgresDataAdapter(config, wall_ns=wall, cache_ttl_s=CACHE_TTL_S, service_ttl_s=SERVICE_TTL_S)


def _redis(request: pytest.FixtureRequest, wall: WallClock) -> DataAdapter:
    config = patient_redis(request.getfixturevalue("redis_url"))
    hot = RedisStores(config, wall_ns=wall, cache_ttl_s=CACHE_TTL_S, service_ttl_s=SERVICE_TTL_S)
    return ComposedAdapter(_memory(request, wall), hot)


STORES: dict[str, Callable[[pytest.FixtureRequest, WallClock], DataAdapter]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
    "redis": _redis,
}
DURABLE = ["sqlite", "postgres"]


@pytest.fixture
def wall() -> WallClock:
    return WallClock()


@pytest.fixture(params=STORES)
async def adapter(request: pytest.FixtureRequest, wall: WallClock) -> AsyncIterator[DataAdapter]:
    adapter = STORES[request.param](request, wall)
    await adapter.connect()
    yield adapter
    await adapter.disconnect()


@pytest.fixture(params=DURABLE)
async def open_again(
    request: pytest.FixtureRequest, wall: WallClock
) -> AsyncIterator[Callable[[], Awaitable[DataAdapter]]]:
    """Return a function that opens the store, closing what it opened before, as a restarted process would."""
    opened: list[DataAdapter] = []

    async def open_() -> DataAdapter:
        if opened:
            await opened.pop().disconnect()
        opened.append(STORES[request.param](request, wall))
        await opened[0].connect()
        return opened[0]

    yield open_
    for adapter in opened:
        await adapter.disconnect()
