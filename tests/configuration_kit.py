"""A configuration service over stores in memory, whose clock a test moves, and whose store it can break."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from fauxchange.data.memory.configuration import MemoryConfiguration
from fauxchange.data.memory.trail import MemoryAudit
from fauxchange.data.ports import AuditQuery, ConfigurationQuery, Page
from fauxchange.domain.configuration import SYMBOL, ConfigurationChange, Declaration, ServiceSchema, ValueType
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.clock import VirtualClock
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.services.configuration.service.configuration import ConfigurationService, Place, Seed, Wish
from fauxchange.services.configuration.service.metrics import ConfigurationMetrics

START_NS = 1_767_225_600 * NS_PER_S
HERE = "development"
BOT = ServiceSchema(
    "bot",
    (
        Declaration("spread_bps", ValueType.DECIMAL, "How wide", minimum="0", maximum="100"),
        Declaration("spread_bps.*", ValueType.DECIMAL, "How wide, of a symbol", minimum="0", about=SYMBOL),
        Declaration("pause", ValueType.DURATION, "How long it rests", minimum="1ms"),
        Declaration("mode", ValueType.STR, "How it trades", choices=("calm", "wild")),
    ),
)


class BreakableConfiguration(MemoryConfiguration):
    """A store in memory that can be away, or store and then fail to say so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.loses_answers = False

    async def append(self, changes: Sequence[ConfigurationChange]) -> None:
        self._check()
        await super().append(changes)
        if self.loses_answers:
            raise Unavailable("the connection was lost while it committed")

    async def current(self) -> Sequence[ConfigurationChange]:
        self._check()
        return await super().current()

    async def history(self, query: ConfigurationQuery) -> Page[ConfigurationChange]:
        self._check()
        return await super().history(query)

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("the store is away")


class Kit:
    """The service with everything around it."""

    def __init__(
        self,
        repository: BreakableConfiguration | None = None,
        *,
        seeds: Sequence[Seed] = (),
        audit: Any = None,
        retry_s: float = 1.0,
    ) -> None:
        self.clock = VirtualClock(START_NS)
        self.repository = repository or BreakableConfiguration()
        self.audit = audit or MemoryAudit()
        self.trail = AuditTrail("configuration", self.audit, clock=self.clock)
        self.metrics = PrometheusMetrics("service", "instance", "version")
        self.service = ConfigurationService(
            self.repository,
            self.trail,
            clock=self.clock,
            metrics=ConfigurationMetrics(self.metrics),
            schemas={"bot": BOT},
            seeds=seeds,
            retry_s=retry_s,
        )

    async def set(self, key: str, value: Any, *, service: str = "bot", **wish: Any) -> ConfigurationChange:
        """Set a key here, as `test`."""
        return await self.service.set_value(place(key, service), value, Wish(**{"actor": "test", **wish}))

    def values(self, service: str = "bot") -> dict[str, Any]:
        """Return what a service's keys are set to."""
        return {key: change.value for key, change in self.service.namespace(service, HERE).values.items()}

    async def events(self) -> list[tuple[str, str | None]]:
        """Return type and subject of each event of the audit trail."""
        page = await self.audit.query(AuditQuery(source="configuration"))
        return [(event.type.removeprefix("fauxchange.configuration."), event.subject) for event in page.items]

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels of its own, or the sum over them."""
        lines = self.metrics.expose()[0].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


def place(key: str, service: str = "bot") -> Place:
    """Return the place of a key in the environment of the tests."""
    return Place.of(service, HERE, key)


async def loaded(**given: Any) -> Kit:
    """Return a service that has read its store."""
    kit = Kit(**given)
    await kit.service.load()
    return kit


async def until(condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    """Wait until something is so. Raises: TimeoutError."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("what was waited for did not come")
        await asyncio.sleep(0.001)
