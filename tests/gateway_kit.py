"""A kernel process's way in for gateways, and gateways that use it, all in one event loop over real sockets."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from exchange_kit import START_NS, Exchange

from fauxchange.domain.errors import FauxchangeError
from fauxchange.platform.credentials import SecretBox, new_credentials
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import NullMetrics
from fauxchange.platform.rpc.server import GrpcServer
from fauxchange.platform.streams.hub import Hub
from fauxchange.services.exchange.clients.connection import Connection
from fauxchange.services.exchange.clients.gateway import GatewayAccess, GatewayAllowances, GatewayExchange
from fauxchange.services.exchange.clients.replica import Replica
from fauxchange.services.exchange.rpc.kernel_link import ADMIN_SEAL, LINK_SERVICE_NAME, KernelLinks
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.limits import RateLimits
from fauxchange.services.exchange.service.links import Welcome
from fauxchange.services.exchange.service.metrics import GatewayMetrics, KernelLinkMetrics

KERNEL_KEY = "the key that gateways share"
ADMIN_KEY = "the administrators' key"
VERSION = "1"
WAIT_S = 60.0


async def until(condition: Callable[[], object], what: str = "it did not happen") -> None:
    """Wait for what happens in other tasks, or over sockets."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0)


class Kernel:
    """An exchange with its door for gateways, which can be shut and opened again at the same address."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        access: Access | None = None,
        limits: RateLimits | None = None,
        box: SecretBox | None = None,
        admin_key: str = ADMIN_KEY,
    ) -> None:
        self.exchange = exchange
        self.admin_key = admin_key
        self.box = box or SecretBox("the key file of the exchange")
        exchange.service.new_key = lambda: new_credentials(self.box)
        self.access = access or Access(
            exchange.venue.registry, self.box, admin_key=admin_key, wall_ns=lambda: START_NS, not_before_ns=0
        )
        self.limits = limits or RateLimits(exchange.clock, per_second=0)
        self.port = 0
        self._server: GrpcServer | None = None
        self.links: KernelLinks

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        self.links = KernelLinks(
            self.exchange.service,
            access=self.access,
            limits=self.limits,
            secrets=self.box,
            key=KERNEL_KEY,
            admin_key=self.admin_key,
            version=VERSION,
            metrics=KernelLinkMetrics(NullMetrics()),
        )
        listener = Listener(host="127.0.0.1", port=self.port, setting="KERNEL_PORT")
        health = HealthRegistry()
        self._server = GrpcServer("kernel", listener, metrics=NullMetrics(), health=health, stop_timeout_s=0.0)
        self._server.add(LINK_SERVICE_NAME, self.links.handler())
        await self._server.start()
        self.port = self._server.address[1]

    async def shut(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            self.links.end_all()
            await server.stop()


class Gateway:
    """What a gateway's process has, but for its edges."""

    def __init__(self, target: str, *, key: str = KERNEL_KEY, version: str = VERSION, spawn: Any = None) -> None:
        self.replica = Replica(Hub(), keep=1_000)
        self.epochs: list[int] = []
        self.losses: list[FauxchangeError] = []
        self.box = SecretBox(key)
        self.connection = Connection(
            target,
            key=key,
            gateway="g-1",
            version=version,
            replica=self.replica,
            owner=self,
            metrics=GatewayMetrics(NullMetrics()),
        )
        self.access = GatewayAccess(self.replica, self.box, wall_ns=lambda: START_NS)
        self.allowances = GatewayAllowances(self.connection)
        self.tasks: set[asyncio.Task[Any]] = set()
        self.service = GatewayExchange(self.connection, self.replica, self.allowances, spawn=spawn or self._spawn)
        self._running: asyncio.Task[None] | None = None

    def _spawn(self, coroutine: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def begin(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self.connection.run(), name="gateway")

    def linked(self, welcome: Welcome) -> None:
        self.epochs.append(welcome.epoch)
        self.access.learn_admin_key(self.box.decrypt(welcome.admin_key, ADMIN_SEAL))

    def lost(self, failure: FauxchangeError) -> None:
        self.losses.append(failure)

    async def until_linked(self) -> None:
        await until(lambda: self.connection.is_live() or self._ended(), "the gateway found no kernel process")

    def _ended(self) -> bool:
        if self._running is not None and self._running.done():
            self._running.result()
        return False

    async def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
