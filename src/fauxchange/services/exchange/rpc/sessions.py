"""Order entry over a stream: commands in, answers and execution reports out, without a task for each.

Commands are read and submitted in the order in which they come. Answers go out together: all that are there as soon as
none is missing, and otherwise after `GATHER_S`. At most `MAX_UNANSWERED` commands are under way: until answers are on
their way to the caller nothing more is carried out and no more than one message is read, so that a caller who does not
read is not read either.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import grpc.aio
import structlog

from fauxchange.contracts.exchange.proto import RESULTS_FIELD, element
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.domain.errors import FauxchangeError, InvalidRequest, RateLimited, Unavailable
from fauxchange.domain.order_columns import RestingOrders
from fauxchange.domain.orders import OPEN_STATUSES, OrderRecord
from fauxchange.platform.rpc.batch_streams import Wanted, begin_stream
from fauxchange.platform.streams.hub import Delivery
from fauxchange.platform.streams.topics import StreamMessage
from fauxchange.services.exchange.rpc.callers import Asker, Callers, Context
from fauxchange.services.exchange.rpc.parsing import amend_request, order_ref, order_request
from fauxchange.services.exchange.rpc.rendering import Rendering
from fauxchange.services.exchange.service.api import ExchangeApi
from fauxchange.services.exchange.service.channels import ORDERS, Report
from fauxchange.services.exchange.service.leftovers import LeavesNothing
from fauxchange.services.exchange.service.requests import Outcome
from fauxchange.services.exchange.service.trading import CLIENT_PREFIX

MAX_UNANSWERED: Final = 1_000
MAX_ID_CHARS: Final = 64
RESPONSE_BYTES: Final = 1 << 20
"""A response ends behind the element that reaches it: gRPC clients refuse more than 4 MiB unless told otherwise."""
GATHER_S: Final = 0.001
"""So long an answer waits at most for those of other commands under way; a response costs as much as ten orders."""

log = structlog.get_logger(__name__)


class DisconnectCancels:
    """The open orders of a session, to be canceled when it ends; if that cannot be stored, again until it can.

    Units: retry_s in seconds of wall time
    """

    def __init__(self, service: ExchangeApi, asker: Asker, *, is_stopping: Callable[[], bool], retry_s: float) -> None:
        self._service = service
        self._asker = asker
        self._is_stopping = is_stopping
        self._retry_s = retry_s
        self._open: dict[int, None] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._ended = False

    def placed(self, record: OrderRecord) -> None:
        """Take note of an order of the session; one that was on its way when the session ended goes at once."""
        if record.status in OPEN_STATUSES:
            self._open[record.order_id] = None
            if self._ended and self._retry is None:
                self._cancel_open()

    def told(self, record: OrderRecord) -> None:
        """Take note of how an order stands now."""
        if record.status not in OPEN_STATUSES:
            self._open.pop(record.order_id, None)

    def end(self) -> None:
        """Cancel what is open, and what becomes open from now on."""
        self._ended = True
        self._cancel_open()

    def _cancel_open(self) -> None:
        self._retry = None
        for order_id in tuple(self._open):
            del self._open[order_id]
            try:
                self._service.submit_cancel(
                    self._asker.account, str(order_id), self._asker.origin, partial(self._over, order_id)
                )
            except Unavailable as exc:
                self._again(order_id, exc)
                return
            except FauxchangeError:
                # It has finished by itself.
                continue

    def _over(self, order_id: int, outcome: Outcome) -> None:
        if isinstance(outcome.failure, Unavailable):
            self._again(order_id, outcome.failure)

    def _again(self, order_id: int, failure: Unavailable) -> None:
        self._open[order_id] = None
        if self._retry is not None:
            return
        if self._is_stopping():
            log.error("orders_left_open", account=self._asker.account, orders=len(self._open), error=failure.message)
            return
        self._retry = asyncio.get_running_loop().call_later(self._retry_s, self._cancel_open)


class Begun:
    """A coroutine that has gone as far as it goes without waiting, before anybody waits for it."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._awaited: asyncio.Future[Any] = coroutine.send(None)

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited = self._awaited
        while True:
            try:
                yield awaited
            except BaseException as exc:
                go_on = partial(self._coroutine.throw, exc)
            else:
                go_on = partial(self._coroutine.send, None)
            try:
                awaited = go_on()
            except StopIteration as over:
                return over.value

    def close(self) -> None:
        """Give it up, if it has not finished."""
        self._awaited.cancel()
        self._coroutine.close()


