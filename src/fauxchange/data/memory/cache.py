"""The cache in memory: a bounded keyspace of values with a time to live, seen through namespaces.

When the keyspace is full, the value unused for longest makes room. A value whose time is over counts as absent at once
and is removed when it is met.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence

from fauxchange.domain.errors import InvalidRequest
from fauxchange.domain.times import NS_PER_S
from fauxchange.platform.ports import CacheStatistics

WallTime = Callable[[], int]
"""Returns wall time in nanoseconds since 1970."""


class MemoryKeyspace:
    """Values by full key, the most recently used last."""

    def __init__(self, *, wall_ns: WallTime, max_keys: int) -> None:
        self._wall_ns = wall_ns
        self._max_keys = max_keys
        self._entries: OrderedDict[str, tuple[bytes, int]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Return a live value."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, expires_ns = entry
        if self._wall_ns() >= expires_ns:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def set(self, key: str, value: bytes, *, ttl_ns: int) -> None:
        """Keep a value, at the cost of the one unused for longest if there is no room."""
        self._entries[key] = (value, self._wall_ns() + ttl_ns)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_keys:
            self._entries.popitem(last=False)

    def live(self, pattern: re.Pattern[str]) -> list[str]:
        """Return the live keys that match as a whole, sorted."""
        now_ns = self._wall_ns()
        for key in [key for key, (_, expires_ns) in self._entries.items() if now_ns >= expires_ns]:
            del self._entries[key]
        return sorted(key for key in self._entries if pattern.fullmatch(key))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove keys."""
        for key in keys:
            self._entries.pop(key, None)


class MemoryCache:
    """One namespace of a keyspace. Units: ttl_s in seconds, for values that are set without one."""

    def __init__(self, keyspace: MemoryKeyspace, *, namespace: str, ttl_s: float) -> None:
        self._keyspace = keyspace
        self._prefix = f"{namespace}:"
        self._ttl_s = ttl_s
        self._hits = 0
        self._misses = 0

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None if there is none or its time is over."""
        value = self._keyspace.get(self._prefix + key)
        if value is None:
            self._misses += 1
        else:
            self._hits += 1
        return value

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Keep `value` for `ttl_s` seconds, or for the cache's own time. Raises: InvalidRequest if not positive."""
        seconds = self._ttl_s if ttl_s is None else ttl_s
        if not seconds > 0:
            raise InvalidRequest(f"a time to live of {seconds} s is not positive", code="invalid_ttl", field="ttl_s")
        self._keyspace.set(self._prefix + key, value, ttl_ns=round(seconds * NS_PER_S))

    async def delete(self, pattern: str) -> int:
        """Delete the keys that match a glob pattern; return how many."""
        found = self._keyspace.live(self._compiled(pattern))
        self._keyspace.delete(found)
        return len(found)

    async def keys(self, pattern: str = "*") -> Sequence[str]:
        """Return the live keys that match a glob pattern, sorted."""
        return [key.removeprefix(self._prefix) for key in self._keyspace.live(self._compiled(pattern))]

    async def statistics(self) -> CacheStatistics:
        """Return hits, misses and the number of live keys."""
        return CacheStatistics(self._hits, self._misses, len(await self.keys()))

    def _compiled(self, pattern: str) -> re.Pattern[str]:
        # Only `*` and `?` mean more than themselves; brackets and backslashes are characters like others.
        wild = {"*": ".*", "?": "."}
        glob = "".join(wild.get(character) or re.escape(character) for character in pattern)
        return re.compile(re.escape(self._prefix) + glob, re.DOTALL)
