"""A process's entry in the registry of services: made at start, refreshed while it runs, removed at the end."""

import asyncio
import dataclasses
from collections.abc import Callable

import structlog

from fauxchange.domain.errors import Unavailable
from fauxchange.platform.ports import ServiceDiscoveryRepository, ServiceInstance

log = structlog.get_logger(__name__)


class Registration:
    """Keep one service in the registry from `start` to `stop`; a registry that is away is tried again.

    Units: interval_s in seconds of wall time
    """

    def __init__(
        self,
        describe: Callable[[], ServiceInstance],
        registry: ServiceDiscoveryRepository,
        *,
        interval_s: float,
    ) -> None:
        self._describe = describe
        self._registry = registry
        self._interval_s = interval_s
        self._instance: ServiceInstance | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """What logs call it."""
        return "registration"

    async def start(self) -> None:
        """Register, and begin to refresh the entry. The listeners are there already: the entry says where."""
        self._instance = self._describe()
        await self._beat(self._instance, register=True)
        self._task = asyncio.create_task(self._refresh(self._instance), name="registration")

    async def stop(self) -> None:
        """Remove the entry, so that nobody calls a service that is going."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._instance is not None:
            try:
                await self._registry.deregister(self._instance.name, self._instance.instance)
            except Unavailable as exc:
                # The entry dies with its TTL.
                log.warning("not_deregistered", error=exc.message)

    async def _refresh(self, instance: ServiceInstance) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self._beat(instance, register=False)

    async def _beat(self, instance: ServiceInstance, *, register: bool) -> None:
        try:
            if register or not await self._registry.heartbeat(instance.name, instance.instance):
                fresh = self._describe()
                await self._registry.register(dataclasses.replace(fresh, registered_ns=instance.registered_ns))
            await self._registry.clean_up()
        except Unavailable as exc:
            log.warning("not_registered", error=exc.message)
