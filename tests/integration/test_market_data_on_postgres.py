"""Market data on a real PostgreSQL: prices go on whatever happens to it, and history is whole again afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from redis_kit import eventually

from fauxchange.data.ports import AuditQuery
from fauxchange.data.postgres.adapter import PostgresDataAdapter
from fauxchange.data.postgres.connections import PostgresConfig
from fauxchange.domain.audit import first_broken
from fauxchange.testing import RunningVenue, running
from fauxchange.testing.servers import Database, PostgresServer

FAST = {"PRICE_UPDATE_INTERVAL": "100ms", "MODEL_ENGINE": "python", "DEFAULT_SYMBOLS": "BTC/USD"}


@pytest.fixture(scope="module")
def server(own_server: PostgresServer) -> PostgresServer:
    return own_server


@pytest.fixture
def database(emptied_database: Database) -> Database:
    return emptied_database


class Venue:
    """A venue that feeds prices, and what can be seen of it from outside."""

    def __init__(self, running: RunningVenue, client: httpx.AsyncClient) -> None:
        self.running = running
        self._client = client

    async def get(self, path: str) -> Any:
        answer = await self._client.get(path)
        return answer.json()

    @property
    def published(self) -> int:
        (market,) = self.running.market_data.service.markets.values()
        return market.prices.sequence

    def has_published(self, sequence: int) -> bool:
        return self.published >= sequence

    async def status(self, dependency: str) -> str:
        health = await self.get("/api/v1/health")
        return str(health["services"]["market-data"]["dependencies"][dependency]["status"])

    async def until(self, dependency: str, status: str) -> None:
        """Ask until the answer is that: each answer takes a moment of its own."""
        async with asyncio.timeout(60.0):
            while await self.status(dependency) != status:
                continue


@asynccontextmanager
async def venue(folder: Path, database: Database) -> AsyncIterator[Venue]:
    settings = {**FAST, "POSTGRES_URL": database.url}
    async with (
        running(folder, settings, services=("market-data",)) as live,
        httpx.AsyncClient(base_url=live.venue.http, timeout=30.0) as client,
    ):
        yield Venue(live, client)


def stored(database: Database) -> list[int]:
    with psycopg.connect(database.url) as connection:
        rows = connection.execute("SELECT sequence FROM market_data.price_feeds ORDER BY epoch, sequence")
        return [row[0] for row in rows]


async def trail_is_whole(database: Database) -> list[str]:
    adapter = PostgresDataAdapter(PostgresConfig(url=database.url))
    await adapter.connect()
    try:
        events = (await adapter.audit.query(AuditQuery(source="market-data"))).items
    finally:
        await adapter.disconnect()
    assert first_broken(events) is None
    return [event.type for event in events]


async def test_prices_begin_without_the_store_and_are_stored_once_it_comes(
    server: PostgresServer, database: Database, tmp_path: Path
) -> None:
    server.stop()
    async with venue(tmp_path, database) as live:
        await live.until("history", "degraded")
        await live.until("audit-trail", "degraded")
        await eventually(lambda: live.published >= 5)
        health = await live.get("/api/v1/health")
        assert health["status"] == "degraded"
        assert await live.status("postgresql") == "down"
        assert (await live.get("/api/v1/prices/BTC-USD"))["symbol"] == "BTC/USD"
        assert (await live.get("/api/v1/prices/BTC-USD/history"))["code"] == "unavailable"

        server.restart()

        await live.until("postgresql", "ok")
        history = await live.get("/api/v1/prices/BTC-USD/history?limit=5")
        assert [each["symbol"] for each in history["prices"]] == ["BTC/USD"] * 5
    assert stored(database) == list(range(1, live.published + 1))
    assert await trail_is_whole(database) == ["fauxchange.service.started", "fauxchange.service.stopped"]


async def test_prices_go_on_while_the_store_is_lost_and_none_is_missing_afterwards(
    server: PostgresServer, database: Database, tmp_path: Path
) -> None:
    async with venue(tmp_path, database) as live:
        for lose, bring_back in ((server.kill, server.restart), (server.freeze, server.thaw)):
            await live.until("postgresql", "ok")
            lose()
            await live.until("postgresql", "down")
            await eventually(partial(live.has_published, live.published + 5))
            bring_back()
            await live.until("postgresql", "ok")
    assert stored(database) == list(range(1, live.published + 1))
    assert await trail_is_whole(database) == ["fauxchange.service.started", "fauxchange.service.stopped"]


async def test_numbers_go_on_after_a_graceful_stop(database: Database, tmp_path: Path) -> None:
    async with venue(tmp_path, database) as live:
        await eventually(lambda: live.published >= 3)
    first = live.published

    async with venue(tmp_path, database) as live:
        await eventually(lambda: live.published > first)

    assert stored(database) == list(range(1, live.published + 1))
    symbols = "SELECT symbol, active FROM market_data.symbols"
    with psycopg.connect(database.url) as connection:
        assert connection.execute(symbols.encode()).fetchall() == [("BTC/USD", True)]
