"""Put a market-data gateway together: the edges of the public API over the streams of a generator elsewhere."""

from collections.abc import Callable
from typing import Any

import grpc
from litestar.types import ControllerRouterHandler

from fauxchange.domain.errors import FauxchangeError
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.lifecycle import Supervisor
from fauxchange.platform.ports import Clock
from fauxchange.platform.rpc.backoff import Chance
from fauxchange.platform.rpc.clients import PeerClient
from fauxchange.platform.streams.endpoint import Heartbeat, StreamMetrics
from fauxchange.platform.streams.websocket import StreamEndpoint
from fauxchange.services.market_data.app.config import MarketDataConfig
from fauxchange.services.market_data.clients.gateway import GatewayMarketData
from fauxchange.services.market_data.rest import market_data_routes
from fauxchange.services.market_data.rpc import SERVICE_NAME, MarketDataRpc
from fauxchange.services.market_data.ws import market_data_endpoint

NAME = "market-data-gateway"
CLOSE_TRY_AGAIN = 1013
"""WebSocket's own code for a server that cannot go on now and will later."""
MISSED_HEARTBEATS = 3
LEAST_IDLE_S = 10.0


class MarketDataGateway:
    """The public API of market data whose generator runs in another process; a lifecycle component."""

    name = NAME

    def __init__(
        self,
        config: MarketDataConfig,
        client: PeerClient,
        *,
        clock: Clock,
        wall_ns: Callable[[], int],
        supervisor: Supervisor,
        chance: Chance,
        stream_metrics: StreamMetrics,
    ) -> None:
        self._client = client
        self.service = GatewayMarketData(
            client,
            self,
            keep=config.kept_messages,
            default_interval_ns=config.candle_interval_ns,
            spawn=supervisor.supervise,
            chance=chance,
            idle_timeout_s=max(LEAST_IDLE_S, MISSED_HEARTBEATS * config.limits.heartbeat_s),
        )
        self._heartbeat = Heartbeat(
            epoch=wall_ns() // 1_000_000, interval_s=config.limits.heartbeat_s, now_ns=clock.now_ns
        )
        self._rpc = MarketDataRpc(
            self.service,
            limits=config.limits,
            heartbeat=self._heartbeat,
            metrics=stream_metrics,
            flush_interval_s=config.flush_interval_s,
            max_streams=config.max_grpc_streams,
        )
        self.endpoint: StreamEndpoint = market_data_endpoint(
            self.service, heartbeat=self._heartbeat, limits=config.limits, metrics=stream_metrics
        )

    @property
    def rest_routes(self) -> list[ControllerRouterHandler]:
        """The routes of the production API."""
        return market_data_routes(self.service)

    @property
    def grpc_service(self) -> tuple[str, grpc.GenericRpcHandler]:
        """The full name of the gRPC service and its handlers."""
        return SERVICE_NAME, self._rpc.handler()

    def add_health(self, health: HealthRegistry) -> None:
        """Enter the gateway and what it reads into the registry."""
        checks: dict[str, Any] = {"market-data": self._client.health_check(), "streams": self.service.health}
        health.add_service(NAME, checks)

    async def start(self) -> None:
        """Begin to read the generator's streams; until they are there everything is refused with 503."""
        self._heartbeat.start()
        await self.service.start()

    async def stop(self) -> None:
        """End all streams."""
        self._rpc.end_streams()
        await self.service.stop()
        await self._heartbeat.stop()

    def lost(self, failure: FauxchangeError) -> None:
        """Send readers away, who would be told nothing and not know it."""
        for connection in tuple(self.endpoint.connections):
            connection.close(CLOSE_TRY_AGAIN, failure.code)
        self._rpc.drop_readers(failure)
