"""Venues over real sockets, on the event loop that the product runs on."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc.aio
import httpx
import pytest
import uvloop

from fauxchange.contracts.market_data.v1 import market_data_pb2_grpc
from fauxchange.testing import RunningVenue, running

START_TIME = "2026-01-01T00:00:00Z"
PAUSED = {"START_TIME": START_TIME, "PRICE_UPDATE_INTERVAL": "1s", "MODEL_ENGINE": "python"}
"""One price of each symbol at the first moment; further ones when the test moves the clock."""

RunVenue = Callable[..., AbstractAsyncContextManager[RunningVenue]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], object]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def run_venue(tmp_path: Path) -> RunVenue:
    """Return a function that runs market data alone, whose clock stands still until the test moves it."""

    def run(*, extra_sources: tuple[object, ...] = (), **settings: object) -> AbstractAsyncContextManager[RunningVenue]:
        return running(
            tmp_path / "venue",
            {**PAUSED, **settings},
            services=("market-data",),
            extra_sources=extra_sources,  # type: ignore[arg-type]
            paused=True,
        )

    return run


@pytest.fixture
async def venue(run_venue: RunVenue) -> AsyncIterator[RunningVenue]:
    async with run_venue() as running_venue:
        yield running_venue


@pytest.fixture
async def http(venue: RunningVenue) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=venue.venue.http) as client:
        yield client


@pytest.fixture
async def audit(venue: RunningVenue) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=venue.venue.audit, headers=venue.venue.audit_headers) as client:
        yield client


@pytest.fixture
async def stub(venue: RunningVenue) -> AsyncIterator[market_data_pb2_grpc.MarketDataServiceStub]:
    async with grpc.aio.insecure_channel(venue.venue.grpc) as channel:
        yield market_data_pb2_grpc.MarketDataServiceStub(channel)
