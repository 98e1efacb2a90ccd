"""The registry of running services in Redis, in memory while Redis is away.

An entry is one key under `registry:`, named in an index that all services share; what an instance tells of itself
(its metadata) is a key under its own namespace. Both die by themselves when nobody refreshes them; that an entry is
gone is judged by the age of its heartbeat, before that.

What was found last is kept in memory, with the entries of this process: it is the answer while Redis is away, until its
heartbeats are too old. Entries of this process that Redis has lost (it was away, or came back empty) are put back by
`refresh`, which the stores call once a second: nobody waits for the next heartbeat.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from fauxchange.data.memory.cache import WallTime
from fauxchange.data.memory.registry import MemoryRegistry
from fauxchange.data.redis.names import REGISTRY_INDEX, entry_key, metadata_key
from fauxchange.data.redis.server import Command, RedisServer
from fauxchange.domain.errors import Unavailable
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.logging import get_logger
from fauxchange.platform.ports import ServiceInstance

SLACK_MS = 60_000

_log = get_logger(__name__)


class _Entry(msgspec.Struct, frozen=True):
    """An instance as it is stored; `namespace` says where its metadata are."""

    name: str
    instance: str
    version: str
    host: str
    http_port: int
    grpc_port: int
    registered_ns: int
    heartbeat_ns: int
    namespace: str


@dataclass(frozen=True, slots=True)
class _Stored:
    member: str
    entry: _Entry


_decoder = msgspec.json.Decoder(_Entry)
_metadata_decoder = msgspec.json.Decoder(dict[str, str])


class RedisRegistry:
    """Entries of all services. Registering is the first heartbeat. Units: ttl_s in seconds."""

    def __init__(
        self, server: RedisServer, memory: MemoryRegistry, *, namespace: str, ttl_s: float, wall_ns: WallTime
    ) -> None:
        self._server = server
        self._memory = memory
        self._namespace = namespace
        self._ttl_ns = round(ttl_s * NS_PER_S)
        self._wall_ns = wall_ns
        self._own: dict[str, ServiceInstance] = {}
        self._changing = asyncio.Lock()
        self._read_problem: str | None = None
        self._write_problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why entries are kept in memory, or None if they are not: a read that works says nothing of writing."""
        return self._write_problem or self._read_problem

    async def register(self, instance: ServiceInstance) -> None:
        """Add the instance, or replace the entry with its name and instance.

        Raises: Unavailable, not worth repeating, if Redis is there and refuses the entry
        """
        async with self._changing:
            fresh = replace(instance, heartbeat_ns=self._wall_ns(), metadata=dict(instance.metadata))
            self._own[_member(instance.name, instance.instance)] = fresh
            await self._memory.register(fresh)
            refused = await self._put([fresh])
            if refused is not None and not refused.retryable:
                raise refused

    async def heartbeat(self, name: str, instance: str) -> bool:
        """Refresh the entry's heartbeat; return False if it is unknown or gone."""
        member = _member(name, instance)
        async with self._changing:
            try:
                found = await self._read([member])
            except Unavailable as exc:
                self._note(exc)
                return await self._beat_in_memory(member, name, instance)
            self._note(None)
            if not found:
                return False
            fresh = replace(found[0], heartbeat_ns=self._wall_ns())
            self._own[member] = fresh
            await self._memory.register(fresh)
            await self._put([fresh])
            return True

    async def deregister(self, name: str, instance: str) -> None:
        """Remove the entry; no error if it is gone."""
        member = _member(name, instance)
        async with self._changing:
            own = self._own.pop(member, None)
            await self._memory.deregister(name, instance)
            keys = [entry_key(member)] + ([metadata_key(self._namespace, member)] if own is not None else [])
            # An entry that cannot be removed now dies with its time.
            await self._write([("SREM", REGISTRY_INDEX, member), ("UNLINK", *keys)])

    async def find(self, name: str) -> Sequence[ServiceInstance]:
        """Return the live instances of a service, sorted by instance."""
        return [entry for entry in await self.all() if entry.name == name]

    async def all(self) -> Sequence[ServiceInstance]:
        """Return every live instance, sorted by name and instance."""
        try:
            found = await self._read(await self._members())
        except Unavailable as exc:
            self._note(exc)
            return await self._memory.all()
        self._note(None)
        self._remember(found)
        return sorted(found, key=lambda entry: (entry.name, entry.instance))

    async def clean_up(self) -> int:
        """Take the entries that are gone out of the index; return how many. The server removes what they held."""
        in_memory = await self._memory.clean_up()
        try:
            members = await self._members()
            live = {stored.member for stored in await self._entries(members)}
            gone = [member for member in members if member not in live]
            if gone:
                await self._server.call("SREM", REGISTRY_INDEX, *gone)
        except Unavailable as exc:
            self._note(exc)
            return in_memory
        self._note(None)
        return len(gone)

    async def refresh(self) -> None:
        """Put back what Redis has lost of this process's live entries, and look who else is there."""
        async with self._changing:
            try:
                members = await self._members()
                found = await self._read(members)
            except Unavailable as exc:
                self._note(exc)
                return
            self._note(None)
            stored = {_member(entry.name, entry.instance): entry.heartbeat_ns for entry in found}
            # An entry that is older than what is known here was written before Redis went away.
            lost = [
                entry
                for member, entry in self._own.items()
                if self._is_live(entry.heartbeat_ns) and stored.get(member, 0) < entry.heartbeat_ns
            ]
            if lost and await self._put(lost) is None:
                _log.warning("registered again", instances=[entry.instance for entry in lost])
            self._remember(found)

    async def _put(self, entries: Sequence[ServiceInstance]) -> Unavailable | None:
        lifetime_ms = self._ttl_ns // NS_PER_MS + SLACK_MS
        commands: list[Command] = []
        for entry in entries:
            member = _member(entry.name, entry.instance)
            metadata = msgspec.json.encode(dict(entry.metadata))
            commands += [
                ("SET", metadata_key(self._namespace, member), metadata, "PX", lifetime_ms),
                ("SET", entry_key(member), msgspec.json.encode(self._entry(entry)), "PX", lifetime_ms),
                ("SADD", REGISTRY_INDEX, member),
            ]
        return await self._write(commands)

    async def _write(self, commands: Sequence[Command]) -> Unavailable | None:
        """Return why the commands were not carried out, None if they were."""
        try:
            await self._server.batch(commands, atomic=True)
        except Unavailable as exc:
            if exc.retryable:
                self._note(exc)
            else:
                self._write_problem = exc.message
            return exc
        self._write_problem = None
        self._note(None)
        return None

    async def _beat_in_memory(self, member: str, name: str, instance: str) -> bool:
        if not await self._memory.heartbeat(name, instance):
            return False
        if member in self._own:
            self._own[member] = replace(self._own[member], heartbeat_ns=self._wall_ns())
        return True

    async def _members(self) -> list[str]:
        return sorted(member.decode() for member in await self._server.call("SMEMBERS", REGISTRY_INDEX))

    async def _entries(self, members: Sequence[str]) -> list[_Stored]:
        """Return the live entries among these."""
        if not members:
            return []
        texts = await self._server.call("MGET", *map(entry_key, members))
        entries = ((member, _decoded(text)) for member, text in zip(members, texts, strict=True))
        return [
            _Stored(member, entry)
            for member, entry in entries
            if entry is not None and self._is_live(entry.heartbeat_ns)
        ]

    async def _read(self, members: Sequence[str]) -> list[ServiceInstance]:
        """Return the live ones among these, with their metadata."""
        stored = await self._entries(members)
        if not stored:
            return []
        texts = await self._server.call("MGET", *(metadata_key(one.entry.namespace, one.member) for one in stored))
        return [_instance(one.entry, text) for one, text in zip(stored, texts, strict=True)]

    def _remember(self, found: Iterable[ServiceInstance]) -> None:
        self._memory.remember([*found, *self._own.values()])

    def _entry(self, instance: ServiceInstance) -> _Entry:
        return _Entry(
            name=instance.name,
            instance=instance.instance,
            version=instance.version,
            host=instance.host,
            http_port=instance.http_port,
            grpc_port=instance.grpc_port,
            registered_ns=instance.registered_ns,
            heartbeat_ns=instance.heartbeat_ns,
            namespace=self._namespace,
        )

    def _is_live(self, heartbeat_ns: int) -> bool:
        return self._wall_ns() - heartbeat_ns < self._ttl_ns

    def _note(self, exc: Unavailable | None) -> None:
        self._read_problem = None if exc is None else exc.message


def _member(name: str, instance: str) -> str:
    return f"{name}/{instance}"


def _decoded(text: bytes | None) -> _Entry | None:
    try:
        return None if text is None else _decoder.decode(text)
    except msgspec.MsgspecError:
        # Not ours, or of a version to come: nobody here can call it.
        return None


def _instance(entry: _Entry, metadata: bytes | None) -> ServiceInstance:
    fields: dict[str, Any] = {name: getattr(entry, name) for name in _Entry.__struct_fields__ if name != "namespace"}
    try:
        told = {} if metadata is None else _metadata_decoder.decode(metadata)
    except msgspec.MsgspecError:
        told = {}
    return ServiceInstance(**fields, metadata=told)
