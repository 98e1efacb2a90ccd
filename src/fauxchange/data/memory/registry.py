"""The registry of running services in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fauxchange.data.memory.cache import WallTime
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import ServiceInstance


class MemoryRegistry:
    """Entries by name and instance, gone when their heartbeat is as old as the TTL.

    Registering is the first heartbeat. Units: ttl_s in seconds
    """

    def __init__(self, *, wall_ns: WallTime, ttl_s: float) -> None:
        self._wall_ns = wall_ns
        self._ttl_ns = round(ttl_s * NS_PER_S)
        self._entries: dict[tuple[str, str], ServiceInstance] = {}

    async def register(self, instance: ServiceInstance) -> None:
        """Add the instance, or replace the entry with its name and instance."""
        self._entries[instance.name, instance.instance] = replace(
            instance, heartbeat_ns=self._wall_ns(), metadata=dict(instance.metadata)
        )

    def remember(self, instances: Iterable[ServiceInstance]) -> None:
        """Hold these entries, with the heartbeats that they have, and no others."""
        self._entries = {(entry.name, entry.instance): entry for entry in instances}

    async def heartbeat(self, name: str, instance: str) -> bool:
        """Refresh the entry's heartbeat; return False if it is unknown or gone."""
        entry = self._entries.get((name, instance))
        if entry is None or not self._is_live(entry):
            return False
        self._entries[name, instance] = replace(entry, heartbeat_ns=self._wall_ns())
        return True

    async def deregister(self, name: str, instance: str) -> None:
        """Remove the entry; no error if it is gone."""
        self._entries.pop((name, instance), None)

    async def find(self, name: str) -> Sequence[ServiceInstance]:
        """Return the live instances of a service, sorted by instance."""
        return self._live(entry for entry in self._entries.values() if entry.name == name)

    async def all(self) -> Sequence[ServiceInstance]:
        """Return every live instance, sorted by name and instance."""
        return self._live(self._entries.values())

    async def clean_up(self) -> int:
        """Remove the entries that are gone; return how many."""
        gone = [key for key, entry in self._entries.items() if not self._is_live(entry)]
        for key in gone:
            del self._entries[key]
        return len(gone)

    def _live(self, entries: Iterable[ServiceInstance]) -> list[ServiceInstance]:
        return sorted(filter(self._is_live, entries), key=lambda entry: (entry.name, entry.instance))

    def _is_live(self, entry: ServiceInstance) -> bool:
        return self._wall_ns() - entry.heartbeat_ns < self._ttl_ns