class _Answer(NamedTuple):
    """What came of one command."""

    command_id: str
    outcome: Outcome
    canceled: Sequence[str] = ()


class _Rested(NamedTuple):
    """Orders that rest as they were placed, by commands of these ids."""

    orders: RestingOrders
    begun: int
    command_ids: Sequence[str]


class OrderSession:
    """One OrderStream.

    Units: queue_messages bounds the execution reports that wait to be written; cancel_retry_s in seconds of wall time
    """

    readers = 1

    def __init__(
        self,
        service: ExchangeApi,
        rendering: Rendering,
        callers: Callers,
        context: Context,
        asker: Asker,
        *,
        queue_messages: int,
        cancel_retry_s: float,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._service = service
        self._rendering = rendering
        self._callers = callers
        self._context = context
        self._asker = asker
        self._queue_messages = queue_messages
        self._cancel_retry_s = cancel_retry_s
        self._is_stopping = is_stopping
        self._cancels: DisconnectCancels | None = None
        self._at_kernel: LeavesNothing | None = None
        self._tells_reports = True
        self._placing: set[str] = set()
        # Commands without an answer, and those whose answer has not been written.
        self._under_way = 0
        self._unanswered = 0
        # What waits to be written, who waits for it, and who waits until it is.
        self._answers: list[_Answer | _Rested] = []
        self._reports: list[StreamMessage] = []
        self._beats = False
        self._writer: asyncio.Task[None] | None = None
        self._is_due = False
        self._soon: asyncio.TimerHandle | None = None
        self._something: asyncio.Future[None] | None = None
        self._progress: asyncio.Future[None] | None = None
        self._failure: FauxchangeError | None = None
        self.slow = False
        """Whether the session ended because it was not read quickly enough."""

    async def run(self) -> None:
        """Serve until the caller has ended its side and has every answer, or goes away.

        Raises: InvalidRequest, RateLimited (not read quickly enough), Unauthenticated (the key was revoked)
        """
        first = await self._context.read()
        if first is grpc.aio.EOF:
            return
        try:
            await self._context.write(self._begin(first))
            if self._failure is not None:
                raise self._failure
            async with asyncio.TaskGroup() as group:
                self._writer = group.create_task(self._write(), name="order stream answers")
                await self._read(first)
                self._writer.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self._service.hub.leave(self)
            if self._soon is not None:
                self._soon.cancel()
            if self._cancels is not None:
                self._cancels.end()
            if self._at_kernel is not None:
                self._at_kernel.cancel()

    # What is told

    def deliver(self, delivery: Delivery) -> None:
        """Take execution reports."""
        if self._cancels is not None:
            for message in delivery.messages:
                report: Report = message.data
                self._cancels.told(report.record)
        if not self._tells_reports or self._failure is not None:
            return
        self._reports += delivery.messages
        if len(self._reports) > self._queue_messages:
            self.slow = True
            self.fail(RateLimited("the stream is not being read quickly enough", code="slow_consumer"))
        else:
            self._wake_writer()

    def beat(self, message: StreamMessage) -> None:  # noqa: ARG002 - the response has a message of its own
        """Send a heartbeat with the next response."""
        revoked = self._callers.refuse_revoked(self._asker)
        if revoked is not None:
            self.fail(revoked)
        self._beats = True
        self._wake_writer()

    def fail(self, failure: FauxchangeError) -> None:
        """End the session with a failure, even if the writer is stuck; the first one counts."""
        if self._failure is None:
            self._failure = failure
            if self._writer is not None:
                self._writer.cancel()

    # Beginning

    def _begin(self, first: pb.OrderStreamRequest) -> bytes:
        """Subscribe to the account's reports; return the first response."""
        options = first.options
        (topic,) = self._service.resolve_topics(ORDERS, None, self._asker.caller)
        response = pb.OrderStreamResponse(
            begun=pb.OrderStreamBegun(account_id=str(self._asker.account), epoch=topic.epoch, sequence=topic.sequence)
        )
        self._tells_reports = not options.answers_only
        if options.cancel_on_disconnect:
            self._leave_nothing()
        missed: list[StreamMessage] = []
        if options.HasField("from_sequence"):
            missed, _ = begin_stream([topic], Wanted.of(options), response)
        if self._tells_reports or self._cancels is not None:
            self._service.hub.subscribe(self, topic)
        return response.SerializeToString() + b"".join([message.proto() for message in missed])

    def _leave_nothing(self) -> None:
        session = self._at_kernel = self._service.kernel_session(self._asker.account, self._asker.origin)
        if session is not None:
            self._asker = replace(self._asker, origin=session.origin)
        else:
            self._cancels = DisconnectCancels(
                self._service, self._asker, is_stopping=self._is_stopping, retry_s=self._cancel_retry_s
            )

    # Commands

    async def _read(self, request: Any) -> None:
        is_first = True
        while request is not grpc.aio.EOF:
            # It comes by way of other threads, which takes longer than to carry out this one.
            following = Begun(self._context.read())
            try:
                if not is_first and request.HasField("options"):
                    raise InvalidRequest(
                        "options belong into the first message", code="options_too_late", field="options"
                    )
                is_first = False
                for command in request.commands:
                    await self._carry_out(command)
                request = await following
            finally:
                following.close()
        await self._until(lambda: self._unanswered == 0)

    async def _carry_out(self, command: pb.OrderStreamCommand) -> None:
        """Submit a command as soon as there is room for it. Raises: Unauthenticated if the key has been revoked."""
        revoked = self._callers.refuse_revoked(self._asker)
        if revoked is not None:
            raise revoked
        if self._unanswered >= MAX_UNANSWERED:
            await self._until(lambda: self._unanswered < MAX_UNANSWERED)
        self._unanswered += 1
        self._under_way += 1
        try:
            kind = self._check(command)
            if kind == "place":
                self._place(command.id, command.place)
            else:
                await self._change(command, kind)
        except FauxchangeError as exc:
            self._answer(command.id[:MAX_ID_CHARS], Outcome(failure=exc))

    def _check(self, command: pb.OrderStreamCommand) -> str:
        """Return what a command is. Raises: InvalidRequest, RateLimited."""
        kind = command.WhichOneof("command")
        if kind is None:
            raise InvalidRequest("the command says nothing", code="missing_field", field="command")
        if len(command.id) > MAX_ID_CHARS:
            raise InvalidRequest(f"an id has at most {MAX_ID_CHARS} characters", field="id")
        self._callers.limits.take(self._asker.account)
        return str(kind)

    def _place(self, command_id: str, request: pb.PlaceOrderRequest) -> None:
        order = order_request(request)
        account, origin = self._asker.account, self._asker.origin
        # A session that leaves nothing behind has to know the records of its orders.
        if self._cancels is None and self._service.submit_plain(account, order, origin, self, command_id):
            return
        name = order.client_order_id
        self._service.submit_order(account, order, origin, partial(self._placed, command_id, name))
        if name is not None:
            self._placing.add(name)

    async def _change(self, command: pb.OrderStreamCommand, kind: str) -> None:
        """Carry out what is about orders that exist; it waits for those that are on their way."""
        account, origin = self._asker.account, self._asker.origin
        if kind == "cancel_all":
            canceled = await self._service.cancel_all(account, command.cancel_all.symbol or None, origin)
            self._answer(command.id, Outcome(), [str(record.order_id) for record in canceled])
            return
        ref = order_ref(getattr(command, kind))
        if ref.startswith(CLIENT_PREFIX):
            await self._until_placed(ref.removeprefix(CLIENT_PREFIX))
        done = partial(self._answer, command.id)
        if kind == "cancel":
            self._service.submit_cancel(account, ref, origin, done)
        elif kind == "amend":
            self._service.submit_amend(account, ref, amend_request(command.amend), origin, done)
        else:
            order = order_request(command.replace.order)
            placement = await self._service.replace_order(account, ref, order, origin)
            self._placed(command.id, None, Outcome(placement))

    async def _until_placed(self, name: str) -> None:
        """Wait for the order of a client order id if it is on its way."""
        if name in self._placing:
            await self._until(lambda: name not in self._placing)
            return
        placed = asyncio.Event()
        if self._service.when_placed(self._asker.account, name, placed.set):
            await placed.wait()

    def _placed(self, command_id: str, name: str | None, outcome: Outcome) -> None:
        if name is not None:
            self._placing.discard(name)
            self._wake_reader()
        if self._cancels is not None and outcome.placement is not None:
            self._cancels.placed(outcome.placement.order)
        self._answer(command_id, outcome)

    # Answers

    # They are called by the sequencer: what could fail is left to the writer.

    def rested(self, orders: RestingOrders, begun: int, tokens: Sequence[str]) -> None:
        """Answer the commands of these ids, whose orders rest as they were placed."""
        self._answers.append(_Rested(orders, begun, tokens))
        self._answered(len(tokens))

    def told(self, token: str, outcome: Outcome) -> None:
        """Answer the command of an id, whatever came of its order."""
        self._answer(token, outcome)

    def _answer(self, command_id: str, outcome: Outcome, canceled: Sequence[str] = ()) -> None:
        self._answers.append(_Answer(command_id, outcome, canceled))
        self._answered(1)

    def _answered(self, count: int) -> None:
        """Let answers go out if all are there, else in a moment."""
        self._under_way -= count
        if self._under_way == 0:
            self._wake_writer()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(GATHER_S, self._wait_no_longer)

    def _wait_no_longer(self) -> None:
        self._soon = None
        if self._answers:
            self._wake_writer()

    async def _write(self) -> None:
        try:
            while True:
                if not self._is_due:
                    self._something = asyncio.get_running_loop().create_future()
                    await self._something
                self._is_due = False
                answers, self._answers = self._answers, []
                for response in self._responses(answers):
                    await self._context.write(response)
                self._unanswered -= sum(
                    len(answer.command_ids) if isinstance(answer, _Rested) else 1 for answer in answers
                )
                self._wake_reader()
        except asyncio.CancelledError:
            if self._failure is None:
                raise
            raise self._failure from None
        except grpc.aio.InternalError:
            # The caller has gone while a response was on its way; the reader is told in its own time.
            return

    def _responses(self, answers: Sequence[_Answer | _Rested]) -> Iterator[bytes]:
        """Return what waits as responses, none of them much larger than `RESPONSE_BYTES`."""
        reports, self._reports = self._reports, []
        parts: list[bytes] = []
        size = 0
        if self._beats:
            self._beats = False
            response = pb.OrderStreamResponse()
            response.heartbeat.timestamp.GetCurrentTime()
            parts.append(response.SerializeToString())
        for part in self._elements(reports, answers):
            parts.append(part)
            size += len(part)
            if size >= RESPONSE_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts)

    def _elements(self, reports: Sequence[StreamMessage], answers: Sequence[_Answer | _Rested]) -> Iterator[bytes]:
        for message in reports:
            yield message.proto()
        for answer in answers:
            if isinstance(answer, _Rested):
                yield from self._rendering.resting_results(*answer)
                continue
            order, refusal, repeated = self._rendering.result(answer.outcome)
            result = pb.OrderStreamResult(
                id=answer.command_id,
                order=order,
                refusal=refusal,
                repeated=repeated,
                canceled_order_ids=answer.canceled,
            )
            yield element(result.SerializeToString(), RESULTS_FIELD)

    # Waiting

    async def _until(self, is_so: Callable[[], bool]) -> None:
        """Let the reader wait until something is so that the writer or an answer brings about."""
        while not is_so():
            self._progress = asyncio.get_running_loop().create_future()
            await self._progress

    def _wake_reader(self) -> None:
        if self._progress is not None and not self._progress.done():
            self._progress.set_result(None)

    def _wake_writer(self) -> None:
        self._is_due = True
        if self._something is not None and not self._something.done():
            self._something.set_result(None)
