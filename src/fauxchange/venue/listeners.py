"""Where the public reaches a process of the venue, and what the registry and `ready.json` are told of that."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from litestar.types import ControllerRouterHandler

from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.discovery import Registration, advertised_host
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import HttpAppConfig, create_http_app
from fauxchange.platform.http.server import HttpServer
from fauxchange.platform.http.service_routes import service_routes
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import Clock, ServiceDiscoveryRepository, ServiceInstance
from fauxchange.platform.ready import Ready, write_ready
from fauxchange.platform.rpc.server import GrpcServer
from fauxchange.platform.settings import Settings
from fauxchange.platform.streams.websocket import StreamEndpoint, websocket_factory

LISTENER_SHARE = 0.4
"""Share of the time for a graceful stop that requests in flight may take on each listener."""

log = structlog.get_logger(__name__)


def listener_stop_s(settings: Settings) -> float:
    """Return how long requests in flight may take on each listener once the process stops. Units: seconds."""
    return settings.shutdown_timeout_ns / NS_PER_S * LISTENER_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicListeners:
    """The public HTTP and gRPC listeners of a process."""

    settings: Settings
    http: HttpServer
    grpc: GrpcServer
    registry: ServiceDiscoveryRepository

    def registration(self, registered_name: str, instance: str) -> Registration:
        """Return the component that keeps a service of this process in the registry."""
        return Registration(
            partial(self._instance, registered_name, instance),
            self.registry,
            interval_s=self.settings.heartbeat_interval_ns / NS_PER_S,
        )

    def announce(self, *, audit: str | None = None, secrets: Mapping[str, Any], **facts: str) -> Path:
        """Write `ready.json`, log where the process is reached, and return the file's path."""
        ready = Ready(http=self.http.url, grpc=self.grpc.target, audit=audit, secrets=secrets)
        path = write_ready(self.settings.data_dir, ready)
        log.info("ready", http=ready.http, grpc=ready.grpc, audit=audit, ready_file=str(path), **facts)
        return path

    def _instance(self, registered_name: str, instance: str) -> ServiceInstance:
        now_ns = time.time_ns()
        return ServiceInstance(
            name=registered_name,
            instance=instance,
            version=self.settings.service_version,
            host=advertised_host(self.settings.advertised_host, self.grpc.address[0]),
            http_port=self.http.address[1],
            grpc_port=self.grpc.address[1],
            registered_ns=now_ns,
            heartbeat_ns=now_ns,
            metadata={"namespace": self.settings.service_discovery_namespace},
        )


def public_listeners(
    settings: Settings,
    *,
    handlers: Sequence[ControllerRouterHandler],
    endpoints: Sequence[StreamEndpoint],
    clock: Clock,
    health: HealthRegistry,
    metrics: PrometheusMetrics,
    registry: ServiceDiscoveryRepository,
) -> PublicListeners:
    """Return the listeners that serve these routes and streams; gRPC services are added to `grpc`."""
    stop_s = listener_stop_s(settings)
    app = create_http_app(
        HttpAppConfig(
            title="Fauxchange",
            version=settings.service_version,
            health=health,
            metrics=metrics,
            clock=clock,
            handlers=[*handlers, *service_routes(registry, time.time_ns)],
        )
    )
    http = HttpServer(
        "http",
        app,
        Listener(host=settings.http_host, port=settings.http_port, setting="HTTP_PORT", option="--http-port"),
        metrics=metrics,
        ws=websocket_factory({endpoint.path: endpoint for endpoint in endpoints}),
        stop_timeout_s=stop_s,
    )
    grpc_server = GrpcServer(
        "grpc",
        Listener(host=settings.grpc_host, port=settings.grpc_port, setting="GRPC_PORT", option="--grpc-port"),
        metrics=metrics,
        health=health,
        stop_timeout_s=stop_s,
    )
    return PublicListeners(settings=settings, http=http, grpc=grpc_server, registry=registry)
