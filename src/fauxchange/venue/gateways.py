"""A gateway's process: the public API in front of a service that runs in another process."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
import uvloop

from fauxchange.data.adapter import open_data_adapter
from fauxchange.data.ports import DataAdapter
from fauxchange.domain.errors import ConfigurationError
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.chance import jitter
from fauxchange.platform.clock import WallClock
from fauxchange.platform.discovery import instance_name
from fauxchange.platform.garbage import settle_garbage_collector
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.lifecycle import Component, Supervisor
from fauxchange.platform.logging import register_secret
from fauxchange.platform.metrics import EventLoopLag, PrometheusMetrics
from fauxchange.platform.ports import DependencyHealth
from fauxchange.platform.ready import remove_ready
from fauxchange.platform.rpc.client_metrics import ClientMetrics
from fauxchange.platform.rpc.clients import ClientManager
from fauxchange.platform.rpc.instances import at_addresses, in_registry
from fauxchange.platform.rpc.peers import MARKET_DATA
from fauxchange.platform.rpc.pool import Surroundings
from fauxchange.platform.settings import Settings
from fauxchange.platform.streams.endpoint import StreamMetrics
from fauxchange.services.exchange.app.gateway import ExchangeGateway, read_gateway_config
from fauxchange.services.market_data.app import read_config
from fauxchange.services.market_data.app.gateway import MarketDataGateway
from fauxchange.venue.listeners import PublicListeners, public_listeners
from fauxchange.venue.plan import Addresses
from fauxchange.venue.process import SWITCH_INTERVAL_S, data_folder
from fauxchange.venue.services import GATEWAYS, ServiceEntry
from fauxchange.venue.stores import redis_config

Announce = Callable[[Addresses], None]

REGISTRY_STORES = ("redis", "registry")
"""What a gateway uses of the stores, as their health calls it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPlan:
    """A gateway that can start: its settings are checked."""

    settings: Settings
    entry: ServiceEntry
    key: str = ""
    """What the exchange lets its gateways in with."""
    announce: Announce | None = None


def prepare_gateway(settings: Settings, name: str, *, announce: Announce | None = None) -> GatewayPlan:
    """Check everything that a gateway is started from. Raises: ConfigurationError."""
    entry = GATEWAYS[name]
    if "exchange" not in entry.needs:
        return GatewayPlan(settings=settings, entry=entry, announce=announce)
    if settings.kernel_key is None:
        raise ConfigurationError(
            "a gateway needs the key that the exchange lets it in with: set KERNEL_KEY on both, "
            "or to what is in kernel.key in the data folder of the exchange",
            field="KERNEL_KEY",
        )
    key = settings.kernel_key.get_secret_value()
    register_secret(key)
    return GatewayPlan(settings=settings, entry=entry, key=key, announce=announce)


class GatewayProcess:
    """A gateway's process, run once."""

    def __init__(self, plan: GatewayPlan) -> None:
        self.plan = plan
        self.settings = plan.settings
        self.supervisor = Supervisor(stop_timeout_ns=plan.settings.shutdown_timeout_ns)
        self.health = HealthRegistry()

    async def run(self, *, handle_signals: bool = True) -> int:
        """Run until told to stop; return the exit code. Raises: ConfigurationError, Unavailable."""
        settings = self.settings
        with data_folder(settings.data_dir):
            instance = instance_name()
            metrics = PrometheusMetrics(settings.service_name, instance, settings.service_version)
            # Of the stores a gateway uses the registry alone.
            data = await open_data_adapter(
                None,
                redis=redis_config(settings),
                metrics=metrics,
                service_ttl_s=settings.service_ttl_ns / NS_PER_S,
                discovery_namespace=settings.service_discovery_namespace,
            )
            try:
                for component in self._components(data, metrics, instance):
                    self.supervisor.add(component)
                return await self.supervisor.run(handle_signals=handle_signals)
            finally:
                await data.disconnect()

    def _components(self, data: DataAdapter, metrics: PrometheusMetrics, instance: str) -> list[Component]:
        settings, clock = self.settings, WallClock()
        ways, gateway = self._gateway(data, metrics, clock, instance)
        gateway.add_health(self.health)
        for store in REGISTRY_STORES:
            if store in data.health():
                self.health.add_dependency(gateway.name, store, partial(_store_health, data, store))
        listeners = public_listeners(
            settings,
            handlers=gateway.rest_routes,
            endpoints=[gateway.endpoint],
            clock=clock,
            health=self.health,
            metrics=metrics,
            registry=data.discovery,
        )
        listeners.grpc.add(*gateway.grpc_service, health_name=gateway.name)
        return [
            EventLoopLag(metrics),
            *ways,
            gateway,
            listeners.http,
            listeners.grpc,
            listeners.registration(self.plan.entry.registered_name, instance),
            _Announcement(self, listeners),
        ]

    def _gateway(
        self, data: DataAdapter, metrics: PrometheusMetrics, clock: WallClock, instance: str
    ) -> tuple[Sequence[Component], ExchangeGateway | MarketDataGateway]:
        """Return the gateway, and the ways to others that start before it."""
        settings, stream_metrics = self.settings, StreamMetrics(metrics)
        if "exchange" in self.plan.entry.needs:
            return (), ExchangeGateway(
                read_gateway_config(settings, self.plan.key),
                instance=instance,
                clock=clock,
                wall_ns=time.time_ns,
                metrics=metrics,
                supervisor=self.supervisor,
                stream_metrics=stream_metrics,
            )
        clients = ClientManager(
            Surroundings(metrics=ClientMetrics(metrics), chance=jitter, spawn=self.supervisor.supervise)
        )
        addresses = settings.market_data_grpc
        client = clients.add(
            MARKET_DATA,
            at_addresses(addresses) if addresses else in_registry(data.discovery, MARKET_DATA.registered_name),
        )
        gateway = MarketDataGateway(
            read_config(settings),
            client,
            clock=clock,
            wall_ns=time.time_ns,
            supervisor=self.supervisor,
            chance=jitter,
            stream_metrics=stream_metrics,
        )
        return (clients,), gateway


def _store_health(data: DataAdapter, store: str) -> DependencyHealth:
    return data.health()[store]


@dataclass(slots=True)
class _Announcement:
    """The last to start and the first to stop: the gateway listens, and says where."""

    process: GatewayProcess
    listeners: PublicListeners
    name: str = field(default="announcement", init=False)

    async def start(self) -> None:
        settle_garbage_collector()
        path = self.listeners.announce(secrets={})
        self.process.health.set_ready(True)
        if self.process.plan.announce is not None:
            http, grpc = self.listeners.http.url, self.listeners.grpc.target
            self.process.plan.announce(Addresses(http=http, grpc=grpc, audit=None, ready_file=path))

    async def stop(self) -> None:
        self.process.health.set_ready(False)
        remove_ready(self.process.settings.data_dir)


def run_gateway(plan: GatewayPlan) -> int:
    """Run a gateway on an event loop of its own; return the exit code."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return uvloop.run(GatewayProcess(plan).run())
