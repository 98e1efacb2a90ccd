"""The registry over HTTP: which services run, for those who cannot ask the registry itself."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from litestar import get
from litestar.types import ControllerRouterHandler

from fauxchange.domain.times import NS_PER_S, format_time
from fauxchange.platform.http.problems import problem_responses
from fauxchange.platform.ports import ServiceDiscoveryRepository, ServiceInstance


class RegisteredService(msgspec.Struct, kw_only=True, frozen=True):
    """One running instance of a service. Times are wall time; the age of its heartbeat is in seconds."""

    name: str
    instance: str
    version: str
    host: str
    http_port: int
    grpc_port: int
    registered_at: str
    heartbeat_at: str
    heartbeat_age_s: float
    metadata: Mapping[str, str] = {}


class RegisteredServices(msgspec.Struct, kw_only=True, frozen=True):
    """All running instances, by name and instance."""

    services: list[RegisteredService]


def listed(entries: Sequence[ServiceInstance], now_ns: int) -> RegisteredServices:
    """Return entries of the registry as they are told at a moment of wall time."""
    return RegisteredServices(
        services=[
            RegisteredService(
                name=entry.name,
                instance=entry.instance,
                version=entry.version,
                host=entry.host,
                http_port=entry.http_port,
                grpc_port=entry.grpc_port,
                registered_at=format_time(entry.registered_ns),
                heartbeat_at=format_time(entry.heartbeat_ns),
                # Clocks of two machines differ a little; no heartbeat comes from the future.
                heartbeat_age_s=max(0, now_ns - entry.heartbeat_ns) / NS_PER_S,
                metadata=dict(entry.metadata),
            )
            for entry in entries
        ]
    )


def service_routes(registry: ServiceDiscoveryRepository, wall_ns: Callable[[], int]) -> list[ControllerRouterHandler]:
    """Return the routes of the registry."""

    @get("/services", tags=["operations"], responses=problem_responses(503))
    async def services() -> RegisteredServices:
        """List the instances of all services that the registry knows, with the age of their heartbeats."""
        return listed(await registry.all(), wall_ns())

    return [services]
