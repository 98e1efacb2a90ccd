"""The kernel process's end of the links to its gateways.

A gateway is believed what it says of its callers' addresses and that a signature is right; what only one place can know
is looked at here, for all gateways alike: whether a signature was used before, what is left of an allowance, whether a
key stands at the moment at which a command comes in.
"""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import msgspec
import structlog

from fauxchange.contracts.exchange.v1 import kernel_link_pb2 as pb
from fauxchange.domain.errors import (
    ConfigurationError,
    Conflict,
    FauxchangeError,
    InvalidRequest,
    InvariantViolation,
    RateLimited,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from fauxchange.domain.listings import Listing
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, OrderRecord
from fauxchange.platform.credentials import SecretBox
from fauxchange.platform.errors import answerable
from fauxchange.platform.ports import DependencyStatus
from fauxchange.platform.streams.hub import Delivery
from fauxchange.platform.streams.topics import StreamMessage, Topic
from fauxchange.services.exchange.service import links
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.channels import BALANCES, BOOK, ORDERS, BookChange, BookTopic, Report
from fauxchange.services.exchange.service.exchange import ExchangeService
from fauxchange.services.exchange.service.leftovers import Leftovers
from fauxchange.services.exchange.service.limits import UNLIMITED, RateLimits, RateState
from fauxchange.services.exchange.service.metrics import KernelLinkMetrics
from fauxchange.services.exchange.service.requests import Origin, Outcome, Placement

LINK_SERVICE_NAME: Final = pb.DESCRIPTOR.services_by_name["KernelLinkService"].full_name
ADMIN_SEAL: Final = "admin"
"""What the administrators' key is sealed for."""

PUBLIC: Final = -1
KEPT_PRIVATE: Final = 100
"""So many of an account's newest reports reach a gateway when it begins to watch it, for those who resume."""
RECORDS_PER_MESSAGE: Final = 1_000
MAX_WAITING_BYTES: Final = 64 << 20
"""A gateway that leaves so much unread is let go."""
MAX_REFUSED: Final = 10_000
WHOLE_BOOK: Final = 10**9
KEY_ACTOR: Final = "key:"

_SUBMITS: Final = {
    links.PLACE.name: "submit_order",
    links.CANCEL.name: "submit_cancel",
    links.AMEND.name: "submit_amend",
}
"""What is done without a task for each."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

log = structlog.get_logger(__name__)


class KernelLinks:
    """All links of a kernel process; `key` is what gateways present, and what is sealed for them is sealed with it."""

    def __init__(
        self,
        service: ExchangeService,
        *,
        access: Access,
        limits: RateLimits,
        secrets: SecretBox,
        key: str,
        admin_key: str,
        version: str,
        metrics: KernelLinkMetrics,
    ) -> None:
        self.service = service
        self.access = access
        self.limits = limits
        self.version = version
        self._secrets = secrets
        self._box = SecretBox(key)
        self._key_digest = sha256(key.encode()).digest()
        self._sealed_admin_key = self._box.encrypt(admin_key, ADMIN_SEAL)
        self._sealed: dict[str, KeyRecord] = {}
        self._links: dict[Link, None] = {}
        self._gauge = metrics.gateways

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler of the link."""
        return grpc.method_handlers_generic_handler(
            LINK_SERVICE_NAME,
            {
                "Link": grpc.stream_stream_rpc_method_handler(
                    self._link,
                    request_deserializer=pb.LinkBatch.FromString,
                    response_serializer=pb.LinkBatch.SerializeToString,
                )
            },
        )

    def end_all(self) -> None:
        """End all links because the process stops."""
        for link in tuple(self._links):
            link.fail(Unavailable("the kernel process is stopping", code="server_shutdown"))

    def welcome(self) -> links.Welcome:
        """Return what a gateway is told first."""
        registry = self.service.registry
        return links.Welcome(self.service.epoch, registry.document(), self._sealed_admin_key)

    def sealed(self, record: KeyRecord) -> KeyRecord:
        """Return a key's record with its secret sealed for gateways."""
        known = self._sealed.get(record.api_key)
        if known is None or known.revoked_ns != record.revoked_ns:
            try:
                secret = self._secrets.decrypt(record.encrypted_secret, record.api_key)
            except ConfigurationError:
                # A revoked key may be older than the key file: nothing that is signed with it is right.
                secret = ""
            known = msgspec.structs.replace(record, encrypted_secret=self._box.encrypt(secret, record.api_key))
            self._sealed[record.api_key] = known
        return known

    async def _link(self, requests: Any, context: Context) -> None:  # noqa: ARG002 - the context reads too
        self._authenticate(context)
        first = await context.read()
        if first is grpc.aio.EOF:
            return
        hello, *more = _read(first)
        if not isinstance(hello, links.Hello):
            raise InvalidRequest("a gateway says first who it is", code="malformed_link")
        if hello.version != self.version:
            raise Conflict(
                f"the gateway has version {hello.version}, this kernel process {self.version}; run one version",
                code="version_mismatch",
            )
        link = Link(self, context, hello)
        self._links[link] = None
        self._gauge.set(len(self._links))
        log.info("gateway_linked", gateway=hello.gateway, peer=context.peer())
        try:
            await link.run(more)
        finally:
            link.close()
            del self._links[link]
            self._gauge.set(len(self._links))
            log.info("gateway_gone", gateway=hello.gateway, failure=link.failure and link.failure.message)

    def _authenticate(self, context: Context) -> None:
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        kind, _, key = str(given).partition(" ")
        digest = sha256(key.encode("utf-8", "replace")).digest()
        if kind.lower() != "bearer" or not hmac.compare_digest(digest, self._key_digest):
            raise Unauthenticated("this is for gateways: it wants the key of KERNEL_KEY", code="wrong_kernel_key")


class _Session:
    """A session of a gateway that is to leave nothing behind."""

    def __init__(self, leftovers: Leftovers) -> None:
        self._leftovers = leftovers
        self._over = False

    def note(self, placement: Placement) -> None:
        """Remember what the session has placed; what comes after its end is canceled at once."""
        if not placement.repeated:
            self._leftovers.add(placement.order)
            if self._over:
                self._leftovers.cancel()

    def end(self) -> None:
        """Cancel what is open."""
        self._over = True
        self._leftovers.cancel()


class Link:
    """One gateway."""

    readers = 1

    def __init__(self, owner: KernelLinks, context: Context, hello: links.Hello) -> None:
        self._owner = owner
        self._service = owner.service
        self._context = context
        self._hello = hello
        self._out: list[bytes] = []
        self._waiting_bytes = 0
        self._something = asyncio.Event()
        self._hearing = links.Hearing(0.0)
        self._closed = False
        self.failure: FauxchangeError | None = None
        self._names: dict[Topic, tuple[str, int]] = {}
        self._sessions: dict[int, _Session] = {}
        self._refused: OrderedDict[int, FauxchangeError] = OrderedDict()
        self._handlers: Mapping[type[links.Message], Callable[[Any], None]] = {
            links.Admit: self._admit,
            links.Charge: self._charge,
            links.Watch: self._watch,
            links.Unwatch: self._unwatch,
            links.Leave: self._leave,
            links.Left: self._left,
            links.Call: self._call,
            links.Beat: lambda _: None,
        }

    async def run(self, first: Sequence[links.Message]) -> None:
        """Serve until the gateway goes away, is silent for too long, or does not read.

        Raises: FauxchangeError
        """
        self._begin()
        for message in first:
            self._handlers[type(message)](message)
        try:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(self._write(), name="gateway link, writing")
                watching = group.create_task(self._look_after(), name="gateway link, watching")
                await self._read()
                writing.cancel()
                watching.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def close(self) -> None:
        """Tell nothing more, and cancel what its sessions leave behind."""
        self._closed = True
        self._service.hub.leave(self)
        self._service.registry.watchers.pop(self, None)
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.end()

    def fail(self, failure: FauxchangeError) -> None:
        """End the link with a failure; the first one counts."""
        if self.failure is None:
            self.failure = failure
            self._something.set()

    # Sending

    def send(self, message: links.Message) -> None:
        """Send a message with the others of this turn of the loop."""
        if self._closed:
            return
        encoded = links.encode(message)
        self._out.append(encoded)
        self._waiting_bytes += len(encoded)
        self._something.set()
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self.fail(RateLimited("the gateway does not read quickly enough", code="slow_consumer"))

    async def _write(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._out and self.failure is None:
                batch, self._out = links.first_batch(self._out)
                self._waiting_bytes -= sum(map(len, batch))
                try:
                    await self._context.write(pb.LinkBatch(messages=links.pack(batch)))
                except grpc.aio.InternalError as exc:
                    # How a write finds out that the connection went under it.
                    raise Unavailable("the gateway's connection is lost") from exc
            if self.failure is not None:
                raise self.failure

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(links.BEAT_S)
            orders = self._service.sequencer.health()
            self.send(links.Beat(orders.detail if orders.status is DependencyStatus.DOWN else ""))
            if self._hearing.is_silent(links.BEAT_S):
                self.fail(Unavailable(f"the gateway said nothing for {links.SILENCE_S:g} s", code="link_silent"))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        handlers = self._handlers
        while (batch := await self._context.read()) is not grpc.aio.EOF:
            self._hearing.heard(loop.time())
            for message in _read(batch):
                handlers[type(message)](message)

    # What is told

    def _begin(self) -> None:
        """Tell all there is; nothing waits in between, so what changes is told after it."""
        service, registry = self._service, self._service.registry
        self.send(self._owner.welcome())
        accounts = list(registry.accounts.values())
        for begun in range(0, len(accounts), RECORDS_PER_MESSAGE):
            self.send(links.Accounts(accounts[begun : begun + RECORDS_PER_MESSAGE]))
        keys = [self._owner.sealed(key) for account in registry.accounts for key in registry.keys_of(account)]
        for begun in range(0, len(keys), RECORDS_PER_MESSAGE):
            self.send(links.Keys(keys[begun : begun + RECORDS_PER_MESSAGE]))
        for topic in (*service.venue.books, *service.venue.trades):
            self._follow(topic, topic.key, PUBLIC)
            epoch, sequence = self._hello.known.get(topic.key, (0, 0))
            missed = topic.resume(sequence + 1) if epoch == topic.epoch else None
            if missed is None:
                self._tell_snapshot(topic)
            else:
                self._tell(missed)
        registry.watchers[self] = None
        self.send(links.Ready())

    def _follow(self, topic: Topic, name: str, account: int) -> None:
        self._names[topic] = (name, account)
        self._service.hub.subscribe(self, topic)

    def deliver(self, delivery: Delivery) -> None:
        """Tell what was published."""
        self._tell(delivery.messages)

    def _tell(self, messages: Sequence[StreamMessage]) -> None:
        for message in messages:
            name, account = self._names[message.topic]
            self.send(
                links.Told(
                    name,
                    account,
                    message.first_sequence,
                    message.sequence,
                    message.type,
                    msgspec.Raw(links.encode(_data(message))),
                )
            )

    def _tell_snapshot(self, topic: Topic) -> None:
        if isinstance(topic, BookTopic):
            book = topic.book
            whole = BookChange(book, book.best(0, WHOLE_BOOK), book.best(1, WHOLE_BOOK), book.checksum(), book.ts_ns)
            snapshot: StreamMessage | None = StreamMessage(topic, topic.sequence, topic.sequence, "snapshot", whole)
        else:
            snapshot = topic.snapshot()
        if snapshot is not None:
            self._tell([snapshot])

    def account_put(self, record: AccountRecord) -> None:
        """Tell of an account."""
        self.send(links.Accounts([record]))

    def key_put(self, record: KeyRecord) -> None:
        """Tell of an API key."""
        self.send(links.Keys([self._owner.sealed(record)]))

    def status_set(self, listing: Listing) -> None:
        """Tell of an instrument's status."""
        self.send(links.ListingStatus(listing.symbol, listing.status))

    # What is asked

    def _admit(self, message: links.Admit) -> None:
        limits, failure = self._owner.limits, None
        state: RateState = UNLIMITED
        try:
            if message.signature:
                self._owner.access.accept(message.key, message.stamp_ms, message.signature)
            elif message.key:
                self._check_stands(message.key)
            if message.cost:
                state = limits.take(message.account, message.cost)
        except FauxchangeError as exc:
            if isinstance(exc, RateLimited):
                state = limits.peek(message.account)
            failure = links.failure_message(exc)
        self.send(links.Admitted(message.id, *state, failure))

    def _charge(self, message: links.Charge) -> None:
        try:
            self._owner.limits.take(message.account, message.cost)
        except RateLimited as exc:
            self._refused[message.id] = exc
            if len(self._refused) > MAX_REFUSED:
                self._refused.popitem(last=False)

    def _watch(self, message: links.Watch) -> None:
        private = self._service.venue.private_topics(message.account)
        for topic in (private.orders, private.balances):
            self._follow(topic, topic.channel, message.account)
            self._tell(list(topic.kept)[-KEPT_PRIVATE:])
            self._tell_snapshot(topic)
        self.send(links.Answer(message.id))

    def _unwatch(self, message: links.Unwatch) -> None:
        private = self._service.venue.private_topics(message.account)
        for topic in (private.orders, private.balances):
            self._service.hub.unsubscribe(self, topic)
            self._names.pop(topic, None)

    def _leave(self, message: links.Leave) -> None:
        self._sessions[message.session] = _Session(Leftovers(self._service, message.account, message.origin))

    def _left(self, message: links.Left) -> None:
        session = self._sessions.pop(message.session, None)
        if session is not None:
            session.end()

    def _call(self, message: links.Call) -> None:
        session = self._sessions.get(message.session)
        try:
            refused = self._refused.get(message.charge)
            if refused is not None:
                raise refused
            method = links.METHODS.get(message.method)
            if method is None:
                raise InvalidRequest(f"gateways cannot ask for {message.method!r}", code="malformed_link")
            try:
                arguments = method.read_arguments(message.arguments)
            except msgspec.DecodeError as exc:
                raise InvalidRequest(f"{message.method} cannot be called like this: {exc}") from exc
            for each in arguments:
                if isinstance(each, Origin) and each.actor.startswith(KEY_ACTOR):
                    self._check_stands(each.actor.removeprefix(KEY_ACTOR))
            submit = _SUBMITS.get(message.method)
            if submit is not None:
                getattr(self._service, submit)(*arguments, partial(self._over, message.id, session))
                return
        except FauxchangeError as exc:
            self._refuse(message.id, exc)
            return
        behaviour: Callable[..., Awaitable[Any]] = getattr(self._service, message.method)
        self._service.spawn(self._answer(message.id, session, behaviour(*arguments)), f"gateway: {message.method}")

    def _over(self, call: int, session: _Session | None, outcome: Outcome) -> None:
        if outcome.placement is None:
            self._refuse(call, outcome.failure or InvariantViolation("an outcome is a placement or a failure"))
            return
        if session is not None:
            session.note(outcome.placement)
        self._tell_result(call, outcome.placement)

    async def _answer(self, call: int, session: _Session | None, working: Awaitable[Any]) -> None:
        try:
            result = await working
        # Whatever goes wrong with one call is its answer.
        except Exception as exc:
            self._refuse(call, exc)
            return
        if isinstance(result, Placement) and session is not None:
            session.note(result)
        if isinstance(result, list) and result and isinstance(result[0], Outcome):
            result = [self._batch_outcome(each) for each in result]
        self._tell_result(call, None if isinstance(result, Listing) else result)

    def _tell_result(self, call: int, result: object) -> None:
        self.send(links.Answer(call, msgspec.Raw(links.encode(result))))

    def _batch_outcome(self, outcome: Outcome) -> links.BatchOutcome:
        failure = None if outcome.failure is None else self._failure(outcome.failure)
        return links.BatchOutcome(outcome.placement, failure)

    def _refuse(self, call: int, exc: Exception) -> None:
        self.send(links.Answer(call, failure=self._failure(exc)))

    def _failure(self, exc: Exception) -> links.Failure:
        failure = answerable(exc)
        fills: Sequence[FillRecord] = ()
        if isinstance(failure, Rejected) and isinstance(failure.order, OrderRecord):
            fills = self._service.fills_in_memory(failure.order.order_id)
        return links.failure_message(failure, fills)

    def _check_stands(self, key: str) -> None:
        if not self._owner.access.stands(key):
            raise Unauthenticated("the API key has been revoked", code="key_revoked")


def _read(batch: pb.LinkBatch) -> list[links.FromGateway]:
    try:
        return links.read_from_gateway(batch.messages)
    except msgspec.DecodeError as exc:
        raise InvalidRequest(f"the gateway sent what cannot be read: {exc}", code="malformed_link") from exc


def _data(message: StreamMessage) -> object:
    """Return what a message carries, as gateways read it."""
    data, channel = message.data, message.topic.channel
    if channel == BOOK:
        return links.BookData(data.bids, data.asks, data.checksum, data.ts_ns)
    if channel == ORDERS:
        if message.type == "snapshot":
            return [record for record, _ in data]
        report: Report = data
        return links.ReportData(report.exec_type, report.record, report.fill)
    if channel == BALANCES:
        return list(data)
    return data
