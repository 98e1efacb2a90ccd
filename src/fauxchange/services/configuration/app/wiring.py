"""Put the configuration service together, and take it through its life."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
from litestar.types import ControllerRouterHandler

from fauxchange.data.ports import DataAdapter
from fauxchange.domain.configuration import ServiceSchema
from fauxchange.domain.errors import Unavailable
from fauxchange.platform.administration import AdminKey
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.lifecycle import Supervisor
from fauxchange.platform.ports import Clock, DependencyHealth, MetricsPort
from fauxchange.services.configuration.rest import configuration_audit_routes, configuration_routes
from fauxchange.services.configuration.rpc import SERVICE_NAME, ConfigurationRpc
from fauxchange.services.configuration.service.configuration import ConfigurationService, Seed
from fauxchange.services.configuration.service.metrics import ConfigurationMetrics

NAME = "configuration"
_OF_OTHERS = {"journal", "cache", "hot-history", "price-streams"}
"""Stores of the data adapter that configuration does not lean on."""


class Configuration:
    """The service with its edges; a lifecycle component.

    Units: heartbeat_s and max_age_s in seconds of wall time
    """

    name = NAME

    def __init__(
        self,
        *,
        data: DataAdapter,
        clock: Clock,
        metrics: MetricsPort,
        supervisor: Supervisor,
        admin_key: str,
        environment: str,
        schemas: Mapping[str, ServiceSchema],
        seeds: Sequence[Seed] = (),
        max_age_s: int,
        heartbeat_s: float,
    ) -> None:
        self._data = data
        self._supervisor = supervisor
        self._environment = environment
        self._max_age_s = max_age_s
        self._admin = AdminKey(admin_key)
        self._trail = AuditTrail(NAME, data.audit, clock=clock)
        self._task: asyncio.Task[Any] | None = None
        self.service = ConfigurationService(
            data.configuration,
            self._trail,
            clock=clock,
            metrics=ConfigurationMetrics(metrics),
            schemas=schemas,
            seeds=seeds,
        )
        self.rpc = ConfigurationRpc(self.service, self._admin, environment=environment, heartbeat_s=heartbeat_s)

    @property
    def rest_routes(self) -> list[ControllerRouterHandler]:
        """The routes of the production API."""
        return configuration_routes(self.service, self._admin, environment=self._environment, max_age_s=self._max_age_s)

    @property
    def audit_routes(self) -> list[ControllerRouterHandler]:
        """The routes of the audit API."""
        return configuration_audit_routes(self.service, self._trail, self._data.audit)

    @property
    def grpc_service(self) -> tuple[str, grpc.GenericRpcHandler]:
        """The full name of the gRPC service and its handlers."""
        return SERVICE_NAME, self.rpc.handler()

    def add_health(self, health: HealthRegistry) -> None:
        """Enter the service and what it leans on into the registry."""
        health.add_service(NAME, {"values": self.service.health, "audit-trail": self._trail.health})
        for name in sorted(self._data.health().keys() - _OF_OTHERS):
            health.add_dependency(NAME, name, partial(self._store_health, name))
        was_ready = False

        def follow() -> None:
            # Whoever waits for a change would hold up the stop of the servers.
            nonlocal was_ready
            if was_ready and not health.ready:
                self.service.waiting.end()
            was_ready = health.ready

        health.listen(follow)

    async def start(self) -> None:
        """Read the store; where it is away, go on trying, and refuse questions until it is read."""
        with suppress(Unavailable):
            await self.service.load()
        self._task = self._supervisor.supervise(self.service.run(), "configuration")

    async def stop(self) -> None:
        """Let nobody wait any more, and store what the trail holds."""
        self.service.waiting.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._trail.flush_quietly()

    def _store_health(self, name: str) -> DependencyHealth:
        return self._data.health()[name]
