"""What every service stands on, as protocols: the clock, metrics, health, cache and registry.

Composition roots choose the implementations; `fauxchange.data` implements the cache and the registry.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio


class Clock(Protocol):
    """Venue time: orders, candles, scenarios and everything else that a replay must repeat runs on it."""

    def now_ns(self) -> int:
        """Return venue time in nanoseconds since 1970."""
        ...

    async def sleep_until(self, ts_ns: int, *, priority: int = 0) -> None:
        """Wait until venue time is at least `ts_ns`.

        Sleepers of one moment wake in order of `priority`, then in the order in which they went to sleep.
        """
        ...

    def rouse(self, task: "asyncio.Task[Any]") -> None:
        """Wake a task that sleeps until some moment, before that has come; nothing happens if it does not sleep."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """Hold virtual time still while the block runs (no effect on the wall clock)."""
        ...

    def hold(self) -> None:
        """Hold virtual time still until as many `release` calls: for work that no task carries (callbacks)."""
        ...

    def release(self) -> None:
        """End one `hold`."""
        ...

    def idle(self) -> AbstractContextManager[None]:
        """Let virtual time go on while a task that the clock has woken waits for something else than the clock."""
        ...


class Counter(Protocol):
    """A number that only grows, by label values."""

    def inc(self, amount: float = 1.0, /, *labels: str) -> None:
        """Add `amount` to the series with these label values."""
        ...


class Gauge(Protocol):
    """A number that goes up and down, by label values."""

    def set(self, value: float, /, *labels: str) -> None:
        """Set the series with these label values."""
        ...

    def remove(self, *labels: str) -> None:
        """Forget the series with these label values, where what it told of is gone; no error if there is none."""
        ...


class Histogram(Protocol):
    """Observations counted in buckets, by label values."""

    def observe(self, value: float, /, *labels: str) -> None:
        """Count one observation in the series with these label values."""
        ...


class MetricsPort(Protocol):
    """Where measurements go. The port knows no Prometheus; the adapter adds service, instance and version.

    Asking twice for the same name gives the same metric; asking with other labels is a bug.
    """

    def counter(self, name: str, description: str, labels: Sequence[str] = ()) -> Counter:
        """Return the counter `name` (which ends in `_total`)."""
        ...

    def gauge(self, name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
        """Return the gauge `name`."""
        ...

    def gauge_function(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Register a gauge without labels that is read when metrics are exposed."""
        ...

    def histogram(
        self, name: str, description: str, labels: Sequence[str] = (), *, buckets: Sequence[float] | None = None
    ) -> Histogram:
        """Return the histogram `name`, with the RED buckets unless others are given."""
        ...

    def expose(self) -> tuple[bytes, str]:
        """Return all metrics as text, and their content type."""
        ...


class DependencyStatus(StrEnum):
    """The state of something a service leans on."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class DependencyHealth:
    """One dependency's state and, where it is not well, why; `required` says that the service cannot do without."""

    status: DependencyStatus
    detail: str = ""
    required: bool = False


HealthCheck = Callable[[], DependencyHealth]
"""Look at one dependency: cheap and without waiting, because probes call it often."""


class CacheRepository(Protocol):
    """Values that may be forgotten, by key, each with a time to live on the wall clock."""

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None if there is none or its time is over."""
        ...

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Keep `value` for `ttl_s` seconds, or with the default of the cache (`CACHE_TTL`) if None."""
        ...

    async def delete(self, pattern: str) -> int:
        """Delete the keys that match a glob pattern (`*`, `?`); return how many."""
        ...

    async def keys(self, pattern: str = "*") -> Sequence[str]:
        """Return the live keys that match a glob pattern, sorted."""
        ...

    async def statistics(self) -> "CacheStatistics":
        """Return hits, misses and the number of live keys."""
        ...


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """How often the cache could answer."""

    hits: int
    misses: int
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInstance:
    """One running instance of a service, as the registry knows it.

    Units: times in nanoseconds of wall time
    """

    name: str
    instance: str
    version: str
    host: str
    http_port: int
    grpc_port: int
    registered_ns: int
    heartbeat_ns: int
    metadata: Mapping[str, str] = field(default_factory=dict)


class ServiceDiscoveryRepository(Protocol):
    """The registry of running services. Entries that are not refreshed within the TTL count as gone."""

    async def register(self, instance: ServiceInstance) -> None:
        """Add the instance, or replace the entry with its name and instance."""
        ...

    async def heartbeat(self, name: str, instance: str) -> bool:
        """Refresh the entry's heartbeat; return False if it is unknown (register again)."""
        ...

    async def deregister(self, name: str, instance: str) -> None:
        """Remove the entry; no error if it is gone."""
        ...

    async def find(self, name: str) -> Sequence[ServiceInstance]:
        """Return the live instances of a service, sorted by instance."""
        ...

    async def all(self) -> Sequence[ServiceInstance]:
        """Return every live instance, sorted by name and instance."""
        ...

    async def clean_up(self) -> int:
        """Remove the entries whose heartbeat is older than the TTL; return how many."""
        ...
