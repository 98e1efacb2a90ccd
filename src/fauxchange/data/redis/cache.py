"""The cache in Redis, in memory while Redis is away.

A value carries the moment of its end in front of it (8 bytes, nanoseconds since 1970), so that it ends when the wall
clock says so; the server's own expiry comes a little later and only frees the memory.

What was set or deleted while Redis was away is remembered, and deleted there before Redis is asked again: a value of
before must not come back.
"""

import asyncio
import re
from collections.abc import Sequence

from fauxchange.data.memory.cache import MemoryCache, WallTime
from fauxchange.data.redis.names import cache_prefix
from fauxchange.data.redis.server import Command, RedisServer
from fauxchange.domain.errors import InvalidRequest, Unavailable
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.ports import CacheStatistics

SLACK_MS = 60_000
SCAN_KEYS = 1_000
MAX_REMEMBERED = 10_000
_END_BYTES = 8


class RedisCache:
    """One namespace of the server. Units: ttl_s in seconds, for values that are set without one."""

    def __init__(
        self, server: RedisServer, memory: MemoryCache, *, namespace: str, ttl_s: float, wall_ns: WallTime
    ) -> None:
        self._server = server
        self._memory = memory
        self._prefix = cache_prefix(namespace)
        self._ttl_s = ttl_s
        self._wall_ns = wall_ns
        self._hits = 0
        self._misses = 0
        self._stale_keys: set[str] = set()
        self._stale_patterns: set[str] = set()
        self._reconciling = asyncio.Lock()
        self.problem: str | None = None
        """Why values are kept in memory, or None if they are not."""

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None if there is none or its time is over."""
        try:
            await self.reconcile()
            entry: bytes | None = await self._server.call("GET", self._key(key))
        except Unavailable as exc:
            self.problem = exc.message
            return await self._memory.get(key)
        self.problem = None
        if entry is None or not self._is_live(entry):
            self._misses += 1
            return None
        self._hits += 1
        return entry[_END_BYTES:]

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Keep `value` for `ttl_s` seconds, or for the cache's own time. Raises: InvalidRequest if not positive."""
        seconds = self._ttl_s if ttl_s is None else ttl_s
        if not seconds > 0:
            raise InvalidRequest(f"a time to live of {seconds} s is not positive", code="invalid_ttl", field="ttl_s")
        ttl_ns = round(seconds * NS_PER_S)
        entry = (self._wall_ns() + ttl_ns).to_bytes(_END_BYTES, "big") + value
        try:
            await self.reconcile()
            await self._server.call("SET", self._key(key), entry, "PX", ttl_ns // NS_PER_MS + SLACK_MS)
        except Unavailable as exc:
            self._remember(exc, key=key)
            await self._memory.set(key, value, ttl_s=seconds)
        else:
            self.problem = None

    async def delete(self, pattern: str) -> int:
        """Delete the keys that match a glob pattern; return how many."""
        try:
            await self.reconcile()
            found = await self._matching(pattern)
            await self._unlink(found)
        except Unavailable as exc:
            self._remember(exc, pattern=pattern)
            return await self._memory.delete(pattern)
        self.problem = None
        return len(found)

    async def keys(self, pattern: str = "*") -> Sequence[str]:
        """Return the live keys that match a glob pattern, sorted."""
        try:
            await self.reconcile()
            found = await self._matching(pattern)
        except Unavailable as exc:
            self.problem = exc.message
            return await self._memory.keys(pattern)
        self.problem = None
        return sorted(found)

    async def statistics(self) -> CacheStatistics:
        """Return hits and misses of this process, in memory ones included, and the number of live keys."""
        memory = await self._memory.statistics()
        return CacheStatistics(self._hits + memory.hits, self._misses + memory.misses, len(await self.keys()))

    async def reconcile(self) -> None:
        """Delete in Redis what was set or deleted without it. Raises: Unavailable."""
        if not self._stale_keys and not self._stale_patterns:
            return
        async with self._reconciling:
            while self._stale_keys or self._stale_patterns:
                keys, patterns = list(self._stale_keys), list(self._stale_patterns)
                matching = await self._scan("", patterns) if patterns else []
                await self._unlink([*keys, *matching])
                self._stale_keys.difference_update(keys)
                self._stale_patterns.difference_update(patterns)
            await self._memory.delete("*")

    def _remember(self, exc: Unavailable, *, key: str | None = None, pattern: str | None = None) -> None:
        self.problem = exc.message
        if len(self._stale_keys) + len(self._stale_patterns) >= MAX_REMEMBERED:
            self._stale_keys.clear()
            self._stale_patterns = {_glob("*")}
        elif key is not None:
            self._stale_keys.add(key)
        elif pattern is not None:
            self._stale_patterns.add(_glob(pattern))

    def _key(self, key: str) -> bytes:
        return _encoded(self._prefix + key)

    def _is_live(self, entry: bytes) -> bool:
        return len(entry) >= _END_BYTES and self._wall_ns() < int.from_bytes(entry[:_END_BYTES], "big")

    async def _matching(self, pattern: str) -> list[str]:
        """Return the live keys that match."""
        keys = await self._scan(re.split(r"[*?]", pattern, maxsplit=1)[0], [_glob(pattern)])
        live: list[str] = []
        for chunk in _chunks(keys):
            ends = await self._server.batch([("GETRANGE", self._key(key), 0, _END_BYTES - 1) for key in chunk])
            live.extend(key for key, end in zip(chunk, ends, strict=True) if self._is_live(end))
        return live

    async def _scan(self, beginning: str, patterns: Sequence[str]) -> list[str]:
        """Return the keys, live or not, that begin so and match one of these regular expressions."""
        wanted = [re.compile(pattern, re.DOTALL) for pattern in patterns]
        # The server's patterns count bytes, ours characters: it looks at the beginning only.
        beginnings = _server_literal(self._prefix + beginning) + "*"
        keys: set[str] = set()
        cursor = 0
        while True:
            cursor, found = await self._server.call("SCAN", cursor, "MATCH", _encoded(beginnings), "COUNT", SCAN_KEYS)
            names = (name.decode(errors="surrogatepass").removeprefix(self._prefix) for name in found)
            keys.update(name for name in names if any(pattern.fullmatch(name) for pattern in wanted))
            if cursor == 0:
                return list(keys)

    async def _unlink(self, keys: Sequence[str]) -> None:
        for chunk in _chunks(keys):
            command: Command = ("UNLINK", *map(self._key, chunk))
            await self._server.call(*command)


def _glob(pattern: str) -> str:
    # Only `*` and `?` mean more than themselves; brackets and backslashes are characters like others.
    wild = {"*": ".*", "?": "."}
    return "".join(wild.get(character) or re.escape(character) for character in pattern)


def _server_literal(text: str) -> str:
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)


def _encoded(text: str) -> bytes:
    # Half of a surrogate pair is a key like any other, as it is in memory.
    return text.encode(errors="surrogatepass")


def _chunks(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + SCAN_KEYS] for start in range(0, len(keys), SCAN_KEYS)]
