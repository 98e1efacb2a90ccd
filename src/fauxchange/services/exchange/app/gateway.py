"""Put an exchange gateway together: the edges of the public API over a link to the kernel process."""

from collections.abc import Callable
from dataclasses import dataclass

import grpc
from litestar.types import ControllerRouterHandler

from fauxchange.domain.errors import FauxchangeError
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.credentials import SecretBox
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.lifecycle import BackgroundComponent, Supervisor
from fauxchange.platform.ports import Clock, MetricsPort
from fauxchange.platform.settings import Settings
from fauxchange.platform.streams.endpoint import Heartbeat, StreamLimits, StreamMetrics
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.websocket import StreamEndpoint
from fauxchange.services.exchange.app.config import stream_limits
from fauxchange.services.exchange.clients.connection import Connection
from fauxchange.services.exchange.clients.gateway import GatewayAccess, GatewayAllowances, GatewayExchange
from fauxchange.services.exchange.clients.replica import Replica
from fauxchange.services.exchange.rest import exchange_routes
from fauxchange.services.exchange.rpc import SERVICE_NAME, ExchangeRpc
from fauxchange.services.exchange.rpc.kernel_link import ADMIN_SEAL
from fauxchange.services.exchange.service.links import Welcome
from fauxchange.services.exchange.service.metrics import GatewayMetrics
from fauxchange.services.exchange.ws import exchange_endpoint

NAME = "exchange-gateway"
CLOSE_TRY_AGAIN = 1013
"""WebSocket's own code for a server that cannot go on now and will later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """What a gateway takes from the settings. Units: flush_interval_s in seconds of wall time."""

    target: str
    key: str
    version: str
    kept_messages: int
    limits: StreamLimits
    flush_interval_s: float
    max_grpc_streams: int


def read_gateway_config(settings: Settings, key: str) -> GatewayConfig:
    """Return a gateway's settings."""
    return GatewayConfig(
        target=settings.kernel_target,
        key=key,
        version=settings.service_version,
        kept_messages=max(1, settings.resume_buffer),
        limits=stream_limits(settings),
        flush_interval_s=settings.grpc_flush_interval_ns / NS_PER_S,
        max_grpc_streams=settings.grpc_max_streams,
    )


class ExchangeGateway:
    """The public API of an exchange whose kernel runs in another process; a lifecycle component."""

    name = NAME

    def __init__(
        self,
        config: GatewayConfig,
        *,
        instance: str,
        clock: Clock,
        wall_ns: Callable[[], int],
        metrics: MetricsPort,
        supervisor: Supervisor,
        stream_metrics: StreamMetrics,
    ) -> None:
        self._box = SecretBox(config.key, origin="the key of KERNEL_KEY")
        self._replica = Replica(Hub(), keep=config.kept_messages)
        self._connection = Connection(
            config.target,
            key=config.key,
            gateway=instance,
            version=config.version,
            replica=self._replica,
            owner=self,
            metrics=GatewayMetrics(metrics),
        )
        self._access = GatewayAccess(self._replica, self._box, wall_ns=wall_ns)
        self._allowances = GatewayAllowances(self._connection)
        self.service = GatewayExchange(self._connection, self._replica, self._allowances, spawn=supervisor.supervise)
        self._heartbeat = Heartbeat(
            epoch=wall_ns() // 1_000_000, interval_s=config.limits.heartbeat_s, now_ns=clock.now_ns
        )
        self._rpc = ExchangeRpc(
            self.service,
            access=self._access,
            rates=self._allowances,
            limits=config.limits,
            heartbeat=self._heartbeat,
            metrics=stream_metrics,
            flush_interval_s=config.flush_interval_s,
            max_streams=config.max_grpc_streams,
        )
        self.endpoint: StreamEndpoint = exchange_endpoint(
            self.service,
            self._access,
            self._allowances,
            heartbeat=self._heartbeat,
            limits=config.limits,
            metrics=stream_metrics,
        )
        self._link = BackgroundComponent("kernel link", self._connection.run, supervisor)

    @property
    def rest_routes(self) -> list[ControllerRouterHandler]:
        """The routes of the production API."""
        return exchange_routes(self.service, self._access, self._allowances)

    @property
    def grpc_service(self) -> tuple[str, grpc.GenericRpcHandler]:
        """The full name of the gRPC service and its handlers."""
        return SERVICE_NAME, self._rpc.handler()

    def add_health(self, health: HealthRegistry) -> None:
        """Enter the gateway and its link into the registry."""
        health.add_service(NAME, {"kernel": self._connection.health})

    async def start(self) -> None:
        """Begin to look for the kernel process; until it is there everything is refused with 503."""
        self._heartbeat.start()
        await self._link.start()

    async def stop(self) -> None:
        """End streams and the link: the kernel process cancels what sessions leave behind."""
        self._rpc.end_streams()
        await self._link.stop()
        await self._heartbeat.stop()

    # The link's side

    def linked(self, welcome: Welcome) -> None:
        """Let administrators in, and tell the epoch of the kernel process."""
        self._access.learn_admin_key(self._box.decrypt(welcome.admin_key, ADMIN_SEAL))
        self._heartbeat.begin_epoch(welcome.epoch)

    def lost(self, failure: FauxchangeError) -> None:
        """Send readers and sessions away: what they would be told has a gap, and their orders are being canceled."""
        for connection in tuple(self.endpoint.connections):
            connection.close(CLOSE_TRY_AGAIN, failure.code)
        self._rpc.drop_readers(failure)
