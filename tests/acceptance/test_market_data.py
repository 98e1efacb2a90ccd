"""The plan's sentences that concern market data, each as a test; in one process, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fauxchange.contracts.market_data.v1 import market_data_pb2 as pb
from fauxchange.contracts.market_data.v1 import market_data_pb2_grpc
from fauxchange.domain.times import NS_PER_S
from fauxchange.testing import RunningVenue, running

VIRTUAL = {"START_TIME": "2026-01-01T00:00:00Z", "MODEL_ENGINE": "python"}


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[RunningVenue]:
    async with running(tmp_path, VIRTUAL | {"STORE": "sqlite"}, paused=True) as running_venue:
        yield running_venue


async def test_all_services_start_respond_to_health_checks_and_shut_down_gracefully(venue: RunningVenue) -> None:
    # Given a started process
    async with (
        httpx.AsyncClient(base_url=venue.venue.http) as http,
        grpc.aio.insecure_channel(venue.venue.grpc) as channel,
    ):
        # When its health is asked for over REST and gRPC
        answers = {path: await http.get(f"/api/v1/{path}") for path in ("health", "live", "ready")}
        heads = {path: await http.head(f"/api/v1/{path}") for path in ("health", "live", "ready")}
        checked = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

        # Then every service is well, with everything that it leans on
        assert {answer.status_code for answer in (*answers.values(), *heads.values())} == {200}
        report = answers["health"].json()
        assert report["status"] == "ok"
        statuses = {name: service["status"] for name, service in report["services"].items()}
        assert statuses == {"configuration": "ok", "market-data": "ok", "exchange": "ok"}
        assert {"sequencer", "journal", "read-models"} <= report["services"]["exchange"]["dependencies"].keys()
        states = report["services"]["market-data"]["dependencies"]
        assert {"sqlite", "history", "audit-trail", "registry", "feed-simulator"} <= states.keys()
        assert checked.status == health_pb2.HealthCheckResponse.SERVING

    # And a stop is graceful
    assert await asyncio.wait_for(venue.stop(), 10) == 0


async def test_market_data_streams_over_grpc(venue: RunningVenue) -> None:
    # Given a client that streams prices
    async with grpc.aio.insecure_channel(venue.venue.grpc) as channel:
        call = market_data_pb2_grpc.MarketDataServiceStub(channel).StreamPrices(pb.StreamPricesRequest())
        assert len((await call.read()).updates) == 5

        # When a price of each symbol is made
        await venue.clock.step(NS_PER_S)

        # Then it receives them
        received: list[str] = []
        async with asyncio.timeout(10):
            while len(received) < 5:
                received += [update.price.symbol for update in (await call.read()).updates]
    assert received == ["BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD"]


async def test_all_database_operations_go_through_the_repositories_of_the_data_adapter(
    venue: RunningVenue, tmp_path: Path
) -> None:
    # Given a service that has made prices for a minute and stopped
    await venue.clock.step(61 * NS_PER_S)
    async with httpx.AsyncClient(base_url=venue.venue.http) as http:
        served = (await http.get("/api/v1/candles/BTC-USD", params={"interval": "1m", "order": "asc"})).json()
    assert await venue.stop() == 0

    # When the data adapter alone is opened on what was stored
    from fauxchange.data.adapter import open_data_adapter
    from fauxchange.data.ports import AuditQuery, CandleQuery, PriceFeedQuery, SymbolQuery

    data = await open_data_adapter(
        tmp_path / "fauxchange.sqlite", cache_namespace="market_data", cache_ttl_s=300, service_ttl_s=90
    )
    try:
        prices = await data.price_feeds.history(PriceFeedQuery(symbol="BTC/USD"))
        candles = await data.candles.query(CandleQuery(symbol="BTC/USD", interval_ns=60 * NS_PER_S))
        symbols = await data.symbols.query(SymbolQuery(active=True))
        snapshot = await data.snapshots.latest("BTC/USD")
        events = await data.audit.query(AuditQuery(source="market-data"))
    finally:
        await data.disconnect()

    # Then its repositories have everything that the service stored
    assert [feed.sequence for feed in prices.items] == list(range(1, 63))
    assert [str(candle.close) for candle in candles.items] == [candle["close"] for candle in served["candles"]]
    assert {record.symbol for record in symbols} >= {"BTC/USD", "DOT/USD"}
    assert snapshot is not None
    assert [event.type for event in events.items][:1] == ["fauxchange.service.started"]
    assert events.items[-1].type == "fauxchange.service.stopped"
