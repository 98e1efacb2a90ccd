"""The standard gRPC health service over the health registry: `Check`, `List` and `Watch`.

There is one entry per service of the registry, by its gRPC name and by its plain name, and "" for the process.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from fauxchange.domain.errors import NotFound
from fauxchange.platform.health import HealthRegistry

SERVICE_NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated without types
    """Answer from the registry; watchers hear of each change, and of the end when the server stops.

    `aliases` gives the registry's name of a service by its gRPC name.
    """

    def __init__(self, registry: HealthRegistry, aliases: Callable[[], Mapping[str, str]]) -> None:
        self._registry = registry
        self._aliases = aliases
        self._stopping = False
        self._changed = asyncio.Event()
        self._unlisten = registry.listen(self._wake)

    async def Check(self, request: Any, _context: Any) -> Any:  # noqa: N802 - named by the protocol
        """Return the present status. Raises: NotFound if the service is unknown."""
        status = self._status(request.service)
        if status == _SERVICE_UNKNOWN:
            raise NotFound(f"there is no service {request.service!r} here", code="unknown_service", field="service")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - named by the protocol
        """Return the present status of every entry."""
        statuses = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self._statuses().items()}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802 - named by the protocol
        """Yield the present status, then each other one; end when the server stops."""
        sent = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != sent:
                sent = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self._stopping:
                return
            await changed.wait()

    def stop(self) -> None:
        """Tell everyone that nothing is served any more, and end the watches."""
        self._stopping = True
        self._unlisten()
        self._wake()

    def _status(self, service: str) -> int:
        status: int = self._statuses().get(service, _SERVICE_UNKNOWN)
        return status

    def _statuses(self) -> dict[str, int]:
        serving = self._registry.serving()
        entries = {"": self._registry.ready and all(serving.values()), **serving}
        entries |= {alias: serving.get(name, entries[""]) for alias, name in self._aliases().items()}
        return {name: _SERVING if up and not self._stopping else _NOT_SERVING for name, up in entries.items()}

    def _wake(self) -> None:
        # A new event for those who wait from now on: whoever waits on the old one has something to look at.
        self._changed, changed = asyncio.Event(), self._changed
        changed.set()
