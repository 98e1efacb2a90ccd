"""A process's entry in the registry of services: made at start, refreshed while it runs, removed at the end.

Registries forget: they are restarted empty, and they are away when an entry ought to be made. So it is looked every few
seconds whether the entry is still there, and an entry that could not be made is tried again as often.
"""

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable

import structlog

from fauxchange.domain.errors import FauxchangeError
from fauxchange.platform.chance import jitter, token
from fauxchange.platform.ports import ServiceDiscoveryRepository, ServiceInstance

LOOK_INTERVAL_S = 2.0
"""How often it is looked whether the entry is still there, where heartbeats are less frequent than that."""
EARLIER = 0.1
"""The share of an interval by which chance lets a beat come earlier, so that the beats of many do not come at once."""

log = structlog.get_logger(__name__)


def instance_name() -> str:
    """Return a name that no other process has: containers share process ids, and some of them host names."""
    return f"{socket.gethostname()}:{os.getpid()}:{token()}"


def advertised_host(setting: str | None, listening: str, *, resolve: Callable[[str], object] | None = None) -> str:
    """Return the host by which others reach a listener: as it is set, else where it listens.

    A listener on every address (0.0.0.0, ::) has no address to tell: then it is this machine's name, or its loopback
    address where the name leads nowhere. `resolve` raises OSError for a name that does.
    """
    if setting is not None:
        return setting
    if not _is_wildcard(listening):
        return listening
    name = socket.gethostname()
    try:
        (resolve or socket.gethostbyname)(name)
    except OSError:
        name = "127.0.0.1"
    log.info("advertised host chosen", host=name, listening=listening, remedy="set ADVERTISED_HOST for another")
    return name


class Registration:
    """Keep one service in the registry from `start` to `stop`; a registry that is away is tried again.

    Units: interval_s in seconds of wall time; `chance` draws from [0, 1)
    """

    def __init__(
        self,
        describe: Callable[[], ServiceInstance],
        registry: ServiceDiscoveryRepository,
        *,
        interval_s: float,
        chance: Callable[[], float] = jitter,
    ) -> None:
        self._describe = describe
        self._registry = registry
        self._interval_s = interval_s
        self._chance = chance
        self._instance: ServiceInstance | None = None
        self._registered = False
        self._warned = False
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """What logs call it."""
        return "registration"

    async def start(self) -> None:
        """Register, and begin to refresh the entry. The listeners are there already: the entry says where."""
        instance = self._instance = self._describe()
        await self._beat(instance)
        self._task = asyncio.create_task(self._refresh(instance), name="registration")

    async def stop(self) -> None:
        """Remove the entry, so that nobody calls a service that is going."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._instance is not None:
            try:
                await self._registry.deregister(self._instance.name, self._instance.instance)
            except FauxchangeError as exc:
                # The entry dies with its TTL.
                log.warning("not_deregistered", error=exc.message)

    async def _refresh(self, instance: ServiceInstance) -> None:
        look_s = min(LOOK_INTERVAL_S, self._interval_s)
        beat_in_s = self._varied(self._interval_s)
        while True:
            pause_s = self._varied(look_s)
            await asyncio.sleep(min(pause_s, beat_in_s))
            beat_in_s -= pause_s
            if beat_in_s <= 0:
                await self._beat(instance)
                beat_in_s = self._varied(self._interval_s)
            elif not self._registered or await self._is_missing(instance):
                await self._register(instance)

    def _varied(self, interval_s: float) -> float:
        return interval_s * (1 - EARLIER * self._chance())

    async def _beat(self, instance: ServiceInstance) -> None:
        try:
            if self._registered and await self._registry.heartbeat(instance.name, instance.instance):
                await self._registry.clean_up()
                return
        except FauxchangeError as exc:
            self._away(exc)
            return
        await self._register(instance)

    async def _is_missing(self, instance: ServiceInstance) -> bool:
        try:
            entries = await self._registry.find(instance.name)
        except FauxchangeError as exc:
            self._away(exc)
            return False
        return all(entry.instance != instance.instance for entry in entries)

    async def _register(self, instance: ServiceInstance) -> None:
        try:
            # That is its first heartbeat as well.
            await self._registry.register(instance)
            await self._registry.clean_up()
        except FauxchangeError as exc:
            self._away(exc)
            return
        self._registered, self._warned = True, False
        log.info("registered", registered_name=instance.name, host=instance.host, grpc_port=instance.grpc_port)

    def _away(self, failure: FauxchangeError) -> None:
        # What it holds when it is back is not known.
        self._registered = False
        if not self._warned:
            self._warned = True
            log.warning("not_registered", error=failure.message)


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return host == ""
