"""Where market data's parameters come from: the configuration service in the same process, or one that is asked."""

import asyncio
from collections.abc import AsyncGenerator

from fauxchange.domain.errors import RateLimited, Unavailable
from fauxchange.platform.configuration import ConfigurationClient
from fauxchange.platform.ports import ServiceDiscoveryRepository
from fauxchange.services.configuration.core.state import Namespace
from fauxchange.services.configuration.service.configuration import ConfigurationService
from fauxchange.services.market_data.ports import RuntimeValues
from fauxchange.venue.services import SERVICES

RETRY_S = 1.0


class EmbeddedParameters:
    """The values of a configuration service in the same process."""

    def __init__(self, configuration: ConfigurationService, *, service: str, environment: str) -> None:
        self._configuration = configuration
        self._service = service
        self._environment = environment

    async def current(self) -> RuntimeValues | None:
        """Return the values, or None while the store has not been read."""
        try:
            return _told(self._configuration.namespace(self._service, self._environment))
        except Unavailable:
            return None

    async def changes(self) -> AsyncGenerator[RuntimeValues, None]:
        """Yield the values, and again after each change, until the process stops."""
        version: int | None = None
        while not self._configuration.waiting.is_over:
            try:
                if version is None:
                    namespace = self._configuration.namespace(self._service, self._environment)
                else:
                    namespace = await self._configuration.next_change(self._service, self._environment, version)
            except (Unavailable, RateLimited):
                await asyncio.sleep(RETRY_S)
                continue
            version = namespace.version
            yield _told(namespace)


class RemoteParameters:
    """The values of a configuration service elsewhere."""

    def __init__(self, client: ConfigurationClient) -> None:
        self._client = client

    async def current(self) -> RuntimeValues | None:
        """Return the values, fresh or as they were last known, or None if nothing is known of them."""
        try:
            values = await self._client.values()
        except Unavailable:
            return None
        return RuntimeValues(values.version, values.values)

    async def changes(self) -> AsyncGenerator[RuntimeValues, None]:
        """Yield the values, and again after each change, for ever."""
        async for values in self._client.watch():
            yield RuntimeValues(values.version, values.values)


class RegisteredService:
    """Find the HTTP address of a service in the registry: that of its youngest instance."""

    def __init__(self, registry: ServiceDiscoveryRepository, name: str) -> None:
        self._registry = registry
        self._name = SERVICES[name].registered_name

    async def __call__(self) -> str | None:
        """Return the address, None if no instance is registered. Raises: Unavailable."""
        instances = await self._registry.find(self._name)
        if not instances:
            return None
        youngest = max(instances, key=lambda instance: instance.heartbeat_ns)
        host = f"[{youngest.host}]" if ":" in youngest.host else youngest.host
        return f"http://{host}:{youngest.http_port}"


def _told(namespace: Namespace) -> RuntimeValues:
    return RuntimeValues(namespace.version, {key: change.value for key, change in namespace.values.items()})
