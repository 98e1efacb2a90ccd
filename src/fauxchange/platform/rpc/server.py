"""The gRPC server as a component: services, standard health, reflection, and a stop that callers can follow."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from fauxchange.domain.errors import ConfigurationError, check
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.listening import Listener, bind, bound_address, url_host
from fauxchange.platform.ports import MetricsPort
from fauxchange.platform.rpc.health import SERVICE_NAME, HealthServicer
from fauxchange.platform.rpc.interceptors import Draining, server_interceptor

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcLimits:
    """What one call may cost.

    Units: bytes, seconds
    """

    max_request_bytes: int = 1024 * 1024
    max_response_bytes: int = 16 * 1024 * 1024
    max_metadata_bytes: int = 32 * 1024
    max_streams_per_connection: int = 1_000
    min_ping_interval_s: float = 5.0
    """A client that sends keep-alive pings more often than that is disconnected."""


@dataclass(frozen=True, slots=True)
class _Service:
    full_name: str
    handler: grpc.GenericRpcHandler
    health_name: str | None


class GrpcServer:
    """Serve the services added before `start`, until `stop`.

    Units: stop_timeout_s bounds how long calls in flight may take to end; health_interval_s is how often the state
           of dependencies is looked at for those who watch it
    """

    def __init__(
        self,
        name: str,
        listener: Listener,
        *,
        metrics: MetricsPort,
        health: HealthRegistry,
        limits: GrpcLimits | None = None,
        stop_timeout_s: float = 5.0,
        health_interval_s: float = 1.0,
    ) -> None:
        self.name = name
        self._listener = listener
        self._metrics = metrics
        self._health = health
        self._limits = limits or GrpcLimits()
        self._stop_timeout_s = stop_timeout_s
        self._health_interval_s = health_interval_s
        self._services: list[_Service] = []
        self._address: tuple[str, int] | None = None
        self._running: _Running | None = None

    def add(self, full_name: str, handler: grpc.GenericRpcHandler, *, health_name: str | None = None) -> None:
        """Add a service before the start; its generated module has put its descriptor where reflection finds it.

        `health_name` is the registry's name of the service whose health it shares; without one, the process's.
        """
        check(self._running is None, "services are added before the server starts")
        check(all(service.full_name != full_name for service in self._services), f"{full_name} is added twice")
        self._services.append(_Service(full_name, handler, health_name))

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that are listened on, once started."""
        check(self._address is not None, f"{self.name} has not started")
        return cast("tuple[str, int]", self._address)

    @property
    def target(self) -> str:
        """The address as gRPC clients write it."""
        host, port = self.address
        return f"{url_host(host)}:{port}"

    async def start(self) -> None:
        """Bind and serve.

        Raises: ConfigurationError if the address cannot be had
        """
        # Our own attempt comes first: its errors say what to change, and gRPC writes to the terminal when it fails.
        with bind(self._listener) as probe:
            host, _ = bound_address(probe)
        draining = Draining(but=(SERVICE_NAME,))
        server = grpc.aio.server(interceptors=(server_interceptor(self._metrics, draining),), options=self._options())
        servicer = HealthServicer(self._health, self._health_names)
        for service in self._services:
            server.add_generic_rpc_handlers((service.handler,))
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        names = [service.full_name for service in self._services]
        reflection.enable_server_reflection((*names, SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            port = server.add_insecure_port(f"{url_host(host)}:{self._listener.port}")
        except RuntimeError as exc:
            servicer.stop()
            raise ConfigurationError(
                f"port {self._listener.port} on {self._listener.host} cannot be had; {self._listener.remedy} to another"
                " port",
                field=self._listener.setting,
            ) from exc
        await server.start()
        self._address = (host, port)
        watching = asyncio.create_task(self._look_after_health(), name=f"{self.name} health")
        self._running = _Running(server, servicer, draining, watching)
        _log.info("listening", server=self.name, target=self.target)

    async def stop(self) -> None:
        """Say NOT_SERVING, refuse new calls, end the streams, let calls in flight end within the bound."""
        if self._running is None:
            return
        running, self._running = self._running, None
        running.watching.cancel()
        running.servicer.stop()
        running.draining.drain()
        await running.server.stop(self._stop_timeout_s)

    def _health_names(self) -> dict[str, str]:
        return {service.full_name: service.health_name or "" for service in self._services}

    def _options(self) -> Sequence[tuple[str, Any]]:
        limits = self._limits
        return (
            # With it, a second server would share the port and take half of the calls.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", limits.max_request_bytes),
            ("grpc.max_send_message_length", limits.max_response_bytes),
            ("grpc.max_metadata_size", limits.max_metadata_bytes),
            ("grpc.max_concurrent_streams", limits.max_streams_per_connection),
            ("grpc.http2.min_ping_interval_without_data_ms", int(limits.min_ping_interval_s * 1_000)),
            ("grpc.keepalive_permit_without_calls", 1),
        )

    async def _look_after_health(self) -> None:
        while True:
            await asyncio.sleep(self._health_interval_s)
            self._health.refresh()


@dataclass(frozen=True, slots=True)
class _Running:
    server: grpc.aio.Server
    servicer: HealthServicer
    draining: Draining
    watching: "asyncio.Task[None]"
