"""A gateway's end of its link: one stream to the kernel process, made anew whenever it breaks.

What is sent during one turn of the event loop goes out in one batch. When the link breaks nobody knows what became of
the commands that were sent and not answered, and their callers are told so; what was not sent is refused.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import grpc
import grpc.aio
import msgspec
import structlog

from fauxchange.contracts.exchange.v1 import kernel_link_pb2 as pb
from fauxchange.contracts.exchange.v1.kernel_link_pb2_grpc import KernelLinkServiceStub
from fauxchange.domain.errors import FauxchangeError, RateLimited, Unavailable
from fauxchange.platform.ports import DependencyHealth, DependencyStatus
from fauxchange.services.exchange.clients.replica import Replica, kernel_away
from fauxchange.services.exchange.service import links
from fauxchange.services.exchange.service.limits import RateState
from fauxchange.services.exchange.service.metrics import GatewayMetrics

MAX_OUTSTANDING: Final = 20_000
"""So many calls may wait for their answers; beyond that a gateway refuses."""
CONNECT_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
LOOK_S: Final = 0.25

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", links.MAX_BATCH_BYTES),
    ("grpc.max_send_message_length", links.MAX_BATCH_BYTES),
    # A pool of connections is shared by target unless one asks for one of its own.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)

log = structlog.get_logger(__name__)


class Owner(Protocol):
    """Whoever answers readers while the link is there, and sends them away when it breaks."""

    def linked(self, welcome: links.Welcome) -> None:
        """Take note of what the kernel process said first; everything there is has been told."""
        ...

    def lost(self, failure: FauxchangeError) -> None:
        """Send everybody away who reads a stream or holds a session."""
        ...


Then = Callable[[msgspec.Raw | None, FauxchangeError | None], None]
"""What hears the result of a call, or its failure."""


class _Waiting:
    __slots__ = ("changes", "then")

    def __init__(self, then: Then, *, changes: bool) -> None:
        self.then = then
        self.changes = changes


class Connection:
    """The link, broken or not; a background component runs it."""

    def __init__(
        self,
        target: str,
        *,
        key: str,
        gateway: str,
        version: str,
        replica: Replica,
        owner: Owner,
        metrics: GatewayMetrics,
    ) -> None:
        self.target = target
        self._key = key
        self._gateway = gateway
        self._version = version
        self._replica = replica
        self._owner = owner
        self._out: list[bytes] = []
        self._something = asyncio.Event()
        self._waiting: dict[int, _Waiting] = {}
        self._admissions: dict[int, asyncio.Future[RateState]] = {}
        self._accounts: dict[int, int] = {}
        self._last_id = 0
        self._live = False
        self._hearing = links.Hearing(0.0)
        self._welcome: links.Welcome | None = None
        self._failure: FauxchangeError | None = None
        self._problem = ""
        self._pause_s = FIRST_PAUSE_S
        self.rates: dict[int, RateState] = {}
        """What was left of accounts' allowances when they were last asked for."""
        self._metrics = metrics
        replica.is_live = self.is_live

    def is_live(self) -> bool:
        """Say whether the kernel process has been heard of just now, and everything that it knows is known here."""
        return self._live and self._hearing.is_fresh(asyncio.get_running_loop().time())

    def health(self) -> DependencyHealth:
        """Say how the link is."""
        if self.is_live() and not self._problem:
            return DependencyHealth(DependencyStatus.OK, "", True)
        if self.is_live():
            # Everything can be asked for, but orders are refused there.
            return DependencyHealth(DependencyStatus.DOWN, f"the kernel process: {self._problem}", True)
        why = "not linked yet" if self._failure is None else self._failure.message
        return DependencyHealth(DependencyStatus.DOWN, f"the kernel process at {self.target} is away: {why}", True)

    # Asking

    def next_id(self) -> int:
        """Return a number that no other message of this process has."""
        self._last_id += 1
        return self._last_id

    def send(self, message: links.Message) -> None:
        """Send a message with the others of this turn. Raises: Unavailable if there is nobody to send it to."""
        if not self.is_live():
            raise kernel_away()
        self._out.append(links.encode(message))
        self._something.set()

    def call(self, method: links.Method[Any], arguments: tuple[Any, ...], then: Then, **more: int) -> None:
        """Ask for something; `then` hears what came of it. Raises: Unavailable; then it hears nothing."""
        if len(self._waiting) >= MAX_OUTSTANDING:
            raise Unavailable(
                f"nothing was done: {MAX_OUTSTANDING} requests wait for the kernel process",
                code="gateway_busy",
                retry_after_s=1.0,
            )
        number = self.next_id()
        self.send(links.Call(number, method.name, msgspec.Raw(links.encode(arguments)), **more))
        self._waiting[number] = _Waiting(then, changes=method.changes)

    async def ask(self, method: links.Method[Any], arguments: tuple[Any, ...], **more: int) -> Any:
        """Ask for something and wait for it. Raises: FauxchangeError, as it was raised there."""
        answered: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self.call(method, arguments, settling(answered), **more)
        return method.read_result(await answered)

    def watch(self, account: int) -> "asyncio.Future[msgspec.Raw]":
        """Have an account's private channels told; what is returned is done when they are. Raises: Unavailable."""
        number = self.next_id()
        answered: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self.send(links.Watch(number, account))
        self._waiting[number] = _Waiting(settling(answered), changes=False)
        return answered

    async def admit(
        self, account: int, cost: int, *, key: str = "", stamp_ms: int = 0, signature: str = ""
    ) -> RateState:
        """Ask whether a request may go on. Raises: Unauthenticated, RateLimited, Unavailable."""
        number = self.next_id()
        self.send(links.Admit(number, account, key, stamp_ms, signature, cost))
        self._accounts[number] = account
        admitted: asyncio.Future[RateState] = asyncio.get_running_loop().create_future()
        self._admissions[number] = admitted
        return await admitted

    # Living

    async def run(self) -> None:
        """Keep the link up, until cancelled."""
        while True:
            try:
                await self._link()
                failure: FauxchangeError = Unavailable("the kernel process has ended the link")
            except FauxchangeError as exc:
                failure = exc
            except grpc.aio.AioRpcError as exc:
                failure = Unavailable(str(exc.details() or exc.code().name))
            except (asyncio.InvalidStateError, msgspec.DecodeError) as exc:
                failure = Unavailable(f"the link cannot be used any more: {exc}")
            self._break(failure)
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)

    async def _link(self) -> None:
        """Make the link and serve it until it breaks. Raises: FauxchangeError, AioRpcError."""
        async with grpc.aio.insecure_channel(self.target, options=_OPTIONS) as channel:
            stub: Any = KernelLinkServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code has no types
            stream = stub.Link(metadata=(("authorization", f"Bearer {self._key}"),))
            try:
                self._out = []
                hello = links.Hello(self._version, self._gateway, self._replica.known())
                self._hearing.heard(asyncio.get_running_loop().time())
                async with asyncio.timeout(CONNECT_S):
                    await stream.write(pb.LinkBatch(messages=links.pack([links.encode(hello)])))
                    first = await stream.read()
                async with asyncio.TaskGroup() as group:
                    helpers = [group.create_task(each) for each in (self._write(stream), self._look_after())]
                    await self._read(stream, first)
                    for helper in helpers:
                        helper.cancel()
            except TimeoutError:
                raise Unavailable(f"it did not answer within {CONNECT_S:g} s") from None
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None
            finally:
                stream.cancel()

    async def _read(self, stream: Any, batch: Any) -> None:
        loop = asyncio.get_running_loop()
        while batch is not grpc.aio.EOF:
            self._hearing.heard(loop.time())
            for message in links.read_from_kernel(batch.messages):
                self._take(message)
            self._replica.publish()
            batch = await stream.read()

    async def _write(self, stream: Any) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._out:
                batch, self._out = links.first_batch(self._out)
                await stream.write(pb.LinkBatch(messages=links.pack(batch)))

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._out.append(links.encode(links.Beat()))
            self._something.set()
            if self._hearing.is_silent(LOOK_S):
                raise Unavailable(f"it said nothing for {links.SILENCE_S:g} s")

    def _take(self, message: links.Message) -> None:
        if self._replica.take(message):
            return
        # What was told before an answer has been published when the answer is heard.
        self._replica.publish()
        if isinstance(message, links.Answer):
            waiting = self._waiting.pop(message.id, None)
            if waiting is not None:
                failure = None if message.failure is None else links.failure_of(message.failure)
                waiting.then(None if failure else message.result, failure)
        elif isinstance(message, links.Admitted):
            self._admitted(message)
        elif isinstance(message, links.Beat):
            self._problem = message.problem
        elif isinstance(message, links.Welcome):
            self._replica.welcome(message)
            self._welcome = message
        elif isinstance(message, links.Ready) and self._welcome is not None:
            self._live = True
            self._pause_s = FIRST_PAUSE_S
            self._failure = None
            self._metrics.linked.set(1)
            self._owner.linked(self._welcome)
            log.info("kernel_linked", target=self.target, epoch=self._replica.epoch)

    def _admitted(self, message: links.Admitted) -> None:
        admitted = self._admissions.pop(message.id)
        account = self._accounts.pop(message.id)
        failure = None if message.failure is None else links.failure_of(message.failure)
        if failure is None or isinstance(failure, RateLimited):
            self.rates[account] = message.state
        if admitted.done():
            return
        if failure is None:
            admitted.set_result(message.state)
        else:
            admitted.set_exception(failure)

    def _break(self, failure: FauxchangeError) -> None:
        was_live, self._live = self._live, False
        self._failure, self._problem = failure, ""
        self._metrics.linked.set(0)
        self._out = []
        if was_live:
            self._metrics.lost.inc(1)
            log.warning("kernel_link_lost", target=self.target, reason=failure.message)
        elif self._pause_s <= FIRST_PAUSE_S:
            log.warning("kernel_away", target=self.target, reason=failure.message)
        self._replica.watched = {}
        waiting, self._waiting = self._waiting, {}
        admissions, self._admissions = self._admissions, {}
        self._accounts = {}
        for each in waiting.values():
            each.then(None, _unknown() if each.changes else kernel_away())
        for admitted in admissions.values():
            if not admitted.done():
                admitted.set_exception(kernel_away())
        with suppress(FauxchangeError):
            self._owner.lost(kernel_away())


def settling(answered: "asyncio.Future[msgspec.Raw]") -> Then:
    """Return what settles a future with what came of a call; its waiter may have gone away meanwhile."""

    def then(result: msgspec.Raw | None, failure: FauxchangeError | None) -> None:
        if answered.done():
            return
        if failure is not None:
            answered.set_exception(failure)
        else:
            answered.set_result(msgspec.Raw(b"\xc0") if result is None else result)

    return then


def _unknown() -> Unavailable:
    return Unavailable(
        "whether this was done is not known: the link to the exchange's kernel process broke before it answered; "
        "ask for the order by its client order id, or repeat it with the same one",
        code="outcome_unknown",
        retry_after_s=1.0,
    )
