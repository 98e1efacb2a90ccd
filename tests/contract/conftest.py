"""Every store that the contract suite runs over; a new one joins by a line in STORES."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.data.ports import DataAdapter
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


def _memory(_folder: Path, wall: WallClock) -> DataAdapter:
    return MemoryDataAdapter(wall_ns=wall, cache_ttl_s=CACHE_TTL_S, service_ttl_s=SERVICE_TTL_S)


def _sqlite(folder: Path, wall: WallClock) -> DataAdapter:
    return SqliteDataAdapter(
        folder / "fauxchange.db", wall_ns=wall, cache_ttl_s=CACHE_TTL_S, service_ttl_s=SERVICE_TTL_S
    )


STORES: dict[str, Callable[[Path, WallClock], DataAdapter]] = {"memory": _memory, "sqlite": _sqlite}
DURABLE = ["sqlite"]


@pytest.fixture
def wall() -> WallClock:
    return WallClock()


@pytest.fixture(params=STORES)
async def adapter(request: pytest.FixtureRequest, tmp_path: Path, wall: WallClock) -> AsyncIterator[DataAdapter]:
    adapter = STORES[request.param](tmp_path, wall)
    await adapter.connect()
    yield adapter
    await adapter.disconnect()


@pytest.fixture(params=DURABLE)
async def open_again(
    request: pytest.FixtureRequest, tmp_path: Path, wall: WallClock
) -> AsyncIterator[Callable[[], Awaitable[DataAdapter]]]:
    """Return a function that opens the store, closing what it opened before, as a restarted process would."""
    opened: list[DataAdapter] = []

    async def open_() -> DataAdapter:
        if opened:
            await opened.pop().disconnect()
        opened.append(STORES[request.param](tmp_path, wall))
        await opened[0].connect()
        return opened[0]

    yield open_
    for adapter in opened:
        await adapter.disconnect()
